"""The window against a plain model: any order of bars, revisions, insertions, repeats and late bars."""

from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config, from_dict
from tapedeck.streams.protocol import MINUTE_US, Out, Step
from tapedeck.streams.sessions import Session, day_number, xnys
from tapedeck.streams.stages.features import layout as L
from tapedeck.streams.stages.features.stage import FeaturesStage
from tests.support.feature_oracle import Bar, assert_agrees, compute
from tests.unit.stages.test_feature_vectors import SMALL

KEY = b"iex|SPY"
SMALL_CONFIG = from_dict({"feature": SMALL | {"ready_bars": 6}})
DEFAULT = from_dict({})
STAGES = {config.digest: FeaturesStage(config, xnys()) for config in (SMALL_CONFIG, DEFAULT)}
# a full Wednesday, the half day after Thanksgiving, a full Monday, a full Tuesday: consecutive sessions
SESSIONS = [
    xnys().session_on(day_number(date(2026, *day))) for day in ((11, 25), (11, 27), (11, 30), (12, 1))
]


def fold(bars: list[Bar], config: Config = SMALL_CONFIG, state: bytes | None = None) -> Step:
    return STAGES[config.digest].step(KEY, state, [bar.row() for bar in bars])


@dataclass
class Model:
    """The rules of domain sections 3 and 4 over two lists of bars."""

    config: Config
    sessions: list[Session] = field(default_factory=list)
    days: list[dict[int, Bar]] = field(default_factory=list)
    revision: int = 0

    def take(self, bar: Bar) -> str | list[tuple[int, dict[str, Any]]]:
        """A drop's reason, ``LATE``, or (revision, features) per event."""
        session = next((s for s in SESSIONS if s.open <= bar.t < s.close), None)
        if session is None:
            return "OUTSIDE_SESSION"
        newest = max(self.days[-1]) if self.days else -1
        if bar.t > newest:
            if not self.sessions or self.sessions[-1] != session:
                follows = self.sessions and SESSIONS.index(self.sessions[-1]) == SESSIONS.index(session) - 1
                self.days = [self.days[-1], {}] if follows else [{}]
                self.sessions.append(session)
            self.days[-1][bar.t] = bar
            self.revision = 0
            return [(0, self.features(bar.t))]
        known = next((day[bar.t] for day in self.days if bar.t in day), None)
        if known and known.revision >= bar.revision and bar.t in self.ring():
            return "DUPLICATE_BAR"
        if newest - bar.t > 16 * MINUTE_US:
            return "LATE"
        self.days[-1][bar.t] = bar
        self.revision += 1
        again = (self.revision, self.features(newest))
        return [again] if known else [(0, self.features(bar.t)), again]

    def ring(self) -> list[int]:
        return [t for day in self.days for t in sorted(day)][-L.RING :]

    def lists(self, upto: int) -> tuple[list[Bar], list[Bar]]:
        days = [[day[t] for t in sorted(day) if t <= upto] for day in self.days]
        return (days[0], days[1]) if len(days) == 2 else ([], days[0])

    def features(self, upto: int) -> dict[str, Any]:
        return compute(self.config, self.sessions[-1], *self.lists(upto))


prices = st.integers(9_800, 10_200).map(lambda cents: cents / 100)
revisions = st.sampled_from([0] * 6 + [1, 1, 2])
jumps = st.sampled_from([1] * 12 + [2, 3, 6, 9] + [0, -1, -1, -2, -3, -5, -15, -16, -17, -18, -40])
turns = st.sampled_from([0] * 30 + [1, 1, 2])
steps = st.tuples(
    turns, jumps, revisions, prices, prices, st.integers(0, 20), st.integers(0, 20), st.integers(0, 9)
)


def tape(moves: list[tuple[int, int, int, float, float, int, int, int]]) -> list[Bar]:
    """Bars around a newest minute that walks forward, now and then into a later session."""
    at, t = 0, SESSIONS[0].open - MINUTE_US
    bars = []
    for turn, jump, revision, opened, closed, up, down, volume in moves:
        if turn and at + turn < len(SESSIONS):
            at += turn
            t = SESSIONS[at].open - MINUTE_US
        here = t + jump * MINUTE_US
        t = max(t, here) if here < SESSIONS[at].close else t
        high, low = max(opened, closed) + up / 100, min(opened, closed) - down / 100
        bars.append(Bar(here, opened, high, low, closed, volume * 100.0, revision))
    return bars


tapes = st.one_of(st.lists(steps, min_size=1, max_size=12), st.lists(steps, min_size=30, max_size=90)).map(
    tape
)


@settings(max_examples=75, deadline=None)
@given(tapes)
def test_every_event_is_what_the_plain_model_computes_from_the_revised_list(bars: list[Bar]) -> None:
    model = Model(SMALL_CONFIG)
    state = None
    for bar in bars:
        step = fold([bar], state=state)
        state = step.state or None
        expected = model.take(bar)
        if isinstance(expected, list):
            assert [out.body["revision"] for out in step.outs] == [revision for revision, _ in expected]
            for out, (_, features) in zip(step.outs, expected, strict=True):
                assert_agrees(out.body, features)
        elif expected == "LATE":
            assert [(out.topic, out.body["t"]) for out in step.outs] == [("bars.late", bar.t)]
        else:
            assert (step.outs, [drop.reason for drop in step.drops]) == ([], [expected])


