"""The scores stage: the watch score of every symbol at every period boundary.

State per symbol: the newest feature of the selected feed, reduced to what the score needs.
"""

from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US, WATERMARK_CAUSE, Batch, Drop, Out, Row, Step, Values
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.base import Body, derived, pack_state, unpack_state
from tapedeck.streams.stages.scores.reasons import ScoreReason
from tapedeck.streams.stages.scores.rule import NO_NEWS_AGE_S, watch_score

STATE_VERSION = 1
KEPT = (
    "event_id", "event_time", "revision", "as_of", "distance_sma20", "vol_ratio", "trend_state",
)  # fmt: skip
"""The fields of a feature that a score is computed from; the stage also reads the feed."""


class ScoresStage:
    """Trigger ``features``; one ``scores`` record per known symbol and boundary."""

    dead_letter_reasons: frozenset[str] = frozenset()

    def __init__(self, config: Config, calendar: Calendar) -> None:
        self._config = config
        self._calendar = calendar
        self.feed = config.bars.feed

    def key(self, row: Row) -> bytes:
        return row.key

    def step(self, key: bytes, state: bytes | None, batch: Batch) -> Step:
        newest = self.open(state)
        drops = []
        for cause, row in enumerate(batch):
            reason = self.refuses(row.body, newest)
            if reason is None:
                newest = {field: row.body[field] for field in KEPT}
            else:
                drops.append(Drop(cause, reason))
        return Step(self.close(newest), [], drops)

    def open(self, state: bytes | None) -> Body | None:
        """The newest feature in a state value, None if there is none yet."""
        return unpack_state(STATE_VERSION, state) if state else None

    def close(self, newest: Body | None) -> bytes:
        """The state value of ``newest``."""
        return pack_state(STATE_VERSION, newest) if newest else b""

    def refuses(self, body: Body, newest: Body | None) -> ScoreReason | None:
        """Why ``body`` does not become a symbol's newest feature; None if it does."""
        if body["feed"] != self.feed:
            return ScoreReason.FEED_NOT_SELECTED
        if newest is None:
            return None
        order = (body["event_time"], body["revision"])
        known = (newest["event_time"], newest["revision"])
        if order == known:
            return ScoreReason.DUPLICATE
        return ScoreReason.SUPERSEDED if order < known else None

    def evaluates(self, watermark: int) -> bool:
        """Whether scores are due at ``watermark``; between two such, only a symbol's newest row matters."""
        return self._calendar.is_boundary(watermark + MINUTE_US, self._config.watchlist.period_s)

    def at_watermark(self, watermark: int, part: int, values: Values) -> Step:
        evaluation = watermark + MINUTE_US
        own = values.own or b""
        if not self.evaluates(watermark):
            return Step(own, [], [])
        outs = [
            self.score(key.decode(), unpack_state(STATE_VERSION, body), evaluation)
            for key, body in values.items()
            if body
        ]
        return Step(own, outs, [])

    def score(self, symbol: str, feature: Body, evaluation: int) -> Out:
        """The record of one symbol at ``evaluation``, micros."""
        result = watch_score(
            self._config.watchlist,
            n=0,
            s=0.0,
            age_s=None,
            distance_sma20=feature["distance_sma20"],
            vol_ratio=feature["vol_ratio"],
            trend_state=feature["trend_state"],
        )
        body = {
            "event_time": evaluation,
            "symbol": symbol,
            "evaluation": evaluation,
            "as_of": feature["as_of"],
            "watch_score": result.score,
            "sentiment_pressure": result.sentiment_pressure,
            "setup_quality": result.setup_quality,
            "vol_score": result.vol_score,
            "trend_alignment": result.trend_alignment,
            "sentiment_n": 0,
            "sentiment_avg": 0.0,
            "sentiment_age_s": NO_NEWS_AGE_S,
        }
        return derived(WATERMARK_CAUSE, "scores", body, self._config.digest, [feature["event_id"]])
