"""Playing onto a real broker: watermarks read back, resuming, lock-step, a named stall, the command."""

import time
from contextlib import closing
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tapedeck.connectors.beats import beat
from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.kafka.scan import read_topic
from tapedeck.connectors.tapes.generator import days, generate
from tapedeck.connectors.tapes.marks import (
    Follower,
    first_session,
    last_openings,
    last_watermarks,
    standing,
)
from tapedeck.connectors.tapes.openings import ABSENT_AFTER_S
from tapedeck.connectors.tapes.player import PLAYED, Pace, Player
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.connectors.tapes.writers import LIVE_NEWS, LIVE_POSTS
from tapedeck.schemas.codec import decode, encode
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.wire import Origin, Wire
from tapedeck.tape.cli.main import app
from tapedeck.topics.catalogue import Layout, topic
from tests.conftest import Broker

pytestmark = pytest.mark.integration
ORIGIN = Origin("test", "test", "")
TUESDAY, WEDNESDAY = date(2026, 2, 17), date(2026, 2, 18)


@pytest.fixture
def layout(kafka: Broker, prefix: str) -> Layout:
    layout = Layout(prefix)
    ensure(Cluster(kafka.bootstrap, layout))
    return layout


def short_tape(TOPOLOGY, minutes: int = 6) -> Tape:
    whole = generate(3, symbols=("AMD", "BAC", "ORCL"))
    return replace(whole, minutes=whole.minutes[5 : 5 + minutes])


def play(kafka: Broker, layout: Layout, tape: Tape) -> int:
    writer = KafkaLogWriter(Cluster(kafka.bootstrap, layout), ORIGIN)
    try:
        player = Player(tape, writer, Pace(1e6))
        return player.play(lambda: last_watermarks(Cluster(kafka.bootstrap, layout), PLAYED)).minutes
    finally:
        writer.close()


def test_watermarks_are_read_back_and_a_second_play_goes_on_where_the_first_ended(
    kafka: Broker, layout: Layout
) -> None:
    tape = short_tape(TOPOLOGY)
    assert set(last_watermarks(Cluster(kafka.bootstrap, layout), PLAYED).values()) == {None}
    first_part = replace(tape, minutes=tape.minutes[:4])
    assert play(kafka, layout, first_part) == 4
    found = last_watermarks(Cluster(kafka.bootstrap, layout), PLAYED)
    assert set(found) == {(name, p) for name in PLAYED for p in range(layout.partitions(name))}
    assert set(found.values()) == {first_part.minutes[-1].label}
    assert play(kafka, layout, tape) == 2
    assert play(kafka, layout, tape) == 0
    bars = [decode("bars", m.value) for m in read_topic(Cluster(kafka.bootstrap, layout), "bars") if m.value]
    expected = [*tape.history, *(body for minute in tape for body in minute.bars)]
    assert sorted(b["event_id"] for b in bars) == sorted(b["event_id"] for b in expected)


def test_a_second_session_goes_on_behind_the_first_and_nothing_is_written_twice(
    kafka: Broker, layout: Layout
) -> None:
    cluster = Cluster(kafka.bootstrap, layout)
    first, second = days(3, first=TUESDAY, last=WEDNESDAY, symbols=("AMD", "BAC", "ORCL"))
    with KafkaSource(cluster) as source:
        assert first_session(source, first.origin, xnys()) is None
    for tape in (first, replace(second, minutes=second.minutes[:6])):
        writer = KafkaLogWriter(cluster, ORIGIN)
        with KafkaSource(cluster) as source, closing(writer):
            player = Player(tape, writer, Pace(1e6))
            player.play(lambda: last_watermarks(cluster, PLAYED), partial(standing, source))
    bars = [decode("bars", m.value) for m in read_topic(cluster, "bars") if m.value]
    played = [
        *first.history,
        *second.history,
        *(body for minute in second.minutes[:6] for body in minute.bars),
    ]
    assert sorted(b["event_id"] for b in bars) == sorted(b["event_id"] for b in played)
    universes = [decode("universe", m.value) for m in read_topic(cluster, "universe") if m.value]
    assert [body["version"] for body in universes] == [1]
    with KafkaSource(cluster) as source:
        assert first_session(source, first.origin, xnys()) == TUESDAY
        assert first_session(source, "synthetic/seed-4", xnys()) is None


def test_the_last_watermark_is_found_behind_many_records(kafka: Broker, layout: Layout) -> None:
    tape = short_tape(TOPOLOGY, 1)
    writer = KafkaLogWriter(Cluster(kafka.bootstrap, layout), ORIGIN)
    writer.watermark("bars", tape.first_live)
    for body in tape.history:
        writer.send("bars", body)
    writer.close()
    found = last_watermarks(Cluster(kafka.bootstrap, layout), ("bars",))
    assert set(found.values()) == {tape.first_live}