@settings(max_examples=60, deadline=None)
@given(tapes, st.lists(st.integers(1, 30), max_size=20))
def test_any_split_into_batches_gives_the_same_bytes_and_events(bars: list[Bar], sizes: list[int]) -> None:
    whole = fold(bars)
    state, outs, drops, start = None, [], [], 0
    for size in [*sizes, len(bars)]:
        part = bars[start : start + size]
        if part:
            step = fold(part, state=state)
            state = step.state
            outs += [out._replace(cause=out.cause + start) for out in step.outs]
            drops += [drop._replace(cause=drop.cause + start) for drop in step.drops]
        start += size
    assert state == whole.state
    assert outs == whole.outs
    assert drops == whole.drops


@settings(max_examples=60, deadline=None)
@given(tapes)
def test_the_bytes_are_a_pure_function_of_the_list_of_two_sessions(bars: list[Bar]) -> None:
    model = Model(SMALL_CONFIG)
    for bar in bars:
        model.take(bar)
    if not model.days:
        return
    previous, current = model.lists(max(model.days[-1]))
    scratch = fold(previous + current)
    assert without_revision(scratch.state) == without_revision(fold(bars).state)


@settings(max_examples=60, deadline=None)
@given(tapes, st.data())
def test_repeats_change_and_emit_nothing(bars: list[Bar], data: st.DataObject) -> None:
    step = fold(bars)
    kept = [bars[out.cause] for out in step.outs if out.topic == "features"][-20:]
    again = data.draw(st.lists(st.sampled_from(kept), max_size=10)) if kept else []
    newest = max((bar.t for bar in kept), default=0)
    again = [bar for bar in again if newest - bar.t <= 16 * MINUTE_US]
    repeat = fold(again, state=step.state)
    assert repeat.outs == []
    assert {drop.reason for drop in repeat.drops} <= {"DUPLICATE_BAR"}
    assert repeat.state == step.state


def without_revision(state: bytes) -> bytes:
    slots = np.frombuffer(state, dtype=np.int64).copy()
    slots[L.H_REVISION] = 0
    return slots.tobytes()


def walk(session: Session, seed: int, minutes: int | None = None, missing: float = 0.05) -> list[Bar]:
    rng = np.random.default_rng(seed)
    length = (session.close - session.open) // MINUTE_US
    price, bars = 100.0 + seed, []
    for k in range(length if minutes is None else minutes):
        opened, price = price, round(price * (1 + rng.normal(0, 1e-3)), 4)
        if k == 0 or rng.random() >= missing:
            high, low = max(opened, price) + rng.integers(5) / 100, min(opened, price) - rng.integers(5) / 100
            volume = float(rng.integers(0, 5000))
            bars.append(Bar(session.open + k * MINUTE_US, opened, high, low, price, volume))
    return bars


def events(step: Step) -> list[Out]:
    return [out for out in step.outs if out.topic == "features"]


def test_default_windows_agree_with_the_oracle_over_full_and_half_days_with_missing_minutes() -> None:
    days = [walk(session, seed) for seed, session in enumerate(SESSIONS)]
    outs = iter(events(fold([bar for day in days for bar in day], DEFAULT)))
    for at, day in enumerate(days):
        previous = days[at - 1] if at else []
        for n in range(len(day)):
            body = next(outs).body
            if n % 11 in (0, 1) or n < 35:
                assert_agrees(body, compute(DEFAULT, SESSIONS[at], previous, day[: n + 1]))


@pytest.mark.parametrize("minutes", [1, 2, 17, 18, 40, 250])
@pytest.mark.parametrize("depth", [0, 1, 5, 15, 16])
def test_a_revision_within_sixteen_minutes_equals_a_fold_from_scratch(minutes: int, depth: int) -> None:
    bars = walk(SESSIONS[1], 7, 180, missing=0) + walk(SESSIONS[2], 8, minutes, missing=0)
    at = len(bars) - 1 - min(depth, minutes - 1)
    revised = bars[at]._replace(
        open=bars[at].open + 1, high=bars[at].high + 2, low=bars[at].low - 2, close=bars[at].close - 1,
        volume=9e5, revision=1,
    )  # fmt: skip
    scratch = fold([*bars[:at], revised, *bars[at + 1 :]], DEFAULT)
    live = fold([*bars, revised], DEFAULT)
    assert without_revision(live.state) == without_revision(scratch.state)
    mine, theirs = events(live)[-1].body, events(scratch)[-1].body
    assert mine["revision"] == 1
    changing = {"event_id", "inputs", "revision"}
    assert {k: v for k, v in mine.items() if k not in changing} == {
        k: v for k, v in theirs.items() if k not in changing
    }


