"""The mood of a symbol in the last minutes: the mean score of its items (docs/domain.md#sentiment-windows).

Times are UTC microseconds. An item counts in a window of ``minutes`` that ends at T where
T - minutes < event time <= T.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

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


def window(
    items: Iterable[Item], t: int, minutes: int, *, scope: Scope, over_confidence: float | None = None
) -> Window:
    """The window of ``minutes`` that ends at ``t``, of items in ``scope``.

    With ``over_confidence`` only items of a higher confidence count. A neutral item contributes 0, and so
    lowers the mean.
    """
    found = [
        item
        for item in items
        if t - minutes * MINUTE_US < item.event_time <= t
        and (scope is Scope.ALL or item.scope is scope)
        and (over_confidence is None or item.confidence > over_confidence)
    ]
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
