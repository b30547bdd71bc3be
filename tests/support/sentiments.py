"""Sentiment records for the tests of what counts them: short names for items and authors."""

from hashlib import sha256
from typing import Any

from tapedeck.streams.protocol import MINUTE_US
from tests.support.sentiment import row as sentiment_row
from tests.support.sentiment import score as score_record

__all__ = ["HOUR_US", "sentiment", "sentiment_row"]

HOUR_US = 60 * MINUTE_US


def sentiment(
    symbol: str = "NVDA",
    name: str = "a",
    t: int = 0,
    *,
    version: int = 1,
    score: float | None = 0.5,
    scope: str = "SOCIAL",
    author: str | None = None,
    folded: bool = False,
    reason: str = "SCORED",
) -> dict[str, Any]:
    """One record. ``name`` is the item, ``author`` a name."""
    return score_record(
        symbol,
        name,
        at=t,
        version=version,
        score=score if reason == "SCORED" else None,
        source="reddit" if scope == "SOCIAL" else "wire",
        scope=scope,
        story=None,
        folded=folded,
        author_hash=None if author is None else sha256(author.encode()).hexdigest()[:32],
        reason=reason,
    )
