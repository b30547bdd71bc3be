"""Frames of records as they come."""

import time
from collections.abc import Callable, Iterator, Mapping

import polars as pl

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.blocks import Source
from tapedeck.streams.merge import Part
from tapedeck.tape.notebook.decoding import Reader
from tapedeck.tape.notebook.query import Query, spans

_REMEMBERED = 100_000
"""How many event_ids are remembered: a repeat comes soon after the original or not at all."""


def follow(
    source: Source,
    reader: Reader,
    close: Callable[[], None],
    poll_s: float,
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[pl.DataFrame]:
    """Frames of ``reader``'s records, from ``since`` on or from now, until the generator is closed.

    No frame is empty. ``close`` is called at the end, also if a notebook interrupts.
    """
    begins, name = reader.query.since is not None, reader.query.topic.name
    ids = source.topic_ids([name])
    at = {part: first if begins else end for part, (first, end) in spans(source, reader.query).items()}

    def frames() -> Iterator[pl.DataFrame]:
        seen = pl.Series(dtype=pl.String)
        try:
            while True:
                frame, anything = _arrived(source, reader, at)
                frame, seen = _fresh(reader.query, frame, seen)
                if len(frame):
                    yield reader.finished(frame)
                if not anything:
                    _refuse_another(source, name, ids)
                    wait(poll_s)
        finally:
            close()

    return frames()


def _arrived(source: Source, reader: Reader, at: dict[Part, int]) -> tuple[pl.DataFrame, bool]:
    """The new records since ``at``, which is advanced, and whether there are any."""
    found: list[pl.DataFrame] = []
    ends = source.ends([reader.query.topic.name])
    for part, first in at.items():
        end = ends[part][1]
        if end > first:
            found += reader.stretch(part, first, end)
            at[part] = end
    frame = reader.ordered(found)
    reader.warn()
    return frame, bool(found)


def _fresh(query: Query, frame: pl.DataFrame, seen: pl.Series) -> tuple[pl.DataFrame, pl.Series]:
    """The rows whose event_id is not among ``seen``, and ``seen`` with theirs."""
    if query.identity is None or query.repeats:
        return frame, seen
    frame = frame.filter(~pl.col(query.identity).is_in(seen.implode()))
    return frame, pl.concat([seen, frame[query.identity]]).tail(_REMEMBERED)


def _refuse_another(source: Source, name: str, ids: Mapping[str, bytes]) -> None:
    """Raise Fatal if the topic is no longer the followed one, because its offsets do not apply to another."""
    found = source.topic_ids([name])
    if found != ids:
        what = f"topic {name} was deleted or recreated while it was followed"
        value = found.get(name, b"").hex()[:12] or None
        raise Fatal(what, value=value, remedy="follow it again from the start")