@pytest.mark.parametrize("depth", [1, 2, 15, 16])
def test_an_inserted_minute_gives_its_own_event_and_the_newest_again(depth: int) -> None:
    bars = walk(SESSIONS[1], 7, missing=0) + walk(SESSIONS[2], 8, 150, missing=0)
    at = len(bars) - 1 - depth
    live = events(fold([*bars[:at], *bars[at + 1 :], bars[at]], DEFAULT))
    scratch = events(fold(bars, DEFAULT))
    own, newest = live[-2].body, live[-1].body
    assert (own["t"], own["revision"], newest["t"], newest["revision"]) == (bars[at].t, 0, bars[-1].t, 1)
    assert own == scratch[at].body
    changing = {"event_id", "inputs", "revision"}
    assert newest.keys() == scratch[-1].body.keys()
    assert all(newest[k] == v for k, v in scratch[-1].body.items() if k not in changing)


def test_the_first_bar_of_a_session_arriving_second_moves_gap_opening_range_and_vwap() -> None:
    day_before, today = walk(SESSIONS[0], 3), walk(SESSIONS[1], 4, 17, missing=0)
    today[0] = today[0]._replace(open=90.0, low=80.0, high=150.0)
    outs = events(fold([*day_before, *today[1:], today[0]]))
    without, own, newest = (out.body for out in outs[-3:])
    for name in ("gap_pct", "or_high", "or_low", "vwap"):
        assert without[name] != newest[name]
    assert_agrees(own, compute(SMALL_CONFIG, SESSIONS[1], day_before, today[:1]))
    assert_agrees(newest, compute(SMALL_CONFIG, SESSIONS[1], day_before, today))


def test_deeper_than_sixteen_minutes_goes_to_late_bars_as_it_came() -> None:
    bars = walk(SESSIONS[0], 1, 60, missing=0)
    gap, fresh = bars[20], bars[30]._replace(revision=1)
    step = fold([*bars[:20], *bars[21:], gap, fresh], DEFAULT)
    late = [out for out in step.outs if out.topic == "bars.late"]
    assert [out.body for out in late] == [gap.row().body, fresh.row().body]
    assert [out.event_id for out in late] == [gap.row().body["event_id"], fresh.row().body["event_id"]]
    assert step.drops == []


def test_depth_counts_against_the_keys_own_newest_bar() -> None:
    bars = walk(SESSIONS[0], 1, 30, missing=0)
    step = fold([*bars[:10], *bars[27:], bars[12]._replace(revision=1)], DEFAULT)
    assert [out.topic for out in step.outs[-1:]] == ["bars.late"]  # 17 minutes
    step = fold([*bars[:10], *bars[27:29], bars[12]._replace(revision=1)], DEFAULT)
    assert [out.body["t"] for out in step.outs[-2:]] == [bars[12].t, bars[28].t]  # 16 minutes


def test_a_skipped_session_leaves_nothing_of_the_older_one() -> None:
    old, new = walk(SESSIONS[0], 1), walk(SESSIONS[2], 2, 10, missing=0)
    step, alone = fold(old + new, DEFAULT), fold(new, DEFAULT)
    assert step.state == alone.state
    assert [out.body for out in events(step)[-10:]] == [out.body for out in events(alone)]
    assert events(step)[-1].body["gap_pct"] is None


@pytest.mark.parametrize(
    ("factor", "suspect"), [(0.5999, True), (1.7001, True), (0.6001, False), (1.6999, False)]
)
def test_a_jump_of_the_first_open_leaves_the_previous_session_out(factor: float, suspect: bool) -> None:
    before = walk(SESSIONS[1], 3)
    today = walk(SESSIONS[2], 3, 60, missing=0)
    factor *= before[-1].close / today[0].open
    today = [
        bar._replace(**{name: getattr(bar, name) * factor for name in ("open", "high", "low", "close")})
        for bar in today
    ]
    bodies = [out.body for out in events(fold(before + today, DEFAULT))[-60:]]
    assert {body["suspect_split"] for body in bodies} == {suspect}
    assert [body["ready"] for body in bodies].index(True) == (49 if suspect else 0)
    assert bodies[0]["gap_pct"] is not None
    for n in (1, 30, 60):
        assert_agrees(bodies[n - 1], compute(DEFAULT, SESSIONS[2], before, today[:n]))
    if suspect:
        mended = today[0]._replace(open=before[-1].close, high=500.0, low=1.0, revision=1)
        again = events(fold([*before, *today[:10], mended], DEFAULT))[-1].body
        assert not again["suspect_split"]
        assert again["ready"]


def test_state_of_another_format_is_refused_with_a_remedy() -> None:
    state = fold(walk(SESSIONS[0], 1, 5)).state
    assert len(state) == L.STATE_BYTES
    other = np.frombuffer(state, dtype=np.int64).copy()
    other[L.H_FORMAT] = 99
    for bad, message in ((other.tobytes(), "format 99"), (state[:-8], "bytes"), (b"abc", "3 bytes")):
        with pytest.raises(Fatal, match=message):
            fold(walk(SESSIONS[0], 1, 5), state=bad)


def test_state_folded_with_other_parameters_is_refused() -> None:
    with pytest.raises(Fatal, match="other feature parameters"):
        fold(walk(SESSIONS[0], 1, 5), DEFAULT, state=fold(walk(SESSIONS[0], 1, 5)).state)
