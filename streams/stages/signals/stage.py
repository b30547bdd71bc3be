"""The signals stage: exactly one decision per (symbol, bar), a signal where the rule acts.

State per symbol: the newest membership and sentiment window, the decided bars with what each decision was
based on, the bar time of the last signal, and the session whose gap fade was taken. The fold is
``streams.stages.signals.fold``, live and in columns. This module turns rows into its arrays, and its answers
into records.
"""

from collections.abc import Sequence
from math import nan
from typing import NamedTuple

import numpy as np

from tapedeck.streams.config.accounts import Action
from tapedeck.streams.config.document import Config
from tapedeck.streams.identity import signal_id
from tapedeck.streams.protocol import Batch, Drop, Out, Row, Step
from tapedeck.streams.sessions import Calendar, iso_utc
from tapedeck.streams.stages.base import Body, WithoutPeriod, derived
from tapedeck.streams.stages.signals import fold_kernel as kernel
from tapedeck.streams.stages.signals.fold import SignalsFold, SignalsState, window_rows
from tapedeck.streams.stages.signals.reasons import SignalDrop
from tapedeck.streams.stages.signals.rule import ACTIONS, Decision, from_codes
from tapedeck.streams.stages.signals.rule_kernel import NULL, Floats, Ints

SNAPSHOT = ("close", "distance_sma20", "trend_state", "vol_ratio", "volume_ratio")
NUMBERS = (
    "close", "sma20", "sma50", "distance_sma20", "vol_ratio", "volume_ratio", "gap_pct", "prev_move",
)  # fmt: skip
"""The record fields of the kernel's float columns, in their order."""
MEMBERSHIP = ("event_id", "event_time", "on_watchlist", "rank", "flag", "universe_version")
WINDOW = ("event_time", "n_30", "avg_30")
"""The fields of a sentiment window that the rule reads."""
_NO_WINDOWS = np.empty((0, kernel.WINDOW), dtype=np.int64)
_DROPS = {
    kernel.SAME_ACTION: SignalDrop.SAME_ACTION,
    kernel.DUPLICATE: SignalDrop.DUPLICATE,
    kernel.TOO_OLD: SignalDrop.TOO_OLD,
}
_NOT_JOINED = {kernel.REPEATED: SignalDrop.DUPLICATE, kernel.SUPERSEDED: SignalDrop.SUPERSEDED}
_UNREADABLE = ((0, kernel.BROKEN, 0, NULL), [nan] * kernel.FLOATS)


class Mood(NamedTuple):
    """The sentiment that a decision was based on; ``window``: the event_id of the window in force, if any."""

    n: int
    avg: float
    window: str | None


def mood_of(codes: Sequence[int], newest: str | None) -> Mood:
    """The sentiment in the kernel's answer for a row, ``newest`` being the last window joined before it."""
    is_in_force = codes[kernel.O_WINDOW] != kernel.NO_WINDOW
    avg = codes[kernel.O_AVG] / kernel.MILLIONTHS
    return Mood(codes[kernel.O_N], avg, newest if is_in_force else None)