def test_lock_step_goes_on_when_the_last_partition_and_stage_have_the_label(
    kafka: Broker, layout: Layout
) -> None:
    label = 1_771_338_600_000_000
    writer = KafkaLogWriter(Cluster(kafka.bootstrap, layout), ORIGIN)
    writer.watermark("features", label - MINUTE_US)
    writer.flush()
    with Follower(
        Cluster(kafka.bootstrap, layout), ("features",), stages=("dispatch-tiny",), patience_s=1
    ) as follower:
        assert follower.reached("features") == label - MINUTE_US
        writer.watermark("features", label)
        writer.flush()
        began = time.monotonic()
        follower.pause(30)
        assert time.monotonic() - began < 20
        while follower.reached("features") != label:
            follower.pause(30)
        with pytest.raises(Fatal, match="is stuck: dispatch-tiny"):
            follower.wait_for(label)
        _beat(writer, "dispatch-tiny", label)
        follower.wait_for(label)
    with Follower(Cluster(kafka.bootstrap, layout), ("features", "signals"), patience_s=1) as follower:
        with pytest.raises(Fatal, match="is stuck: signals/0"):
            follower.wait_for(label)
        follower.wait_for(label, without={"signals"})
        writer.watermark("signals", label)
        writer.flush()
        follower.wait_for(label)
    writer.close()


def _beat(writer: KafkaLogWriter, stage: str, label: int) -> None:
    body = {
        "stage": stage,
        "partition": 0,
        "at": label,
        "last_watermark": label,
        "lag": 0,
        "records": 1,
        "code_version": "test",
        "config_digest": "",
        "counts": {},
    }
    wire = Wire("heartbeats", 0, topic("heartbeats").record_key(body), encode("heartbeats", body), 0, [])
    writer._outbox.wait(writer._outbox.send((wire,)))


def test_the_command_plays_a_file_and_says_what_it_did(kafka: Broker, layout: Layout, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [f"BAC,2026-02-{day}T14:3{i}:00Z,50,50.2,49.9,50.1,1000" for day in (13, 17) for i in range(3)]
    path.write_text("\n".join(["symbol,ts,open,high,low,close,volume", *rows]))
    cluster = ["--bootstrap", kafka.bootstrap, "--prefix", layout.prefix]
    began = time.monotonic()
    told = ["play", str(path), "--speed", "6000x", "--absent-after", "0.5", *cluster]
    result = CliRunner().invoke(app, told)
    assert result.exit_code == 0, result.output
    assert time.monotonic() - began < ABSENT_AFTER_S, "nobody writes that input"
    minutes = last_openings(Cluster(kafka.bootstrap, layout), ("bars",))
    assert set(minutes.values()) == {TOPOLOGY.optional}, "each partition names what is absent"
    assert "played 3 minutes, 6 bars, 3 quotes" in result.output
    assert "validation was skipped" in result.output
    again = CliRunner().invoke(app, ["play", str(path), "--speed", "6000x", *cluster])
    assert "played 0 minutes, 0 bars, 0 quotes, resumed after 2026-02-17 09:32" in again.output


def test_the_command_refuses_a_cluster_without_topics(kafka: Broker) -> None:
    arguments = ["play", "--synthetic", "--bootstrap", kafka.bootstrap, "--prefix", "absent"]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, Fatal)
    assert "topic absent.universe cannot be read" in str(result.exception)
    assert "tape topics --create" in str(result.exception)


def test_the_command_refuses_a_tape_that_the_topics_would_delete(kafka: Broker, prefix: str) -> None:
    kept = Layout(prefix)
    ensure(Cluster(kafka.bootstrap, kept))
    _shorten(kafka.bootstrap, kept.wire_name("quotes"))
    arguments = ["play", "--synthetic", "--bootstrap", kafka.bootstrap, "--prefix", prefix]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, Fatal)
    assert "quotes, retention 2 days" in str(result.exception)


@pytest.mark.parametrize("stage", [LIVE_NEWS, LIVE_POSTS])
def test_the_command_is_refused_while_news_or_posts_come_in(
    kafka: Broker, layout: Layout, stage: str
) -> None:
    cluster = Cluster(kafka.bootstrap, layout)
    about = {"code_version": "test", "config_digest": ""}
    now = SystemClock().now()
    with KafkaLogWriter(cluster, ORIGIN) as writer:
        writer.write([beat(stage, now, marked=None, lag=0, records=0, counts={}, about=about)])
        writer.flush()
    arguments = ["play", "--synthetic", "--bootstrap", kafka.bootstrap, "--prefix", layout.prefix]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, Fatal)
    assert f"{stage}, which reported" in str(result.exception)
    assert set(last_watermarks(cluster, PLAYED).values()) == {None}, "nothing was played"


def _shorten(bootstrap: str, name: str) -> None:
    from confluent_kafka.admin import (
        AdminClient,
        AlterConfigOpType,
        ConfigEntry,
        ConfigResource,
        ResourceType,
    )

    entry = ConfigEntry("retention.ms", str(2 * 86_400_000), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": bootstrap})  # held until its answer is there
    admin.incremental_alter_configs([resource])[resource].result(10)
