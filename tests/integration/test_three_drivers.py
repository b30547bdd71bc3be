"""For the same tape live, rebuild and sim leave the same digests of outputs and of state.

What rebuild and sim leave of the regression tapes is held in ``tests/sim/test_regression_tapes.py``.
"""

import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from tapedeck.agents.table import read_disk
from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.recorded.format import RecordedTape, load
from tapedeck.connectors.recorded.window import RECORDED, with_texts
from tapedeck.connectors.tapes.marks import Follower
from tapedeck.connectors.tapes.source import TapeSource
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.streams.digests import of_messages, of_state
from tapedeck.streams.protocol import Message
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.watermarks import label_of, readable_label
from tapedeck.tape.rebuild.whole import live_outputs, live_state, rebuild_stage
from tests.conftest import Broker
from tests.support.cases import BAR_STAGES, MARKET_STAGES, shared
from tests.support.live import Workers, eventually, last_minute
from tests.support.paths import wire
from tests.support.sim_tapes import CONFIG, run_clean, small_tape, written
from tests.tapes import HERE

pytestmark = pytest.mark.integration
OUTPUTS = {name: spec.name for spec in TOPOLOGY.market for name in spec.outputs}
THEIRS = tuple(name for name, stage in OUTPUTS.items() if stage in BAR_STAGES)
MARKED = TOPOLOGY.marked
PATIENCE_S = 120.0
TERM_S = 20.0
LIVE = ("revisions_and_inserted_bars", "session_edge_with_a_gap", "signal_morning_of_two_accounts")


@pytest.fixture
def workers(kafka: Broker, prefix: str, tmp_path: Path) -> Iterator[Workers]:
    started = Workers(kafka.bootstrap, prefix, tmp_path, CONFIG)
    yield started
    started.stop()


def sim_digests(log: MemoryLog) -> dict[str, str]:
    """The sim driver over the sources in ``log``."""
    tasks = run_clean(log)
    found = {name: of_messages(name, log.messages(name)).hexdigest() for name in THEIRS}
    for stage in BAR_STAGES:
        values = {key: value for task in tasks if task.spec.name == stage for key, value in task.disk.items()}
        found[f"{stage} state"] = of_state(values)
    return found


def rebuilt_digests(source: KafkaSource) -> dict[str, str]:
    """The rebuild driver, each stage over what live has written of its inputs."""
    found = {}
    for stage in BAR_STAGES:
        digests = rebuild_stage(TOPOLOGY.stage(stage), source, CONFIG, xnys()).digests()
        found |= {f"{stage} state" if name == "state" else name: value for name, value in digests.items()}
    return found


def live_digests(source: KafkaSource) -> dict[str, str]:
    """What the live driver's topics and changelogs hold."""
    found = {name: live_outputs(name, source).hexdigest() for name in THEIRS}
    return found | {
        f"{stage} state": of_state(live_state(TOPOLOGY.stage(stage), source)) for stage in BAR_STAGES
    }


def follow(workers: Workers, label: int, names: tuple[str, ...] = MARKED) -> None:
    """Wait until ``names`` have ended the minute, as long as anything moves."""
    with Follower(workers.cluster, names, patience_s=PATIENCE_S) as follower:
        follower.wait_for(label)


def check(workers: Workers, log: MemoryLog, label: int) -> None:
    """The three drivers agree. The changelog's last values come a moment after the last watermark."""
    expected, source = sim_digests(log), KafkaSource(workers.cluster)
    follow(workers, label, tuple(name for name in THEIRS if name in MARKED))
    eventually(
        lambda: all(
            of_state(live_state(TOPOLOGY.stage(stage), source)) == expected[f"{stage} state"]
            for stage in BAR_STAGES
        ),
        "the state that the sim driver has",
        30,
    )
    assert live_digests(source) == expected
    assert rebuilt_digests(source) == expected


def play(workers: Workers, tape: Tape, minutes: slice) -> MemoryLog:
    """The tape on the cluster, and live workers over it."""
    log = written(tape, minutes=minutes)
    workers.write(log)
    workers.start("features")
    workers.start("scores", "watchlist", "signals")
    return log


