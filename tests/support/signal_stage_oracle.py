"""The signals stage in plain Python, as it was before its fold was compiled: the reference for the stage.

State per symbol: the newest membership and sentiment window, the decided bars with their inputs, the bar
time of the last signal and the session whose gap fade was taken. An avg is kept in millionths.
"""

from typing import Any, NamedTuple

from tapedeck.streams.config.accounts import Action
from tapedeck.streams.config.document import Config
from tapedeck.streams.identity import signal_id
from tapedeck.streams.protocol import MINUTE_US, Batch, Drop, Out, Row, Step
from tapedeck.streams.sessions import Calendar, iso_utc
from tapedeck.streams.stages.base import WithoutPeriod, derived, pack_state, unpack_state
from tapedeck.streams.stages.signals.fold import ALLOWED_LATENESS_BARS, FIRST_VERSION, STATE_VERSION
from tapedeck.streams.stages.signals.reasons import SignalDrop, SignalReason
from tapedeck.streams.stages.signals.rule import Case, Decision, GapCase, Strategy
from tests.support.signal_oracle import decide, hold

_SNAPSHOT = ("close", "distance_sma20", "trend_state", "vol_ratio", "volume_ratio")

Body = dict[str, Any]


class _Context(NamedTuple):
    """A bar's inputs besides its features, so that a revision is judged on the same inputs."""

    now: int
    on_watchlist: bool
    last_signal_t: int | None
    gap_fade_date: int | None
    n: int = 0
    avg: int = 0


class _Decided(NamedTuple):
    """One decided bar: the newest revision seen and the action of the first."""

    revision: int
    action: str
    context: _Context


class _State(NamedTuple):
    """Mutable only through its two dictionaries; ``decided`` maps feed to bar t."""

    membership: Body | None
    decided: dict[str, dict[int, _Decided]]
    last_signal_t: int | None
    gap_fade_date: int | None
    window: Body | None = None


