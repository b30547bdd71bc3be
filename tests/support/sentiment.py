"""Scores of articles minute by minute, for the tests of sentiment windows and of what joins them."""

from typing import Any

from tapedeck.streams.identity import event_id
from tapedeck.streams.protocol import MINUTE_US
from tests.support.sentiments import sentiment

T0 = 1_769_698_800_000_000
"""15:00 UTC of a session's day."""


def minute(n: float) -> int:
    """``n`` minutes after T0."""
    return T0 + int(n * MINUTE_US)


def score(
    symbol: str = "NVDA",
    item: str = "a",
    *,
    at: int = T0,
    version: int = 0,
    score: float | None = 0.8,
    **changed: Any,
) -> dict[str, Any]:
    """A sure score of the article ``item``, then ``changed``. None: it no longer names the symbol."""
    reason = "RETRACTED" if score is None else "SCORED"
    body = sentiment(symbol, item, at, version=T0 + version, score=score, scope="NEWS", reason=reason)
    body |= changed
    identity = (body[name] for name in ("symbol", "native_id", "updated_at", "model_digest", "reason"))
    return body | {"event_id": event_id("sentiment", identity)}