class SignalsStage(WithoutPeriod):
    """Trigger ``features``, joins ``memberships`` and, where it is there, ``sentiment_windows``."""

    def __init__(self, config: Config, calendar: Calendar) -> None:
        self.config_digest = config.digest
        self.fold = SignalsFold(config, calendar)

    def key(self, row: Row) -> bytes:
        return row.key

    def step(self, key: bytes, state: bytes | None, batch: Batch) -> Step:
        current = self.fold.open(state)
        joined, windowed, answers, numbers = self.fold.fold(current, *_arrays(current, batch))
        joins = {"memberships": iter(joined.tolist()), "sentiment_windows": iter(windowed.tolist())}
        gave = zip(answers.tolist(), numbers.tolist(), strict=True)
        membership, window = current.membership, current.window
        outs: list[Out] = []
        drops: list[Drop] = []
        for cause, row in enumerate(batch):
            if row.topic in joins:
                did = next(joins[row.topic])
                if did != kernel.JOINED:
                    drops.append(Drop(cause, _NOT_JOINED[did]))
                elif row.topic == "memberships":
                    membership = {field: row.body[field] for field in MEMBERSHIP}
                else:
                    window = row.body["event_id"]
                continue
            codes, floats = next(gave)
            given = codes[kernel.O_GAVE]
            if given == kernel.DECIDED:
                decision = from_codes((*codes[kernel.O_ACTION : kernel.O_OLD_ACTION], *floats))
                outs += self.records(cause, row, decision, membership, mood_of(codes, window))
            elif given == kernel.AUDITED:
                old, new = ACTIONS[codes[kernel.O_OLD_ACTION]], ACTIONS[codes[kernel.O_ACTION]]
                outs.append(self.audit_record(cause, row.body, old, new))
            else:
                drops.append(Drop(cause, _DROPS[given]))
        return Step(self.fold.close(current, membership, window), outs, drops)

    def audit_record(self, cause: int, feature: Body, old: Action, new: Action) -> Out:
        body = {
            "event_time": feature["as_of"],
            "symbol": feature["symbol"],
            "bar_t": feature["t"],
            "revision": feature["revision"],
            "would_differ": True,
            "old_action": str(old),
            "new_action": str(new),
        }
        inputs, digest = [feature["event_id"]], self.config_digest
        return derived(cause, "revision_audit", body, digest, inputs, revision=feature["revision"])

    def records(
        self, cause: int, row: Row, decision: Decision, membership: Body | None, mood: Mood
    ) -> list[Out]:
        feature = row.body
        is_listed = membership is not None and membership["on_watchlist"]
        body = {
            "event_time": feature["as_of"],
            "symbol": feature["symbol"],
            "feed": feature["feed"],
            "bar_t": feature["t"],
            "bar_revision": feature["bar_revision"],
            "as_of": feature["as_of"],
            "action": str(decision.action),
            "strategy": None if decision.strategy is None else str(decision.strategy),
            "reason": str(decision.reason),
            "confidence": decision.confidence,
            "direction": None if decision.direction is None else str(decision.direction),
            "factors": decision.factors._asdict(),
            "sentiment_n": mood.n,
            "sentiment_avg": mood.avg,
            "watchlist_rank": membership["rank"] if membership and is_listed else None,
            "watchlist_flag": membership["flag"] if membership and is_listed else None,
            "universe_version": membership["universe_version"] if membership else None,
        } | {field: feature[field] for field in SNAPSHOT}
        inputs = [feature["event_id"]] + ([membership["event_id"]] if membership else [])
        inputs += [mood.window] if mood.window else []
        digest = self.config_digest
        outs = [derived(cause, "decisions", {**body, "now": row.now}, digest, inputs)]
        if decision.action is not Action.HOLD:
            identity = signal_id(feature["symbol"], iso_utc(feature["t"]))
            outs.append(derived(cause, "signals", {**body, "signal_id": identity}, digest, inputs))
        return outs


def _arrays(state: SignalsState, batch: Batch) -> tuple[Ints, Floats, Ints, Ints]:
    """The fold's matrices of a batch: feature rows, their numbers, membership rows, window rows."""
    bars, values, members, windows = [], [], [], []
    for row in batch:
        body = row.body
        if row.topic == "memberships":
            members.append((body["event_time"], bool(body["on_watchlist"])))
            continue
        if row.topic == "sentiment_windows":
            windows.append(tuple(body[field] for field in WINDOW))
            continue
        feed = state.place_of(body["feed"])
        ints, floats = _readable(body)
        seen = (len(members), len(windows))
        bars.append((body["t"], body["revision"], body["as_of"], row.now, feed, *ints, *seen))
        values.append(floats)
    return (
        np.array(bars, dtype=np.int64).reshape(-1, kernel.INTS),
        np.array(values, dtype=np.float64).reshape(-1, kernel.FLOATS),
        np.array(members, dtype=np.int64).reshape(-1, kernel.MEMBER),
        window_rows(*zip(*windows, strict=True)) if windows else _NO_WINDOWS,
    )


def _readable(body: Body) -> tuple[tuple[int, int, int, int], list[float]]:
    """The fields of a feature that the rule reads; an unreadable one holds only this symbol's bar."""
    try:
        trend = body["trend_state"]
        ints = (
            body["session_date"],
            body["ready"] is True,
            bool(body["suspect_split"]),
            NULL if trend is None else int(trend),
        )
        return ints, [nan if body[name] is None else float(body[name]) for name in NUMBERS]
    except Exception:
        return _UNREADABLE
