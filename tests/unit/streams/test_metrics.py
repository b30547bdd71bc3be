"""The catalogue of metrics and what is made of heartbeats."""

import ast
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from tapedeck.agents.tally import Figures, Tally
from tapedeck.agents.vitals import STUCK_S, StageVitals
from tapedeck.connectors import beats, dead_letters
from tapedeck.connectors.health.exposition import exposed
from tapedeck.connectors.health.vitals import Edge
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams import measured, metrics
from tapedeck.streams.metrics import CATALOGUE, Buckets, By, Kind, Sample
from tapedeck.streams.protocol import Message
from tapedeck.streams.shell import Effects, Forward, Produced
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.topics.catalogue import Layout

MINUTE = 60_000_000
ROOT = Path(__file__).resolve().parents[3]
BODY = {
    "stage": "features", "partition": 1, "at": 10 * MINUTE, "last_watermark": 3 * MINUTE, "lag": 0,
    "counts": {"IN": 4, "OUT:features": 3, "DUPLICATE": 1, "NOW_LIVE": 9, "STATE_LIVE": 1, "OK:reuters": 7},
}  # fmt: skip


def test_every_metric_is_named_by_the_rules_and_no_label_is_a_symbol() -> None:
    assert len({each.name for each in CATALOGUE}) == len(CATALOGUE) > 20
    for each in CATALOGUE:
        assert re.fullmatch(r"tape_[a-z_]+", each.name) and each.help and each.by
        assert (each.kind is Kind.COUNTER) == each.name.endswith("_total")
        assert not {"symbol", "instrument", "order_id"} & set(each.labels)


def test_every_metric_of_the_catalogue_is_given_by_some_process_and_each_is_in_it() -> None:
    """By its name in the code; one that is not in the catalogue is refused at a scrape."""
    names = {n for n, value in vars(metrics).items() if isinstance(value, metrics.Metric)}
    used: set[str] = set()
    for room in ("streams/measured.py", "agents", "connectors", "tape/cli"):
        for path in [ROOT / room] if room.endswith(".py") else sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    used |= {node.attr} if node.value.id == "metrics" else set()
                elif isinstance(node, ast.ImportFrom) and node.module == "tapedeck.streams.metrics":
                    used |= {alias.name for alias in node.names}
    assert names <= used, names - used


def test_delay_is_exact_from_watermarks_and_has_no_series_where_one_is_unknown() -> None:
    samples = list(measured.delay_samples("features", {0: 7 * MINUTE, 1: 10 * MINUTE, 2: None}, 10 * MINUTE))
    assert [(s.metric, s.value, s.labels) for s in samples] == [
        (metrics.SOURCE_WATERMARK, 600.0, ("features",)),
        (metrics.DELAY, 180.0, ("features", "0")),
        (metrics.DELAY, 0.0, ("features", "1")),
    ]
    assert list(measured.delay_samples("features", {0: 7 * MINUTE}, None)) == []


def test_a_beat_gives_its_outcomes_and_not_its_states() -> None:
    found = list(measured.beat_samples(BODY, 10 * MINUTE + 2_000_000))
    outcomes = {s.labels[2]: s.value for s in found if s.metric is metrics.RECORDS}
    assert outcomes == {"IN": 4, "OUT:features": 3, "DUPLICATE": 1}
    assert [s.value for s in found if s.metric is metrics.BEAT] == [2.0]
    feeds = {s.labels[1:]: s.value for s in measured.feed_samples("features", BODY["counts"])}
    assert feeds == {("features", "LIVE"): 9, ("reuters", "OK"): 7}


def test_an_unknown_lag_is_no_number_and_a_known_one_is_0() -> None:
    assert list(measured.lag_sample("sink", None)) == []
    assert [s.value for s in measured.lag_sample("sink", 0)] == [0]


def test_a_histogram_counts_what_is_at_its_bound_and_what_is_beyond_all() -> None:
    buckets = Buckets()
    for seconds in (0.005, 0.006, 99.0):
        buckets.observe(seconds)
    told = dict(buckets.cumulative())
    assert (told["0.005"], told["0.01"], told["60.0"], told["+Inf"]) == (1, 2, 2, 3)
    text = exposed([Sample(metrics.BATCH, buckets, ("features",))]).decode()
    assert 'tape_batch_seconds_bucket{le="+Inf",stage="features"} 3.0' in text
    assert 'tape_batch_seconds_count{stage="features"} 3.0' in text


def produced(topic: str, **body: object) -> Produced:
    return Produced(SimpleNamespace(topic=topic, body=body), None)


def test_decisions_orders_and_gates_are_counted_by_what_they_say() -> None:
    signals, account = Tally(TOPOLOGY.stage("signals")), Tally(TOPOLOGY.account)
    outputs = [produced("decisions", reason="COOLDOWN"), produced("decisions", reason="COOLDOWN"), Forward(1)]
    signals.add([Effects(outputs=outputs)])
    assert [(s.labels, s.value) for s in signals.samples("signals")] == [
        (("signals", "NONE"), 0), (("signals", "COOLDOWN"), 2),
    ]  # fmt: skip
    gates = [
        {"gate": "spread", "applies": True, "passed": False},
        {"gate": "open", "applies": True, "passed": True},
    ]
    account.add([Effects(outputs=[produced("orders", state="FILLED"), produced("proposals", gates=gates)])])
    found = {(s.metric, s.labels[1:]): s.value for s in account.samples("dispatch-tiny")}
    assert found[metrics.ORDERS, ("FILLED",)] == 1
    assert found[metrics.GATES, ("spread", "failed")] == found[metrics.GATES, ("open", "passed")] == 1


