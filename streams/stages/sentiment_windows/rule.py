"""The mood of a symbol in the last minutes: the mean score of its items (docs/domain.md#sentiment-windows).

Times are UTC microseconds. An item counts in a window of ``minutes`` that ends at T where
T - minutes < event time <= T.
"""

from collections.abc import Collection, Iterable
from enum import StrEnum
from typing import NamedTuple

from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US

_DECIMALS = 6
SIGNALS_MINUTES, WATCHLIST_MINUTES = 30, 60


class Scope(StrEnum):
    """Which items count: news, posts, or both."""

    NEWS = "news"
    SOCIAL = "social"
    ALL = "all"


class Label(StrEnum):
    POSITIVE = "POSITIVE"
    NEGATIVE = "NEGATIVE"
    NEUTRAL = "NEUTRAL"


class Item(NamedTuple):
    """One scored item of a symbol. ``score`` in [-1, 1], ``confidence`` in [0, 1]."""

    event_time: int
    score: float
    confidence: float
    label: Label
    scope: Scope


class Window(NamedTuple):
    """``avg``: mean contribution, 6 decimals, 0 without items; ``newest_at``: time of the newest item."""

    n: int
    avg: float
    pos: int
    neg: int
    neu: int
    newest_at: int | None


EMPTY = Window(0, 0.0, 0, 0, 0, None)


class Counted(NamedTuple):
    """Which items a window of ``minutes`` counts: those in ``scope``.

    With ``over_confidence`` only items of a higher confidence.
    """

    minutes: int
    scope: Scope
    over_confidence: float | None = None

    def has(self, scope: Scope) -> bool:
        """Whether items of ``scope`` count."""
        return self.scope is Scope.ALL or scope is self.scope

    def may_hold(self, scope: Scope, confidence: float) -> bool:
        """Whether an item of this scope and confidence counts at any time."""
        return self.has(scope) and (self.over_confidence is None or confidence > self.over_confidence)

    def holds(self, item: Item, t: int) -> bool:
        """Whether the item counts in the window that ends at ``t``."""
        in_time = t - self.minutes * MINUTE_US < item.event_time <= t
        return in_time and self.may_hold(item.scope, item.confidence)

    def at(self, items: Iterable[Item], t: int) -> Window:
        """The window that ends at ``t``."""
        return window_of([item for item in items if self.holds(item, t)])


def of_signals(config: Config) -> Counted:
    """What the window of signals counts."""
    rules = config.signal
    return Counted(SIGNALS_MINUTES, Scope(rules.sentiment_scope), rules.min_item_confidence)


def of_watchlist(config: Config) -> Counted:
    """What the window of the watchlist counts."""
    return Counted(WATCHLIST_MINUTES, Scope(config.watchlist.sentiment_scope))


def window_of(found: Collection[Item]) -> Window:
    """The window that counts ``found``. A neutral item contributes 0, and so lowers the mean."""
    if not found:
        return EMPTY
    labels = [item.label for item in found]
    total = sum(item.score for item in sorted(found) if item.label is not Label.NEUTRAL)
    return Window(
        n=len(found),
        avg=round(total / len(found), _DECIMALS) + 0.0,
        pos=labels.count(Label.POSITIVE),
        neg=labels.count(Label.NEGATIVE),
        neu=labels.count(Label.NEUTRAL),
        newest_at=max(item.event_time for item in found),
    )
