"""Which topics a stage's state belongs to: the topic ids stored in its values, and the current ids.

A topic that was deleted and recreated under its name is another log. Cursors and watermarks of the old one
mean nothing in it: new records at or below them would count as repeats. A recreated changelog holds at most a
part of the table. A value in it that was written for the old one reveals this.
"""

from collections.abc import Mapping
from types import MappingProxyType

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.frame import OWN, Logs, Value, unpack
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import StageSpec
from tapedeck.topics.catalogue import WATERMARK_KEY

TopicIds = Mapping[str, bytes]
"""Ids of topics by catalogue name, 16 bytes; unknown ones are left out, or empty."""
NO_IDS: TopicIds = MappingProxyType({})
Bounds = Mapping[Part, tuple[int, int]]
"""(first, end) offset by input partition."""
Committed = Mapping[Part, int | None]
"""What a group has committed by input partition, None for nothing."""


def logs_now(spec: StageSpec, ids: TopicIds) -> Logs:
    """The current ids of a stage's inputs and changelog, where they are known, as values store them."""
    return {rank: ids[name] for rank, name in _names(spec).items() if ids.get(name)}


def _names(spec: StageSpec) -> dict[int, str]:
    return dict(enumerate(spec.inputs)) | {OWN: spec.changelog}


def read_value(spec: StageSpec, data: bytes, now: Logs) -> Value:
    """Unpack a value. Raises Fatal if it was applied from a topic that was recreated since."""
    value = unpack(data)
    for rank, topic_id in value.logs.items():
        if now.get(rank, topic_id) != topic_id:
            raise Fatal(
                f"topic {_names(spec)[rank]} was recreated: the state of the {spec.name} stage belongs "
                f"to the one with the id {short(topic_id)}",
                value=short(now[rank]),
                remedy=rebuild(spec) if rank == OWN else start_over(spec),
            )
    return value


def refuse_other_topics(spec: StageSpec, values: Mapping[tuple[int, bytes], bytes], ids: TopicIds) -> None:
    """Raise Fatal for the first value that belongs to a topic that was recreated since."""
    now = logs_now(spec, ids)
    for value in values.values():
        read_value(spec, value, now)


def refuse_beyond(
    spec: StageSpec, values: Mapping[tuple[int, bytes], bytes], committed: Committed, bounds: Bounds
) -> None:
    """Raise Fatal if a cursor or a committed offset is beyond the end of its log."""
    reached: dict[Part, int] = {part: at or 0 for part, at in committed.items()}
    for (_, key), data in values.items():
        if key != WATERMARK_KEY:
            for (rank, partition), at in unpack(data).cursors.items():
                part = (spec.inputs[rank], partition)
                reached[part] = max(reached.get(part, 0), at + 1)
    for part, at in sorted(reached.items()):
        end = bounds[part][1]
        if at > end:
            raise Fatal(
                f"the {spec.name} stage has read up to offset {at} of {part[0]}/{part[1]}, which ends "
                f"at {end}: the topic was recreated or truncated",
                value=at,
                remedy=start_over(spec),
            )


def start_over(spec: StageSpec) -> str:
    """The remedy where an input was recreated: drop state and offsets, keep what the inputs hold.

    An account is rebuilt instead: starting over would ask its broker for everything again.
    """
    if spec.per_account:
        return rebuild(spec)
    return f"stop the {spec.name} workers, then {_over(spec)}"


def rebuild(spec: StageSpec) -> str:
    """The remedy where the changelog was recreated, or lost records."""
    again = f"`tape rebuild {spec.name} --apply` rebuilds the table from the inputs"
    if spec.per_account:
        return f"stop the dispatchers, then {again}"
    return f"stop the {spec.name} workers, then {again}; or {_over(spec)}"


def _over(spec: StageSpec) -> str:
    return (
        f"`tape topics --recreate {spec.changelog}` makes the stage start over: every record that its inputs "
        "hold now is applied once"
    )


def short(topic_id: bytes) -> str:
    """A topic's id, shortened for display."""
    return topic_id.hex()[:12] or "unknown"
