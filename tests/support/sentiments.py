"""Sentiment records of a symbol, for the tests of what counts them."""

from hashlib import sha256
from typing import Any

from tapedeck.streams.identity import event_id
from tapedeck.streams.protocol import MINUTE_US, Row

HOUR_US = 60 * MINUTE_US
LABELS = {1: "POSITIVE", -1: "NEGATIVE", 0: "NEUTRAL"}


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
    source = "reddit" if scope == "SOCIAL" else "wire"
    scored = reason == "SCORED" and score is not None
    sign = 0 if score is None or abs(score) <= 0.05 else 1 if score > 0 else -1
    return {
        "event_id": event_id("sentiment", (symbol, source, name, version, "m")),
        "event_time": t,
        "config_digest": "",
        "rules_version": "",
        "inputs": [],
        "symbol": symbol,
        "source": source,
        "native_id": name,
        "updated_at": version,
        "event_uid": sha256(f"{source}|{name}|{version}".encode()).hexdigest(),
        "scope": scope,
        "story": None,
        "folded": folded,
        "author_hash": None if author is None else sha256(author.encode()).hexdigest()[:32],
        "reason": reason,
        "link_confidence": None if reason == "RETRACTED" else 0.9,
        "score": score if scored else None,
        "confidence": 0.8 if scored else None,
        "label": LABELS[sign] if scored else None,
        "p_pos": None,
        "p_neg": None,
        "p_neu": None,
        "engine": "light" if scored else None,
        "model_id": None,
        "model_digest": "m",
    }


def sentiment_row(body: dict[str, Any], log_minute: int) -> Row:
    """The record as a stage sees it in the minute after watermark(``log_minute``)."""
    return Row("sentiment", body["symbol"].encode(), body, log_minute, log_minute + MINUTE_US)
