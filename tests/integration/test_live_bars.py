"""Live market data from a data server into a real log: nothing is lost, and nothing is there twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.tapes.writers import ForeignMarks, refuse_beside_live
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.wire import Origin
from tapedeck.topics.catalogue import Layout
from tests.conftest import Broker
from tests.support.data_server import Served
from tests.support.live import KILLED, Workers, eventually
from tests.support.live_bars import (
    STANDS,
    beats,
    check_features,
    check_log,
    ended,
    ingest,
    is_live,
    live_config,
    market,
    short_tape,
    until_reached,
)
from tests.support.paper import MINUTE

pytestmark = pytest.mark.integration

SYMBOLS = ("AMD", "MSFT", "NVDA")
SPEED, MINUTES = 60, 36
ABSENT = ("AMD", 32)
"""A minute without a bar, long after the process was started again."""
CONFIG = live_config(SYMBOLS)


@pytest.fixture
def workers(kafka: Broker, prefix: str, tmp_path: Path) -> Iterator[Workers]:
    started = Workers(kafka.bootstrap, prefix, tmp_path, CONFIG)
    yield started
    started.stop()


@pytest.mark.long
def test_every_final_bar_is_in_the_log_once_though_the_process_is_killed_and_the_stream_is_cut(
    workers: Workers,
) -> None:
    tape = short_tape(SYMBOLS, MINUTES, without=ABSENT)
    last, cluster = tape.minutes[-1].label, workers.cluster
    workers.start("features")
    with market(tape) as (served, clock):
        process = ingest(workers, served)
        eventually(lambda: is_live(cluster), "a live stream")
        clock.pace(SPEED)
        strike(served, ("late-revision", 2), ("missing-minutes", 1))
        process.kill()
        assert process.wait(10) == KILLED
        reports, until = len(beats(cluster)), clock.now() + 4 * MINUTE
        eventually(lambda: clock.now() >= until, "four minutes without the process")
        clock.pace(STANDS)
        process = ingest(workers, served)
        eventually(lambda: is_live(cluster, reports), "a live stream after the restart")
        clock.pace(SPEED)
        strike(served, ("double-bar", 1), ("missing-minutes", 2), ("rest-500", 1))
        strike(served, ("stream-cut", 1))
        with pytest.raises(Fatal, match="ingest-bars, which reported"):
            refuse_beside_live(cluster, SystemClock().now())
        until_reached(workers, "bars", last + 4 * MINUTE)
        assert served.clock.now() < last + 15 * MINUTE
        ended(process)
        outcome = check_log(cluster, served, tape)
    assert (ABSENT[0], tape.first_live + ABSENT[1] * MINUTE) in outcome.no_trade
    assert outcome.no_trade <= outcome.missing
    assert outcome.events["GAP_FILLED"] >= 1 and outcome.revisions >= 3 and outcome.late == 0
    until_reached(workers, "features", last + 4 * MINUTE)
    _, count = check_features(cluster, CONFIG, tape)
    assert count > outcome.bars


def strike(served: Served, *scenarios: tuple[str, int]) -> None:
    """Arm the scenarios and wait until each has happened."""
    before = {name: served.fired(name) for name, _ in scenarios}
    for name, count in scenarios:
        served.arm(name, count=count)
    for name, _ in scenarios:
        eventually(lambda name=name: served.fired(name) > before[name], name, 30)  # type: ignore[misc]


def test_watermark_of_another_writer_is_found_and_ones_own_are_not(kafka: Broker, prefix: str) -> None:
    cluster = Cluster(kafka.bootstrap, Layout(prefix))
    ensure(cluster)
    refuse_beside_live(cluster, SystemClock().now())
    alone, ours = ForeignMarks(cluster), 10 * MINUTE
    with KafkaLogWriter(cluster, Origin("test", "", "")) as writer:
        writer.watermark("bars", ours)
        writer.flush()
        alone.refuse({ours})
        writer.watermark("quotes", 2 * ours)
    with pytest.raises(Fatal, match=r"another process writes watermarks.*quotes/0@0: 1970-01-01T00:20"):
        alone.refuse({ours})
    alone.refuse({ours})
