"""The signals stage on its compiled fold against the plain one: records, drops and state to the byte."""

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from tapedeck.streams.config.document import Config
from tapedeck.streams.config.groups import Bars, GapFade, Signal
from tapedeck.streams.protocol import MINUTE_US, Row
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.signals import fold_kernel as kernel
from tapedeck.streams.stages.signals import rule_kernel as signal_kernel
from tapedeck.streams.stages.signals.fold import ALLOWED_LATENESS_BARS, SignalsFold, window_rows
from tapedeck.streams.stages.signals.stage import SignalsStage
from tests.support.market_bodies import OPEN, SESSION, feature_row, membership_row, minute, window_row
from tests.support.signal_stage_oracle import PlainSignalsStage

ROOT = Path(__file__).parents[3]
FADE = Config(gap_fade=GapFade(enabled=True))
SHORT = Config(
    bars=Bars(rollback_min=1),
    gap_fade=GapFade(enabled=True, from_min=1, to_min=390),
    signal=Signal(cooldown_min=2),
)
KEPT = FADE.bars.rollback_min + ALLOWED_LATENESS_BARS
COMPILED_IN = ("streams/stages/signals/rule_kernel.py", "streams/stages/rounding.py")


def chance_row(random: Random, at: int) -> Row:
    """A row about minute ``at``: mostly in order, at times late, revised, of another feed or joined."""
    pick = random.choice
    if random.random() < 0.05:
        ended = minute(at - pick([0, 0, 1, 5, 29, 30, 40]))
        avg = pick([0.8, -0.8, -0.0, 1.0, round(random.uniform(-1, 1), 6)])
        return window_row(t=ended, n=pick([0, 1, 5, 9]), avg=avg)
    if random.random() < 0.1:
        return membership_row(evaluation=minute(at - pick([0, 0, 1, 5])), listed=random.random() < 0.8)
    back = pick([0, 0, 0, 1, 2, 16, 33, 60])
    t = minute(at - back)
    if random.random() < 0.02:
        t = pick([SESSION.close, -5 * MINUTE_US, 2_000_000_000_000_000, -(2**62)])
    changed: dict[str, Any] = {
        "feed": pick(["iex", "iex", "iex", "sip", "otc"]),
        "revision": pick([0, 0, 1, 2]),
        "distance_sma20": pick([0.003, -0.012, 0.012, 0.0, None, random.uniform(-0.022, 0.022)]),
        "trend_state": pick([1, -1, 0, None]),
        "volume_ratio": pick([2.0, 5.5, 0.4, None]),
        "vol_ratio": pick([1.0, 1.35, None]),
        "gap_pct": pick([None, 0.01, -0.01]),
        "prev_move": pick([None, 0.006, -0.006]),
        "ready": random.random() < 0.97,
        "suspect_split": random.random() < 0.03,
    }
    if random.random() < 0.02:
        changed["as_of"] = pick([2**63 - 1, -(2**63)])
    row = feature_row(t=t, now=minute(at) + pick([0, 0, 0, 3]) * MINUTE_US, **changed)
    if random.random() < 0.01:
        del row.body[pick(["ready", "sma50"])]
    return row


def batches(random: Random, n: int) -> list[list[Row]]:
    rows = [chance_row(random, at) for at in range(n)]
    cut: list[list[Row]] = []
    while rows:
        size = random.choice([1, 1, 2, 7, 60])
        cut.append(rows[:size])
        rows = rows[size:]
    return cut


@pytest.mark.parametrize("config", [FADE, SHORT, Config(bars=Bars(feed="sip"))], ids=["fade", "short", "sip"])
def test_stage_gives_the_records_drops_and_bytes_of_the_plain_one(config: Config) -> None:
    stage, plain = SignalsStage(config, xnys()), PlainSignalsStage(config, xnys())
    met: Counter[str] = Counter()
    for seed in range(25):
        state = None
        for batch in batches(Random(seed), 300):
            found, wanted = stage.step(b"NVDA", state, batch), plain.step(b"NVDA", state, batch)
            assert found == wanted
            assert repr(found.outs) == repr(wanted.outs)  # True is not 1 in JSON, nor -0.0 the same 0.0
            state = found.state
            met.update(str(drop.reason) for drop in found.drops)
            met.update(out.topic for out in found.outs)
            met.update(out.body["reason"] for out in found.outs if out.topic == "decisions")
    expected = {"DUPLICATE", "SUPERSEDED", "SAME_ACTION", "TOO_OLD", "decisions", "signals", "revision_audit"}
    expected |= {"RULE_ERROR", "OUTSIDE_SESSION", "COOLDOWN", "STALE_BAR", "FEED_NOT_SELECTED", "NOT_READY"}
    expected |= {"SUSPECT_SPLIT", "GAP_FADE"} if config.gap_fade.enabled else set()
    assert expected <= set(met)


