"""What an item adds to the mentions of its hour, and the lean of many (docs/domain.md#mentions)."""

from collections.abc import Iterable
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

_DECIMALS = 6
MICRO = 1_000_000
"""Scores are kept and added as whole millionths: their sum does not depend on the order."""
_NEUTRAL_SHARE = 0.80
"""Share of neutral items from which many of them have no lean."""


class Kind(IntEnum):
    """What one version of an item is to the counts. A folded or retracted one adds nothing."""

    UNSCORED = 0
    POSITIVE = 1
    NEGATIVE = 2
    NEUTRAL = 3
    FOLDED = 4
    RETRACTED = 5


class Adds(NamedTuple):
    """What one item adds to its hour. ``score`` in millionths, ``author`` empty where there is none."""

    kind: Kind
    score: int
    author: bytes


class Counts(NamedTuple):
    """The mentions of one hour: different authors, items by label, the sum of their scores, 6 decimals."""

    mentions: int
    authors: int
    pos: int
    neg: int
    neu: int
    score_sum: float


class Leaning(StrEnum):
    POSITIVE = "POSITIVE"
    NEGATIVE = "NEGATIVE"
    NEUTRAL = "NEUTRAL"


class Lean(NamedTuple):
    """``leaning`` -1 to 1, None without a positive or negative item; ``certainty`` 0 to 1, None without any
    scored item. Both 6 decimals."""

    leaning: float | None
    certainty: float | None
    label: Leaning


def kind_of(body: dict[str, Any]) -> Kind:
    """The kind of a ``sentiment`` record. An item without a text is a mention without a label."""
    if body["reason"] == "RETRACTED":
        return Kind.RETRACTED
    if body["folded"]:
        return Kind.FOLDED
    return Kind.UNSCORED if body["label"] is None else Kind[body["label"]]


def counted(adds: Iterable[Adds]) -> Counts:
    """The counts of the items of one hour."""
    found = list(adds)
    kinds = [each.kind for each in found]
    return Counts(
        mentions=len(found),
        authors=len({each.author for each in found if each.author}),
        pos=kinds.count(Kind.POSITIVE),
        neg=kinds.count(Kind.NEGATIVE),
        neu=kinds.count(Kind.NEUTRAL),
        score_sum=round(sum(each.score for each in found) / MICRO, _DECIMALS) + 0.0,
    )


def lean(pos: int, neg: int, neu: int) -> Lean:
    """Which way the items of a window lean, from how many there are of each label."""
    total, sided = pos + neg + neu, pos + neg
    leaning = round((pos - neg) / sided, _DECIMALS) + 0.0 if sided else None
    certainty = round(sided / total, _DECIMALS) if total else None
    if pos == neg or neu / total >= _NEUTRAL_SHARE:
        return Lean(leaning, certainty, Leaning.NEUTRAL)
    return Lean(leaning, certainty, Leaning.POSITIVE if pos > neg else Leaning.NEGATIVE)
