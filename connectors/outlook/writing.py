"""Writing the records of a file into their topic: each fact once, however often the file is given."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tapedeck.connectors.kafka.log import LogWriter
from tapedeck.connectors.outlook.records import Body, fact_of
from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter, Fatal
from tapedeck.schemas.readable import iso_time
from tapedeck.streams.protocol import Message


class Written(NamedTuple):
    """How many records were written, and how many the topic had."""

    fresh: int
    there: int


def write(
    writer: LogWriter, name: str, records: Sequence[Body], there: Iterable[Message], path: Path
) -> Written:
    """Append what topic ``name`` lacks of ``records``, and wait until the broker has it.

    ``there``: the messages of the topic. Raises Fatal, and writes nothing, if it says something else of a
    moment than the file at ``path``.
    """
    known = _known(name, there)
    fresh = []
    for body in records:
        before = known.get(body["event_id"])
        if before is None:
            fresh.append(body)
        elif fact_of(before) != fact_of(body):
            told = body.get("symbol", "the index")
            raise Fatal(
                f"topic {name} says something else of {told}, known from {iso_time(body['available_at'])} on",
                value={each: body[each] for each in fact_of(body) if body[each] != before[each]},
                remedy="give the correction an available_at of its own: when it became known",
                place=str(path),
            )
    for body in fresh:
        writer.send(name, body)
    writer.flush()
    return Written(len(fresh), len(records) - len(fresh))


def _known(name: str, there: Iterable[Message]) -> dict[str, Body]:
    found: dict[str, Body] = {}
    for message in there:
        try:
            body = decode(name, message.value)
        except DeadLetter:
            continue  # the sink reports it
        found[body["event_id"]] = body
    return found
