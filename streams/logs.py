"""Which log a stage's state belongs to: the ids of its input topics, as values keep them and as they are now.

A topic that was deleted and made anew under its name is another log. Cursors and watermarks of the old one
mean nothing in it: what it holds below them would count as repeats.
"""

from collections.abc import Mapping
from types import MappingProxyType

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.contract import StageSpec
from tapedeck.streams.frame import Logs, Value, unpack

TopicIds = Mapping[str, bytes]
"""Ids of topics by catalogue name, 16 bytes; those that are unknown are left out, or empty."""
NO_IDS: TopicIds = MappingProxyType({})


def logs_now(spec: StageSpec, ids: TopicIds) -> Logs:
    """The ids of a stage's inputs by rank, where they are known."""
    return {rank: ids[name] for rank, name in enumerate(spec.inputs) if ids.get(name)}


def replaced(spec: StageSpec, stored: Logs, now: Logs) -> str | None:
    """The first input whose topic is not the one that a value with the logs ``stored`` was applied from."""
    for rank, topic_id in stored.items():
        if rank in now and now[rank] != topic_id and rank < len(spec.inputs):
            return spec.inputs[rank]
    return None


def read_value(spec: StageSpec, data: bytes, now: Logs) -> Value:
    """The value behind ``data``. Raises Fatal where it was applied from a topic that was made anew since."""
    value = unpack(data)
    name = replaced(spec, value.logs, now)
    if name is not None:
        rank = spec.inputs.index(name)
        raise made_anew(spec, name, value.logs[rank], now[rank])
    return value


def made_anew(spec: StageSpec, name: str, known: bytes, found: bytes) -> Fatal:
    """What is said where the topic ``name`` is another one than the ``known``."""
    return Fatal(
        f"topic {name} was made anew: the {spec.name} stage's state was applied from the topic with the id "
        f"{short(known)}",
        value=short(found),
        remedy=start_over(spec),
    )


def start_over(spec: StageSpec) -> str:
    """The remedy that loses no record: the stage's state and offsets go, its inputs stay."""
    return (
        "stop the stage's workers, then `tape topics --recreate "
        f"{spec.changelog}`: it starts over, and every record that its inputs hold now is applied once"
    )


def short(topic_id: bytes) -> str:
    """A topic's id on a screen."""
    return topic_id.hex()[:12] or "unknown"
