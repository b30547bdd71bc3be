"""Scores of items, as the scorer writes them."""

from hashlib import sha256
from typing import Any

from tapedeck.streams.identity import event_id
from tapedeck.streams.protocol import MINUTE_US, Row

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
    """A sure score of the article ``item``, then ``changed``. None: nothing was scored."""
    uid = sha256(f"feed|{item}|{T0 + version}".encode()).hexdigest()
    model = changed.get("model_digest", "0123456789abcdef")
    reason = "SCORED" if score is not None else "RETRACTED"
    body = {
        "event_time": at,
        "config_digest": "c" * 16,
        "rules_version": "rules-1",
        "inputs": [uid[:32]],
        "symbol": symbol,
        "source": "feed",
        "native_id": item,
        "updated_at": T0 + version,
        "event_uid": uid,
        "scope": "NEWS",
        "story": uid,
        "folded": False,
        "author_hash": None,
        "reason": reason,
        "link_confidence": 0.95,
        "score": score,
        "confidence": None if score is None else 0.9,
        "label": None if score is None else label(score),
        "p_pos": None if score is None else 0.9,
        "p_neg": None if score is None else 0.05,
        "p_neu": None if score is None else 0.05,
        "engine": None if score is None else "light",
        "model_id": None if score is None else "light-1",
        "model_digest": model if score is not None else "",
    } | changed
    natural = (body[name] for name in ("symbol", "source", "native_id", "updated_at", "model_digest"))
    return {
        "event_id": event_id("sentiment", natural, inputs=[str(body["reason"])], config_digest="c")
    } | body


def label(value: float) -> str:
    return "POSITIVE" if value > 0.05 else "NEGATIVE" if value < -0.05 else "NEUTRAL"


def row(body: dict[str, Any], log_minute: int) -> Row:
    """The row of a score after watermark(``log_minute``)."""
    return Row("sentiment", body["symbol"].encode(), body, log_minute, log_minute + MINUTE_US)