class PlainSignalsStage(WithoutPeriod):
    """Trigger ``features``, joins ``memberships`` and ``sentiment_windows``."""

    def __init__(self, config: Config, calendar: Calendar) -> None:
        self._config = config
        self._calendar = calendar
        self._kept_bars = config.bars.rollback_min + ALLOWED_LATENESS_BARS

    def key(self, row: Row) -> bytes:
        return row.key

    def step(self, key: bytes, state: bytes | None, batch: Batch) -> Step:
        current = _unpack(state)
        outs: list[Out] = []
        drops: list[Drop] = []
        for cause, row in enumerate(batch):
            if row.topic == "memberships":
                current = self._join(current, cause, row.body, drops)
            elif row.topic == "sentiment_windows":
                current = self._join_window(current, cause, row.body, drops)
            else:
                current = self._judge(current, cause, row, outs, drops)
        return Step(_pack(current), outs, drops)

    def _join(self, state: _State, cause: int, body: Body, drops: list[Drop]) -> _State:
        known = state.membership
        if known is None or body["event_time"] > known["event_time"]:
            kept = ("event_id", "event_time", "on_watchlist", "rank", "flag", "universe_version")
            return state._replace(membership={field: body[field] for field in kept})
        is_repeat = body["event_time"] == known["event_time"]
        drops.append(Drop(cause, SignalDrop.DUPLICATE if is_repeat else SignalDrop.SUPERSEDED))
        return state

    def _join_window(self, state: _State, cause: int, body: Body, drops: list[Drop]) -> _State:
        known = state.window
        if known is None or body["event_time"] > known["event_time"]:
            avg = round(body["avg_30"] * 1_000_000)
            kept = {"event_id": body["event_id"], "event_time": body["event_time"], "n": body["n_30"]}
            return state._replace(window=kept | {"avg": avg})
        is_repeat = body["event_time"] == known["event_time"]
        drops.append(Drop(cause, SignalDrop.DUPLICATE if is_repeat else SignalDrop.SUPERSEDED))
        return state

    def _judge(self, state: _State, cause: int, row: Row, outs: list[Out], drops: list[Drop]) -> _State:
        feature = row.body
        decided = state.decided.setdefault(feature["feed"], {})
        known = decided.get(feature["t"])
        if known is not None:
            if feature["revision"] <= known.revision:
                drops.append(Drop(cause, SignalDrop.DUPLICATE))
                return state
            decided[feature["t"]] = known._replace(revision=feature["revision"])
            action = self._evaluate(feature, known.context).action
            if action == known.action:
                drops.append(Drop(cause, SignalDrop.SAME_ACTION))
            else:
                outs.append(self._audit_record(cause, feature, known.action, action))
            return state
        if len(decided) >= self._kept_bars and feature["t"] < min(decided):
            drops.append(Drop(cause, SignalDrop.TOO_OLD))
            return state
        return self._decide_first(state, cause, row, outs)

    def _decide_first(self, state: _State, cause: int, row: Row, outs: list[Out]) -> _State:
        feature, membership = row.body, state.membership
        on_watchlist = membership is not None and bool(membership["on_watchlist"])
        window = state.window
        if window is not None and row.now - window["event_time"] >= 30 * MINUTE_US:
            window = None  # every item of it is older than 30 minutes by now
        n, avg = (window["n"], window["avg"]) if window else (0, 0)
        context = _Context(row.now, on_watchlist, state.last_signal_t, state.gap_fade_date, n, avg)
        decision = self._evaluate(feature, context)
        decided = state.decided[feature["feed"]]
        decided[feature["t"]] = _Decided(feature["revision"], str(decision.action), context)
        while len(decided) > self._kept_bars:
            del decided[min(decided)]
        outs.extend(self._records(cause, row, decision, membership, window))
        if decision.action is Action.HOLD:
            return state
        if decision.strategy is Strategy.GAP_FADE:
            state = state._replace(gap_fade_date=feature["session_date"])
        return state._replace(last_signal_t=max(state.last_signal_t or 0, feature["t"]))

    def _audit_record(self, cause: int, feature: Body, old: str, new: Action) -> Out:
        body = {
            "event_time": feature["as_of"],
            "symbol": feature["symbol"],
            "bar_t": feature["t"],
            "revision": feature["revision"],
            "would_differ": True,
            "old_action": old,
            "new_action": str(new),
        }
        inputs = [feature["event_id"]]
        return derived(
            cause, "revision_audit", body, self._config.digest, inputs, revision=feature["revision"]
        )

    def _evaluate(self, feature: Body, context: _Context) -> Decision:
        """The rule's decision; an exception gives HOLD for this bar only."""
        try:
            return decide(self._case(feature, context), self._config)
        except Exception:
            return hold(SignalReason.RULE_ERROR)

    def _case(self, feature: Body, context: _Context) -> Case:
        session = self._calendar.session_at(feature["t"])
        last = context.last_signal_t
        gap = None
        if session is not None:
            gap = GapCase(
                minutes_in=(feature["as_of"] - session.open) / MINUTE_US,
                gap_pct=feature["gap_pct"],
                prev_move=feature["prev_move"],
                done=context.gap_fade_date == session.date,
            )
        return Case(
            feed_selected=feature["feed"] == self._config.bars.feed,
            in_session=session is not None,
            on_watchlist=context.on_watchlist,
            ready=feature["ready"],
            suspect_split=feature["suspect_split"],
            prices=(feature["close"], feature["sma20"], feature["sma50"]),
            distance=feature["distance_sma20"],
            trend=feature["trend_state"],
            vol_ratio=feature["vol_ratio"],
            volume_ratio=feature["volume_ratio"],
            bar_age=context.now - feature["as_of"],
            since_signal=None if last is None else feature["t"] - last,
            gap=gap,
            sentiment_n=context.n,
            sentiment_avg=context.avg / 1_000_000,
        )

    def _records(
        self, cause: int, row: Row, decision: Decision, membership: Body | None, window: Body | None
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
            "sentiment_n": window["n"] if window else 0,
            "sentiment_avg": window["avg"] / 1_000_000 if window else 0.0,
            "watchlist_rank": membership["rank"] if membership and is_listed else None,
            "watchlist_flag": membership["flag"] if membership and is_listed else None,
            "universe_version": membership["universe_version"] if membership else None,
        } | {field: feature[field] for field in _SNAPSHOT}
        inputs = [feature["event_id"], *(each["event_id"] for each in (membership, window) if each)]
        digest = self._config.digest
        outs = [derived(cause, "decisions", {**body, "now": row.now}, digest, inputs)]
        if decision.action is not Action.HOLD:
            identity = signal_id(feature["symbol"], iso_utc(feature["t"]))
            outs.append(derived(cause, "signals", {**body, "signal_id": identity}, digest, inputs))
        return outs


def _pack(state: _State) -> bytes:
    columns = 4 if state.window is None else 6
    decided = {
        feed: [
            [t, each.revision, each.action, list(each.context[:columns])] for t, each in sorted(bars.items())
        ]
        for feed, bars in state.decided.items()
    }
    fields = state._asdict() | {"decided": decided}
    if state.window is None:
        del fields["window"]
    return pack_state(FIRST_VERSION if state.window is None else STATE_VERSION, fields)


def _unpack(data: bytes | None) -> _State:
    if not data:
        return _State(None, {}, None, None)
    fields = unpack_state(STATE_VERSION, data, FIRST_VERSION)
    decided = {
        feed: {t: _Decided(revision, action, _Context(*context)) for t, revision, action, context in bars}
        for feed, bars in fields["decided"].items()
    }
    return _State(**fields | {"decided": decided})
