"""What a pipeline is doing, as any cluster tells it: newest heartbeats, lag, the funnel."""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tapedeck.connectors.kafka.admin import admin_of
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.identity import ANSWER_S, cluster_id_of
from tapedeck.connectors.kafka.scan import ends_of, read_parts
from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter, Fatal
from tapedeck.topics.catalogue import Layout

_IN = "IN"
_OUT = "OUT:"
_HEARTBEATS = "heartbeats"
_BACK = 4_000
"""Heartbeats that are looked at first: those of forty tasks for some minutes."""
_WIDER = 10
_MOST = 400_000
"""No more are looked at: whoever is not among them has not reported for hours."""

Newest = dict[tuple[str, int], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class LagLine:
    """How far one consumer group is behind the readable end of one topic.

    ``lag`` counts offsets, watermarks included. It is None if the group's place is not known in a partition
    that has records: unknown is not 0.
    """

    group: str
    topic: str
    lag: int | None


@dataclass(frozen=True, kw_only=True)
class StageLine:
    """One stage summed over its partitions. ``watermark`` is the lowest, micros; ``at`` the oldest beat.

    ``lag`` is the largest that a partition reports, None if none does.
    """

    stage: str
    partitions: int
    watermark: int | None
    at: int
    lag: int | None
    records: int
    taken: int
    given: dict[str, int]
    reasons: dict[str, int]


def lags(cluster: Cluster) -> list[LagLine]:
    """Lag per consumer group of the pipeline and topic. Raises Fatal if the broker does not answer."""
    cluster_id_of(cluster)
    try:
        return list(_lags(admin_of(cluster), cluster.layout))
    except KafkaException as error:
        raise Fatal(
            f"the lag cannot be read: {error}", value=cluster.bootstrap, remedy="try again"
        ) from error


def _lags(client: AdminClient, layout: Layout) -> Iterator[LagLine]:
    ours = layout.group("")
    listed = client.list_consumer_groups(request_timeout=ANSWER_S).result().valid
    for name in sorted(group.group_id for group in listed if group.group_id.startswith(ours)):
        yield from lags_of(client, layout, name)


def lags_of(client: AdminClient, layout: Layout, group: str) -> list[LagLine]:
    """The lag of one group, by its full name, in each topic that it has committed an offset of.

    Raises KafkaException if the broker does not answer.
    """
    asked = [ConsumerGroupTopicPartitions(group)]
    committed = client.list_consumer_group_offsets(asked, request_timeout=ANSWER_S)[group].result()
    at = {
        (each.topic, each.partition): each.offset for each in committed.topic_partitions if each.offset >= 0
    }
    names = sorted({name for name, _ in at})
    parts = [
        (name, partition)
        for name in names
        for partition in range(_count(layout, name, (p for n, p in at if n == name)))
    ]
    ends = _offsets(client, parts, OffsetSpec.latest())
    unread = [part for part in parts if part not in at and ends[part] is not None]
    starts = _offsets(client, unread, OffsetSpec.earliest())
    unsure = {name for name, n in unread if ends[name, n] != starts[name, n]}
    behind: Counter[str] = Counter()
    for part, offset in at.items():
        end = ends[part]
        if end is None:
            unsure.add(part[0])
        else:
            behind[part[0]] += max(0, end - offset)
    return [
        LagLine(group=group, topic=layout.catalogue_name(name), lag=None if name in unsure else behind[name])
        for name in names
    ]


def _count(layout: Layout, wire: str, seen: Iterator[int]) -> int:
    """The partitions of a topic; of one that the catalogue does not have, those with an offset."""
    try:
        return layout.partitions(layout.catalogue_name(wire))
    except Fatal:
        return max(seen) + 1


def _offsets(
    client: AdminClient, parts: Collection[tuple[str, int]], spec: OffsetSpec
) -> dict[tuple[str, int], int | None]:
    """The offset of each partition; None where the topic is gone."""
    if not parts:
        return {}
    answers = client.list_offsets(
        {TopicPartition(name, partition): spec for name, partition in parts},
        isolation_level=IsolationLevel.READ_COMMITTED,
        request_timeout=ANSWER_S,
    )
    found: dict[tuple[str, int], int | None] = {}
    for part, answer in answers.items():
        try:
            found[part.topic, part.partition] = answer.result().offset
        except KafkaException:
            found[part.topic, part.partition] = None
    return found


def newest_beats(cluster: Cluster, wanted: Collection[str] = ()) -> Newest:
    """The newest heartbeat by stage and partition, of the newest records of the topic.

    Looks further back for ``wanted`` stages that are not among them, but not without end: the topic may hold
    those of a week. Raises Fatal for a missing topic, Retry if the broker is silent.
    """
    bounds = ends_of(cluster, (_HEARTBEATS,))
    back = _BACK
    while True:
        window = {part: (max(low, end - back), end) for part, (low, end) in bounds.items()}
        newest: Newest = {}
        for chunk in read_parts(cluster, window):
            for message in chunk:
                try:
                    beat = decode(_HEARTBEATS, message.value)
                except DeadLetter:
                    continue
                newest[beat["stage"], beat["partition"]] = beat
        lacking = set(wanted) - {stage for stage, _ in newest}
        whole = all(window[part][0] == low for part, (low, _) in bounds.items())
        if whole or not lacking or back >= _MOST:
            return newest
        back *= _WIDER


def stages(cluster: Cluster) -> list[StageLine]:
    """The newest heartbeat of every stage, summed over partitions. Raises Fatal as ``lags`` does."""
    cluster_id_of(cluster)
    return lines_of(newest_beats(cluster))


def lines_of(newest: Newest) -> list[StageLine]:
    """The newest heartbeats, a line per stage."""
    names = dict.fromkeys(stage for stage, _ in sorted(newest))
    return [_stage_line(name, [beat for (s, _), beat in newest.items() if s == name]) for name in names]


def _stage_line(stage: str, beats: list[dict[str, Any]]) -> StageLine:
    counts: Counter[str] = Counter()
    for beat in beats:
        counts.update(beat["counts"])
    marks = [beat["last_watermark"] for beat in beats]
    return StageLine(
        stage=stage,
        partitions=len(beats),
        watermark=None if None in marks else min(marks),
        at=min(beat["at"] for beat in beats),
        lag=max((beat["lag"] for beat in beats if beat["lag"] is not None), default=None),
        records=sum(beat["records"] for beat in beats),
        taken=counts.get(_IN, sum(beat["records"] for beat in beats)),
        given={k.removeprefix(_OUT): v for k, v in sorted(counts.items()) if k.startswith(_OUT)},
        reasons={k: v for k, v in counts.most_common() if v and k != _IN and not k.startswith(_OUT)},
    )
