"""Decisions on news: computed again from anywhere in the log, and in columns as live one row at a time."""

import random
from collections import Counter
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tapedeck.schemas import codec, golden
from tapedeck.schemas.codec import decode
from tapedeck.streams.blocks import Block, MemorySource
from tapedeck.streams.columnar.job import TaskId
from tapedeck.streams.identity import event_id
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.wire import Wire
from tapedeck.tape.explain.lookup import Lookup, opened
from tapedeck.tape.explain.recorded import Recorded
from tapedeck.tape.explain.reevaluate import Reevaluator, Verdict
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.sim.test_columnar_absent import columnar, job_of, sim
from tests.sim.test_news_windows import A_WHILE, ALWAYS, NEVER, Absent, joined
from tests.support.market_bodies import feature, membership_row, minute, window_row
from tests.support.paths import CONFIG

SIGNALS = TOPOLOGY.stage("signals")
SYMBOL = "NVDA"
HOME = Layout().partition("features", {"symbol": SYMBOL})


def source_of(log: MemoryLog) -> MemorySource:
    return MemorySource(log.layout, [m for each in CATALOGUE if each.schema for m in log.messages(each.name)])


@cache
def decided(absent: Absent) -> MemoryLog:
    log = joined(SIGNALS, absent)
    sim(SIGNALS, log)
    return log


def decisions(log: MemoryLog, name: str = "decisions") -> list[Message]:
    return [m for m in log.messages(name) if m.value is not None]


@pytest.mark.parametrize("absent", [NEVER, ALWAYS, A_WHILE], ids=["news", "no news", "news stops"])
def test_each_decision_is_computed_again_on_its_own_news(absent: Absent) -> None:
    log = decided(absent)
    evaluator = Reevaluator(TOPOLOGY, Lookup(source_of(log)), CONFIG, xnys())
    moods = Counter[int]()
    for message in [*reversed(decisions(log)[::3]), *decisions(log, "signals")]:
        found = opened(message)
        assert found is not None
        check = evaluator.check(found)
        assert check is not None and check.verdict is Verdict.SAME, check
        moods[found.body["sentiment_n"]] += 1
    assert set(moods) == ({0} if absent is ALWAYS else {0, 1, 3, 8})


@pytest.mark.parametrize("absent", [NEVER, ALWAYS, A_WHILE], ids=["news", "no news", "news stops"])
def test_inputs_are_read_from_the_middle_of_a_log_as_from_its_start(absent: Absent) -> None:
    """A read that starts behind the opening of a minute knows what that one declared absent."""
    log = decided(absent)
    lookup = Lookup(source_of(log))
    found = opened(decisions(log)[-1])
    assert found is not None
    alone = found._replace(body=found.body | {"inputs": found.body["inputs"][:1]})
    key = found.body["symbol"].encode()
    whole = Recorded(lookup, SIGNALS, alone, {}).rows(key, None).rows
    for back in (5, 30, 45):
        since = found.body["bar_t"] - back * MINUTE_US
        rows = Recorded(lookup, SIGNALS, alone, {}).rows(key, since).rows
        features = [row for row in rows if row.topic == "features"]
        assert len(features) >= back
        assert features == [row for row in whole if row.topic == "features"][-len(features) :]
        windows = [row for row in rows if row.topic == "sentiment_windows"]
        assert windows == [row for row in whole if row.topic == "sentiment_windows"][-len(windows) or None :]


def record(name: str, body: dict[str, object], turn: int) -> Wire:
    """A record of the topic: what ``body`` leaves out is the schema's sample."""
    sample = golden.samples_of(codec.load_schema(name))[0]
    whole = sample | {field: content for field, content in body.items() if field in sample}
    whole["event_id"] = event_id(name, (SYMBOL, turn))
    at = int(str(whole["event_time"])) // 1000
    return Wire(name, HOME, SYMBOL.encode(), codec.encode(name, whole), at, [])