def test_state_with_more_bars_than_are_kept_now_is_cut_at_the_next_decision() -> None:
    plain = PlainSignalsStage(FADE, xnys())
    rows = [membership_row(), *(feature_row(t=minute(n)) for n in range(10, 10 + KEPT))]
    state = plain.step(b"NVDA", None, rows).state
    stage, plain = SignalsStage(SHORT, xnys()), PlainSignalsStage(SHORT, xnys())
    for n in (5, 11, 12, 10 + KEPT):
        row = feature_row(t=minute(n), now=minute(10 + KEPT), revision=1)
        assert stage.step(b"NVDA", state, [row]) == plain.step(b"NVDA", state, [row])
    late = feature_row(t=minute(10) + 1)
    assert stage.step(b"NVDA", state, [late]) == plain.step(b"NVDA", state, [late])


def test_feature_that_cannot_be_read_holds_its_bar_and_the_others_go_on() -> None:
    broken, sound = feature_row(), feature_row(t=minute(1))
    del broken.body["gap_pct"]
    outs = SignalsStage(FADE, xnys()).step(b"NVDA", None, [membership_row(), broken, sound]).outs
    decided = [out.body["reason"] for out in outs if out.topic == "decisions"]
    assert decided == ["RULE_ERROR", "OPTION_SWING_TRADE"]


def test_answers_say_which_membership_and_context_each_row_was_judged_on() -> None:
    fold = SignalsFold(Config(), xnys())
    state = fold.open(None)
    bars = np.zeros((4, kernel.INTS), dtype=np.int64)
    bars[:, kernel.I_T] = [minute(n) for n in (0, 1, 2, 2)]
    bars[:, kernel.I_AS_OF] = bars[:, kernel.I_NOW] = bars[:, kernel.I_T] + MINUTE_US
    bars[:, kernel.I_FEED] = state.place_of("iex")
    bars[:, kernel.I_READY] = bars[:, kernel.I_TREND] = 1
    bars[:, kernel.I_MEMBERS] = [0, 1, 3, 3]
    bars[:, kernel.I_WINDOWS] = [0, 0, 2, 2]
    windows = window_rows(
        [OPEN, OPEN, OPEN - MINUTE_US, OPEN + MINUTE_US], [5, 5, 1, 0], [0.1, 1.0, 0.2, 0.0]
    )
    values = np.tile([100.0, 99.7, 99.0, 0.003, 1.0, 2.0, np.nan, np.nan], (4, 1))
    members = np.array([[OPEN, 1], [OPEN, 0], [OPEN + 1, 0], [OPEN + 2, 1]])
    made = fold.fold(state, bars, values, members, windows)
    assert made.joined.tolist() == [kernel.JOINED, kernel.REPEATED, kernel.JOINED, kernel.JOINED]
    assert made.rows[:, kernel.O_MEMBER].tolist() == [kernel.NONE, 0, 2, 2]
    assert made.windowed.tolist() == [kernel.JOINED, kernel.REPEATED, kernel.SUPERSEDED, kernel.JOINED]
    assert made.rows[:, kernel.O_WINDOW].tolist() == [kernel.NO_WINDOW, kernel.NO_WINDOW, 0, 0]
    assert made.rows[:, kernel.O_N].tolist() == [0, 0, 5, kernel.NONE]
    assert made.rows[:, kernel.O_AVG].tolist() == [0, 0, 100_000, kernel.NONE]
    assert made.rows[:, kernel.O_LISTED].tolist() == [0, 1, 0, kernel.NONE]
    assert made.rows[:, kernel.O_GAVE].tolist() == [kernel.DECIDED] * 3 + [kernel.DUPLICATE]
    assert made.rows[:, kernel.O_LAST_SIGNAL].tolist() == [kernel.NULL, kernel.NULL, minute(1), kernel.NONE]
    assert made.rows[1, kernel.O_REASON] == signal_kernel.R_OPTION_SWING_TRADE
    assert made.numbers[1].tolist()[:2] == [0.553437, 0.9625]
    assert np.isnan(made.numbers[3]).all()
    assert state.head[kernel.H_LISTED] == 1
    assert state.head[kernel.H_WINDOW :].tolist() == [OPEN + MINUTE_US, 0, 0]


def test_a_change_in_compiled_sources_does_not_leave_an_old_kernel_in_the_cache() -> None:
    sources = b"".join((ROOT / name).read_bytes() for name in COMPILED_IN)
    assert crc32(sources) == kernel.COMPILED_WITH, f"set COMPILED_WITH to {crc32(sources)}"
