"""features, with strengths where they are there -> rsignals: each bar decided once.

State per symbol: its newest strength, the newest bar decided, and the bar of the last signal.
"""

from relative_strength.parameters import Parameters
from relative_strength.rsignals.rule import ACTIONS, Case, RsReason, judge
from tapedeck.streams.config.document import Config
from tapedeck.streams.identity import signal_id
from tapedeck.streams.protocol import MINUTE_US, Batch, Drop, Out, Row, Step
from tapedeck.streams.sessions import Calendar, iso_utc
from tapedeck.streams.stages.base import Body, WithoutPeriod, derived, pack_state, unpack_state

STATE_VERSION = 1
STRATEGY = "relative_strength"
KEPT = ("event_id", "evaluation", "strength")
SNAPSHOT = ("close", "distance_sma20", "trend_state", "vol_ratio", "volume_ratio")
NOT_USED = {
    "factors": dict.fromkeys(("base", "sentiment", "volume", "move", "momentum")),
    "sentiment_n": 0,
    "sentiment_avg": 0.0,
    "watchlist_rank": None,
    "watchlist_flag": None,
    "universe_version": None,
}
"""Fields of a signal that say what the shipped rule went by."""


class RsignalsStage(WithoutPeriod):
    def __init__(self, config: Config, calendar: Calendar) -> None:
        self._digest, self._feed = config.digest, config.bars.feed
        self._rules, self._calendar = config.of(Parameters), calendar

    def key(self, row: Row) -> bytes:
        return row.key

    def step(self, key: bytes, state: bytes | None, batch: Batch) -> Step:
        known = (
            unpack_state(STATE_VERSION, state) if state else {"strength": None, "decided": 0, "signal": None}
        )
        outs: list[Out] = []
        drops: list[Drop] = []
        for cause, row in enumerate(batch):
            take = self._take_strength if row.topic == "strengths" else self._decide
            given = take(known, cause, row)
            if isinstance(given, Out):
                outs.append(given)
            elif given is not None:
                drops.append(Drop(cause, given))
        return Step(pack_state(STATE_VERSION, known), outs, drops)

    def _take_strength(self, known: Body, cause: int, row: Row) -> RsReason | None:
        newest = known["strength"]
        if newest is not None and row.body["evaluation"] <= newest["evaluation"]:
            return RsReason.OLD_STRENGTH
        known["strength"] = {name: row.body[name] for name in KEPT}
        return None

    def _decide(self, known: Body, cause: int, row: Row) -> Out | RsReason:
        feature = row.body
        if feature["feed"] != self._feed:
            return RsReason.OTHER_FEED
        if feature["t"] <= known["decided"]:
            return RsReason.DECIDED
        known["decided"] = feature["t"]
        newest = known["strength"]
        fresh = newest is not None and row.now - newest["evaluation"] <= self._rules.stale_min * MINUTE_US
        since = None if known["signal"] is None else (feature["t"] - known["signal"]) / MINUTE_US
        reason, confidence = judge(
            Case(
                in_session=self._calendar.is_boundary(feature["t"], 60),
                strength=newest["strength"] if fresh else None,
                trend=feature["trend_state"],
                since_signal=since,
            ),
            self._rules,
        )
        if reason not in ACTIONS:
            return reason
        known["signal"] = feature["t"]
        return self._signal(cause, feature, reason, confidence, [feature["event_id"], newest["event_id"]])

    def _signal(
        self, cause: int, feature: Body, reason: RsReason, confidence: float, inputs: list[str]
    ) -> Out:
        action, direction = ACTIONS[reason]
        body = {
            "event_time": feature["as_of"],
            "signal_id": signal_id(feature["symbol"], iso_utc(feature["t"]), STRATEGY),
            "symbol": feature["symbol"],
            "feed": feature["feed"],
            "bar_t": feature["t"],
            "bar_revision": feature["bar_revision"],
            "as_of": feature["as_of"],
            "action": action,
            "strategy": STRATEGY,
            "reason": str(reason),
            "confidence": confidence,
            "direction": direction,
        }
        body |= {name: feature[name] for name in SNAPSHOT} | NOT_USED
        return derived(cause, "rsignals", body, self._digest, inputs)