def test_exits_and_positions_are_counted_and_warnings_are_those_of_the_newest_record() -> None:
    account = Tally(TOPOLOGY.account)
    warned = ["CLOSE_STUCK:a", "CLOSE_STUCK:b", "MARK_MISSING:AMD"]
    outputs = [
        produced("exits", chosen="STOP_LOSS"), produced("positions", state="CLOSING"),
        produced("positions", state="CLOSED"), produced("accounts", warnings=warned),
    ]  # fmt: skip
    account.add([Effects(outputs=outputs)])
    found = {(s.metric, s.labels[1:]): s.value for s in account.samples("dispatch-tiny")}
    assert found[metrics.EXITS, ("STOP_LOSS",)] == found[metrics.POSITIONS, ("CLOSED",)] == 1
    assert (found[metrics.WARNINGS, ("CLOSE_STUCK",)], found[metrics.WARNINGS, ("MARK_MISSING",)]) == (2, 1)
    account.add([Effects(outputs=[produced("accounts", warnings=[])])])
    told = {s.labels[1:]: s.value for s in account.samples("dispatch-tiny") if s.metric is metrics.WARNINGS}
    assert told == {("NONE",): 0}, "it is over"


class Stage:
    """As much of a StageApp as its health reads."""

    def __init__(self) -> None:
        spec = TOPOLOGY.stage("features")
        self.now = 0.0
        self.recovered = SimpleNamespace(is_set=lambda: True)
        self.restores: list[int] = []
        recovery = SimpleNamespace(seconds_so_far=1.5)
        self.app = SimpleNamespace(recovery=recovery, rebalancing=False)
        self.behind: dict[tuple[str, int], int] = {}
        tasks = {0: SimpleNamespace(home=0, watermark=7 * MINUTE)}
        self.runner = SimpleNamespace(
            tasks=tasks, waits=True, spec=spec, lag=lambda: 0, parts=lambda: list(self.behind),
            following=self.behind.get, is_held_back=lambda part: False, end_of=lambda part: 100,
            figures=Figures(spec, SimpleNamespace(dead_letters=Counter())),
        )  # fmt: skip
        body = {**BODY, "partition": 0}
        self.heartbeat = SimpleNamespace(
            name="features", looked_at=0.0, body=lambda task: body, at=lambda home: None
        )

    def homes(self) -> list[int]:
        return [0, 1]

    def restoring(self) -> list[int]:
        return self.restores

    def progress(self) -> tuple[int, int]:
        return 3, 9


def test_a_stage_is_ready_once_it_is_recovered_and_each_partition_has_its_task() -> None:
    stage = Stage()
    vitals = StageVitals(stage, monotonic=lambda: stage.now)
    assert vitals.missing() == {"features/1": "has no task yet"}
    stage.runner.tasks[1] = SimpleNamespace(home=1, watermark=None)
    assert vitals.missing() == {}
    stage.restores = [0, 1]
    assert vitals.missing()["features/1"] == "restores: 3 of 9 changelog records"


def test_a_partition_from_which_nothing_comes_for_a_minute_is_not_live_and_one_that_moves_is() -> None:
    stage = Stage()
    vitals = StageVitals(stage, monotonic=lambda: stage.now)
    stage.behind.update({("bars", 0): 5})
    assert vitals.stuck() == {}
    stage.now = stage.heartbeat.looked_at = STUCK_S + 1
    assert list(vitals.stuck()) == ["features:bars/0"]
    stage.behind[("bars", 0)] = 6
    assert vitals.stuck() == {}
    stage.now += 20
    assert "its loop has not run for 20 s" in vitals.stuck()["features"]


def test_a_stage_gives_every_metric_of_a_worker() -> None:
    stage = Stage()
    found = list(StageVitals(stage, source=lambda: 9 * MINUTE).samples())
    assert measured.outside(found) == set()
    process = {
        metrics.BUILD,
        metrics.STARTED,
        metrics.READY,
        metrics.LIVE,
        metrics.SESSION,
        metrics.DECISIONS,
    }
    assert {s.metric for s in found} == {each for each in CATALOGUE if By.WORKER in each.by} - process
    assert exposed(found)


def test_an_edge_gives_what_its_heartbeats_count_and_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beats, "_latest", {})
    monkeypatch.setattr(dead_letters, "_made", Counter())
    for error in (DeadLetter("bad", reason="BAD_ITEM"), DeadLetter("bad", reason="BAD_ITEM"), KeyError("x")):
        dead_letters.dead_letter(Layout(), Message("news", 0, 0, 1, b"K", b"V", ()), "ingest-news", error)
    told = {"counts": {"IN": 1, "STALE:reuters": 40}}
    beats.beat("ingest-news", 1, marked=MINUTE, lag=0, records=1, about=beats.about("1", "d"), **told)
    found = list(Edge("ingest-news", more=lambda: [Sample(metrics.SINK_DELAY, 0)]).samples())
    values = {(s.metric, s.labels[1:]): s.value for s in found}
    dead = {labels[0]: n for (metric, labels), n in values.items() if metric is metrics.DEAD}
    assert dead == {"NONE": 0, "BAD_ITEM": 2, "OTHER": 1}
    assert values[metrics.FEED_AGE, ("reuters", "STALE")] == 40
    assert values[metrics.LAG, ()] == 0 and (metrics.SINK_DELAY, ()) in values
    assert measured.outside(found) == set() and exposed(found)
