"""Which logs a stage's state belongs to: the ids of its topics, as values keep them and as they are now.

A topic that was deleted and made anew under its name is another log. Cursors and watermarks of the old one
mean nothing in it: what it holds below them would count as repeats. A changelog that was made anew holds a
part of the table at most: a value in it that was written for the old one tells.
"""

from collections.abc import Mapping
from types import MappingProxyType

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.contract import StageSpec
from tapedeck.streams.frame import OWN, Logs, Value, unpack

TopicIds = Mapping[str, bytes]
"""Ids of topics by catalogue name, 16 bytes; those that are unknown are left out, or empty."""
NO_IDS: TopicIds = MappingProxyType({})


def logs_now(spec: StageSpec, ids: TopicIds) -> Logs:
    """The ids of a stage's inputs and changelog as values keep them, where they are known."""
    return {rank: ids[name] for rank, name in _names(spec).items() if ids.get(name)}


def _names(spec: StageSpec) -> dict[int, str]:
    return dict(enumerate(spec.inputs)) | {OWN: spec.changelog}


def read_value(spec: StageSpec, data: bytes, now: Logs) -> Value:
    """The value behind ``data``. Raises Fatal where it was applied from a topic that was made anew since."""
    value = unpack(data)
    for rank, topic_id in value.logs.items():
        if now.get(rank, topic_id) != topic_id:
            raise Fatal(
                f"topic {_names(spec)[rank]} was made anew: the state of the {spec.name} stage belongs "
                f"to the one with the id {short(topic_id)}",
                value=short(now[rank]),
                remedy=rebuild(spec) if rank == OWN else start_over(spec),
            )
    return value


def start_over(spec: StageSpec) -> str:
    """The remedy where an input is another topic: state and offsets go, what the inputs hold stays."""
    return (
        f"stop the {spec.name} workers, then `tape topics --recreate {spec.changelog}`: the stage starts "
        "over and applies every record that its inputs hold now once"
    )


def rebuild(spec: StageSpec) -> str:
    """The remedy where the changelog is another topic, or lost records."""
    return (
        f"stop the {spec.name} workers, then `tape rebuild {spec.name} --apply` makes the table again from "
        f"its inputs, or `tape topics --recreate {spec.changelog}` lets the stage start over"
    )


def short(topic_id: bytes) -> str:
    """A topic's id on a screen."""
    return topic_id.hex()[:12] or "unknown"