Features = st.fixed_dictionaries(
    {
        "revision": st.integers(0, 2),
        "distance_sma20": st.sampled_from([0.003, -0.003, 0.012]),
        "trend_state": st.sampled_from([1, 1, -1, 0]),
        "volume_ratio": st.sampled_from([2.0, 2.0, 1.7, 5.5, None]),
    }
)
Windows = st.tuples(st.integers(-35, 0), st.integers(0, 9), st.integers(-(10**6), 10**6))
Memberships = st.tuples(st.integers(-2, 0), st.booleans())
Minutes = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(-3, 0), Features), max_size=3),
        st.lists(Windows, max_size=2),
        st.lists(Memberships, max_size=1),
        st.booleans(),
        st.sampled_from([1, 1, 1, 12]),
    ),
    min_size=1,
    max_size=25,
)


def log_of(minutes: list[tuple[object, ...]], start: int = 0) -> MemoryLog:
    """Each minute: its joined rows, the watermarks before it, whether windows are absent, its features."""
    log, at = MemoryLog(Layout()), start
    writer = log.writer()
    log.append(record("memberships", membership_row(evaluation=minute(0)).body, -1))
    for turn, (features, windows, members, is_absent, step) in enumerate(minutes):
        label = minute(at) - MINUTE_US
        for place, (back, n, avg) in enumerate(windows):
            row = window_row(t=minute(at + back), n=n, avg=avg / 10**6)
            log.append(record("sentiment_windows", row.body, turn * 10 + place))
        for back, listed in members:
            row = membership_row(evaluation=minute(at + back), listed=listed)
            log.append(record("memberships", row.body, turn))
        for name in SIGNALS.inputs:
            if name != "sentiment_windows" or not is_absent:
                writer.watermark(name, label)
        writer.opening("features", label, ["sentiment_windows"] if is_absent else [])
        for place, (back, changed) in enumerate(features):
            body = feature(t=minute(at + back), **changed)
            log.append(record("features", body, turn * 10 + place))
        at += step
    return log


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(Minutes, st.sampled_from([1, 3, 500]))
def test_columns_give_what_live_steps_give_wherever_windows_come(
    minutes: list[tuple[object, ...]], size: int
) -> None:
    log = log_of(minutes)
    inputs = log.copied()
    live = sim(SIGNALS, log)[HOME]
    found: list[Message] = []

    def keep(block: Block) -> None:
        found.extend(m for m in block.messages() if m.value is not None)

    result = columnar(job_of(TaskId(SIGNALS, HOME), inputs, size, keep))
    assert result.values == live.disk.values
    for name in SIGNALS.outputs:
        theirs = [m.value for m in log.read(name, HOME, 0) if m.value is not None]
        assert [m.value for m in found if m.topic == name] == theirs


def test_such_logs_meet_news_that_counts_and_news_that_is_over() -> None:
    """The scenarios of the test above are there: decisions with news, without, and signals on both."""
    rng = random.Random(5)
    met: Counter[tuple[int, bool]] = Counter()
    for _ in range(20):
        minutes = [
            (
                [(0, {"volume_ratio": 2.0})],
                [(rng.choice([0, -29, -30]), rng.randint(0, 5), 800_000)] if rng.random() < 0.4 else [],
                [],
                rng.random() < 0.3,
                rng.choice([1, 1, 12]),
            )
            for _ in range(12)
        ]
        log = log_of(minutes)
        sim(SIGNALS, log)
        for message in log.read("decisions", HOME, 0):
            if message.value is not None:
                body = decode("decisions", message.value)
                met[min(body["sentiment_n"], 1), len(body["inputs"]) == 3] += 1
    assert set(met) == {(0, False), (0, True), (1, True)} and min(met.values()) > 5


def test_a_decision_is_computed_again_on_what_the_earlier_ones_of_its_session_knew() -> None:
    """News from before the open held the first bar: so the second one is in no cooldown."""
    bar = [(0, {"volume_ratio": 2.0})]
    log = log_of(
        [
            ([], [(0, 5, -800_000)], [], False, 5),
            (bar, [], [], False, 5),
            (bar, [(0, 5, 800_000)], [], False, 1),
        ],
        start=-5,
    )
    sim(SIGNALS, log)
    first, second = (opened(message) for message in decisions(log))
    assert first is not None and second is not None
    assert first.body["reason"] == "OPTIONS_CONFIDENCE_TOO_LOW"
    assert second.body["reason"] == "OPTION_DAY_TRADE"
    check = Reevaluator(TOPOLOGY, Lookup(source_of(log)), CONFIG, xnys()).check(second)
    assert check is not None and check.verdict is Verdict.SAME, check
