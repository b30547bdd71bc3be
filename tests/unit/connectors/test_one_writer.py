"""A tape is not played beside a process that brings live data in: each of them tells by its heartbeat."""

from collections.abc import Collection, Mapping, Sequence

import pytest

from tapedeck.connectors.beats import beat
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.tapes import writers
from tapedeck.connectors.tapes.writers import FRESH_S, LIVE, LIVE_WRITERS, refuse_beside_live
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.protocol import SECOND_US, Message
from tapedeck.topics.catalogue import Layout

NOW = 1_771_338_600_000_000
CLUSTER = Cluster("127.0.0.1:1", Layout())
ABOUT = {"code_version": "test", "config_digest": ""}


def told(monkeypatch: pytest.MonkeyPatch, *beats: tuple[str, int] | bytes) -> None:
    """Let the topic of heartbeats hold ``beats``: a stage and how many seconds ago, or any bytes."""
    values = [each if isinstance(each, bytes) else value_of(*each) for each in beats]
    log = [
        Message(topic="heartbeats", partition=0, offset=at, timestamp=0, key=b"", value=value, headers=())
        for at, value in enumerate(values)
    ]
    part = ("heartbeats", 0)

    def read(cluster: Cluster, window: Mapping[tuple[str, int], tuple[int, int]]) -> list[Sequence[Message]]:
        first, end = window[part]
        return [log[first:end]]

    def ends(cluster: Cluster, names: Collection[str]) -> dict[tuple[str, int], tuple[int, int]]:
        assert tuple(names) == ("heartbeats",)
        return {part: (0, len(log))}

    monkeypatch.setattr(writers, "ends_of", ends)
    monkeypatch.setattr(writers, "read_parts", read)


def value_of(stage: str, ago_s: int) -> bytes:
    at = NOW - ago_s * SECOND_US
    return beat(stage, at, marked=None, lag=0, records=0, counts={}, about=ABOUT).value or b""


@pytest.mark.parametrize("stage", LIVE_WRITERS)
def test_a_live_process_that_reported_is_refused_by_its_name(monkeypatch, stage: str) -> None:
    told(monkeypatch, (stage, 90), (stage, 4), ("features", 0), b"no heartbeat")
    with pytest.raises(Fatal, match=f"{stage}, which reported 4 s ago") as refused:
        refuse_beside_live(CLUSTER, NOW, LIVE_WRITERS)
    assert f"stop the process {stage} and wait {FRESH_S} s" in (refused.value.remedy or "")


@pytest.mark.parametrize("stage", LIVE_WRITERS)
def test_one_that_is_gone_for_long_enough_is_no_writer(monkeypatch, stage: str) -> None:
    told(monkeypatch, (stage, FRESH_S))
    with pytest.raises(Fatal, match=stage):
        refuse_beside_live(CLUSTER, NOW, LIVE_WRITERS)
    told(monkeypatch, (stage, FRESH_S + 1))
    refuse_beside_live(CLUSTER, NOW, LIVE_WRITERS)


def test_news_and_posts_leave_watermarks_of_bars_to_others(monkeypatch) -> None:
    told(monkeypatch, *((stage, 1) for stage in LIVE_WRITERS if stage != LIVE))
    refuse_beside_live(CLUSTER, NOW)
    told(monkeypatch)
    refuse_beside_live(CLUSTER, NOW, LIVE_WRITERS)
