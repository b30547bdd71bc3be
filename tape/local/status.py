"""What a running stack is doing: processes, lag, watermarks, the funnel; read from the servers themselves."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import ConsumerGroupTopicPartitions, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tapedeck.connectors.kafka.admin import admin_of
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.identity import ANSWER_S, cluster_id_of
from tapedeck.connectors.kafka.scan import read_topic
from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter, Fatal
from tapedeck.tape.local.process import is_running
from tapedeck.tape.local.state import ProcessState, StackState
from tapedeck.topics.catalogue import Layout

_IN = "IN"
_OUT = "OUT:"


@dataclass(frozen=True, kw_only=True)
class ProcessLine:
    """One process. ``started`` is epoch seconds; ``memory`` is resident bytes, 0 if it is dead."""

    name: str
    pid: int
    alive: bool
    started: float
    restarts: int
    memory: int


@dataclass(frozen=True, kw_only=True)
class LagLine:
    """How far one consumer group is behind the readable end of one topic.

    ``lag`` counts offsets, watermarks included.
    """

    group: str
    topic: str
    lag: int


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


def processes(state: StackState) -> list[ProcessLine]:
    """The supervisor and its children."""
    return [_process_line(process) for process in (state.supervisor, *state.processes)]


def _process_line(process: ProcessState) -> ProcessLine:
    alive = is_running(process.identity)
    memory = 0
    if alive:
        try:
            memory = psutil.Process(process.pid).memory_info().rss
        except psutil.Error:
            alive = False
    return ProcessLine(
        name=process.name,
        pid=process.pid,
        alive=alive,
        started=process.started,
        restarts=process.restarts,
        memory=memory,
    )


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
    ours = f"{layout.prefix or 'tapedeck'}-"
    listed = client.list_consumer_groups(request_timeout=ANSWER_S).result().valid
    for name in sorted(group.group_id for group in listed if group.group_id.startswith(ours)):
        asked = [ConsumerGroupTopicPartitions(name)]
        committed = client.list_consumer_group_offsets(asked, request_timeout=ANSWER_S)[name].result()
        parts = [part for part in committed.topic_partitions if part.offset >= 0]
        ends = client.list_offsets(
            {TopicPartition(part.topic, part.partition): OffsetSpec.latest() for part in parts},
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=ANSWER_S,
        )
        behind: Counter[str] = Counter()
        newest = {(part.topic, part.partition): end.result().offset for part, end in ends.items()}
        for part in parts:
            behind[part.topic] += max(0, newest[part.topic, part.partition] - part.offset)
        for topic in sorted(behind):
            yield LagLine(group=name, topic=layout.catalogue_name(topic), lag=behind[topic])


def stages(cluster: Cluster) -> list[StageLine]:
    """The newest heartbeat of every stage, summed over partitions. Raises Fatal as ``lags`` does."""
    cluster_id_of(cluster)
    newest: dict[tuple[str, int], dict[str, Any]] = {}
    for message in read_topic(cluster, "heartbeats"):
        try:
            beat = decode("heartbeats", message.value)
        except DeadLetter:
            continue
        newest[beat["stage"], beat["partition"]] = beat
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


def log_files(folder: Path, state: StackState | None) -> dict[str, Path]:
    """Every log of the stack by process name, the stopped ones of the folder included."""
    found = {path.stem: path for path in sorted((folder / "logs").glob("*.log"))}
    servers = {name: folder / name / f"{name}.log" for name in ("kafka", "postgres")}
    known = {process.name: Path(process.log) for process in state.processes} if state else {}
    return {name: path for name, path in {**servers, **found, **known}.items() if path.is_file()}