def count(log: MemoryLog, name: str) -> int:
    return sum(message.value is not None for message in log.messages(name))


def test_live_workers_leave_the_digests_of_the_regression_tapes(
    kafka: Broker, prefix: str, tmp_path: Path
) -> None:
    """One process a tape, all at once: most of the time is their start."""
    floors: list[tuple[RecordedTape, Workers]] = []
    try:
        for name in LIVE:
            (tmp_path / name).mkdir()
            tape = load(HERE / name)
            live = Workers(kafka.bootstrap, f"{prefix}.{len(floors)}", tmp_path / name, tape.config)
            assert live.layout == replace(tape.layout, prefix=live.layout.prefix)
            floors.append((tape, live))
            live.put(m for m in with_texts(tape.messages, tape.layout) if m.topic in RECORDED)
            live.start(*MARKET_STAGES)
        for tape, live in floors:
            agrees_with_its_manifest(tape, live)
    finally:
        for _, live in floors:
            live.stop()


def agrees_with_its_manifest(tape: RecordedTape, live: Workers) -> None:
    follow(live, max(filter(None, map(readable_label, tape.messages))))
    due = tape.manifest
    tables = {stage: due.tables[stage].sha256 for stage in MARKET_STAGES if stage in due.tables}
    assert tables.keys() >= set(BAR_STAGES)
    with KafkaSource(live.cluster) as source:
        for name in OUTPUTS:
            found = live_outputs(name, source)
            if name in due.topics:
                assert found.hexdigest() == due.topics[name].sha256, (due.name, name)
            else:
                assert not len(found), f"{name} is younger than the tape, which has no news"
        eventually(
            lambda: (
                {stage: of_state(live_state(TOPOLOGY.stage(stage), source)) for stage in tables} == tables
            ),
            f"the tables of {due.name}",
            30,
        )


@pytest.mark.long
def test_a_recorded_session_leaves_the_same_digests_in_all_three_drivers(workers: Workers) -> None:
    recording = shared("us_equity_trades_1m.parquet")
    tape = TapeSource(tape=str(recording), session=date(2013, 10, 11)).load()
    minutes = slice(320, 450)  # from ten minutes before the open
    log = play(workers, tape, minutes)
    check(workers, log, last_minute(tape, minutes))
    assert count(log, "bars") - len(tape.history) > 300
    assert count(log, "scores") > 50


def split(log: MemoryLog, *labels: int) -> list[MemoryLog]:
    """The sources of ``log`` in pieces that end at these watermarks, and what is left."""
    pieces = [MemoryLog(log.layout) for _ in range(len(labels) + 1)]
    for name in ("bars", "quotes", "universe"):
        for partition in range(log.layout.partitions(name)):
            at = 0
            for message in log.read(name, partition, 0):
                pieces[at].append(wire(message))
                if at < len(labels) and _ends(message, labels[at]):
                    at += 1
    return pieces


def _ends(message: Message, label: int) -> bool:
    return label_of(message.key, message.value, message.headers) == label


def tables(workers: Workers, disk: str) -> list[Path]:
    """The table partitions of the features worker on ``disk``."""
    return sorted((workers.folder / disk).rglob("features-*.db"))


@pytest.mark.long
def test_two_workers_share_the_partitions_and_one_may_leave(workers: Workers) -> None:
    minutes = slice(60, 150)
    log = written(small_tape(), minutes=minutes, history_tail=150)
    labels = [minute.label for minute in small_tape().minutes[minutes]]
    first, second, third = split(log, labels[30], labels[60])
    workers.write(first)
    workers.start("features", disk="one")
    leaving = workers.start("features", disk="two")
    follow(workers, labels[30], ("features",))
    eventually(lambda: bool(tables(workers, "two")), "the second worker's share of the partitions", 60)
    workers.write(second)
    follow(workers, labels[60], ("features",))
    leaving.send_signal(signal.SIGTERM)
    leaving.wait(TERM_S)
    assert any(read_disk(path) for path in tables(workers, "two")), "the second worker did no work"
    workers.write(third)
    workers.start("scores", "watchlist", "signals")
    check(workers, log, labels[-1])
