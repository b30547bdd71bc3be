"""The scores stage: the watch score of every symbol at every period boundary.

State per symbol: the newest feature of the selected feed and the newest sentiment window, both reduced to
what the score needs.
"""

from typing import NamedTuple

from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import (
    MINUTE_US,
    SECOND_US,
    WATERMARK_CAUSE,
    Batch,
    Drop,
    Out,
    Row,
    Step,
    Values,
)
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.base import Body, derived, migrate_state, pack_state
from tapedeck.streams.stages.scores.reasons import ScoreReason
from tapedeck.streams.stages.scores.rule import NO_NEWS_AGE_S, watch_score
from tapedeck.streams.stages.sentiment_windows.rule import WATCHLIST_MINUTES

STATE_VERSION = 2
_WITHOUT_WINDOW = 1
"""The version of a state without a window. It is still written where there is none: with no news, a table is
what it was before there was any."""
KEPT = (
    "event_id", "event_time", "revision", "as_of", "distance_sma20", "vol_ratio", "trend_state",
)  # fmt: skip
"""The fields of a feature that a score is computed from; the stage also reads the feed."""
WINDOW = ("event_id", "event_time", "n_60", "avg_60", "newest_at_60")
"""The fields of a sentiment window that a score is computed from."""
WINDOWS = "sentiment_windows"


class Held(NamedTuple):
    """What a symbol's state contains: the KEPT fields of a feature, the WINDOW fields of a window."""

    feature: Body | None
    window: Body | None


EMPTY = Held(None, None)


class ScoresStage:
    """Trigger ``features``, join ``sentiment_windows``; a ``scores`` record per known symbol and boundary."""

    dead_letter_reasons: frozenset[str] = frozenset()

    def __init__(self, config: Config, calendar: Calendar) -> None:
        self._config = config
        self._calendar = calendar
        self.feed = config.bars.feed

    def key(self, row: Row) -> bytes:
        return row.key

    def step(self, key: bytes, state: bytes | None, batch: Batch) -> Step:
        held = self.open(state)
        drops = []
        for cause, row in enumerate(batch):
            held, reason = self.hold(held, row.topic, row.body)
            if reason is not None:
                drops.append(Drop(cause, reason))
        return Step(self.close(held), [], drops)

    def open(self, state: bytes | None) -> Held:
        """What a state value contains."""
        if not state:
            return EMPTY
        fields = migrate_state(STATE_VERSION, state, {_WITHOUT_WINDOW: dict})
        window = fields.pop("window", None)
        return Held(fields or None, window)

    def close(self, held: Held) -> bytes:
        """The state value of ``held``."""
        if held.window is not None:
            return pack_state(STATE_VERSION, {**(held.feature or {}), "window": held.window})
        return pack_state(_WITHOUT_WINDOW, held.feature) if held.feature else b""

    def hold(self, held: Held, topic: str, body: Body) -> tuple[Held, ScoreReason | None]:
        """``held`` with a record of one of the inputs; or why it is not taken."""
        if topic == WINDOWS:
            known = (held.window["event_time"],) if held.window else None
            reason = _not_newer((body["event_time"],), known)
            return (held if reason else held._replace(window={name: body[name] for name in WINDOW})), reason
        reason = self.refuses(body, held.feature)
        return (held if reason else held._replace(feature={name: body[name] for name in KEPT})), reason

    def refuses(self, body: Body, newest: Body | None) -> ScoreReason | None:
        """Why ``body`` does not become a symbol's newest feature; None if it does."""
        if body["feed"] != self.feed:
            return ScoreReason.FEED_NOT_SELECTED
        order = (body["event_time"], body["revision"])
        known = (newest["event_time"], newest["revision"]) if newest else None
        return _not_newer(order, known)

    def evaluates(self, watermark: int) -> bool:
        """Whether scores are due at ``watermark``; between two such, only a symbol's newest rows matter."""
        return self._calendar.is_boundary(watermark + MINUTE_US, self._config.watchlist.period_s)

    def at_watermark(self, watermark: int, part: int, values: Values) -> Step:
        evaluation = watermark + MINUTE_US
        own = values.own or b""
        if not self.evaluates(watermark):
            return Step(own, [], [])
        found = ((key, self.open(body)) for key, body in values.items())
        outs = [self.score(key.decode(), held, evaluation) for key, held in found if held.feature]
        return Step(own, outs, [])

    def score(self, symbol: str, held: Held, evaluation: int) -> Out:
        """The record of one symbol, whose feature is known, at ``evaluation``, micros."""
        feature = held.feature
        assert feature is not None
        window = _in_force(held.window, evaluation)
        news = _news_at(window, evaluation)
        result = watch_score(
            self._config.watchlist,
            n=news.n,
            s=news.avg,
            age_s=news.age_s,
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
            "sentiment_n": news.n,
            "sentiment_avg": news.avg,
            "sentiment_age_s": NO_NEWS_AGE_S if news.age_s is None else news.age_s,
        }
        inputs = [feature["event_id"], *([window["event_id"]] if window else [])]
        return derived(WATERMARK_CAUSE, "scores", body, self._config.digest, inputs)


class _News(NamedTuple):
    """What a window says at one moment; ``age_s``: seconds since its newest item, None without one."""

    n: int
    avg: float
    age_s: float | None


def _in_force(window: Body | None, evaluation: int) -> Body | None:
    """``window``, unless it ended a whole window before ``evaluation``: none of its items would count now.

    Windows are written when they change, so only one whose writer has stopped since gets that old.
    """
    is_over = window and evaluation - window["event_time"] >= WATCHLIST_MINUTES * MINUTE_US
    return None if is_over else window


def _news_at(window: Body | None, evaluation: int) -> _News:
    if window is None:
        return _News(0, 0.0, None)
    newest = window["newest_at_60"]
    age_s = None if newest is None else (evaluation - newest) / SECOND_US
    return _News(window["n_60"], window["avg_60"], age_s)


def _not_newer(order: tuple[int, ...], known: tuple[int, ...] | None) -> ScoreReason | None:
    if known is None or order > known:
        return None
    return ScoreReason.DUPLICATE if order == known else ScoreReason.SUPERSEDED
