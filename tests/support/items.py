"""Versions of articles and posts, as their ingesters write them."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from tapedeck.streams.identity import event_id
from tapedeck.streams.protocol import MINUTE_US, Row

HOUR_US = 60 * MINUTE_US
T0 = 1_769_698_800_000_000
"""2026-01-29 15:00 UTC."""


def article(
    name: str,
    title: str,
    *,
    at: int = T0,
    version: int = 0,
    symbols: Sequence[str] | None = None,
    summary: str = "",
    source: str = "wire",
) -> dict[str, Any]:
    """A version of an article: published at ``at``, updated ``version`` minutes later."""
    updated = at + version * MINUTE_US
    return _version("news", source, name, at, updated) | {
        "title": title, "summary": summary, "url": f"https://example.com/{name}",
        "symbols": None if symbols is None else list(symbols),
        "content_digest": sha256(f"{title}\n{summary}".encode()).hexdigest(), "origin": "synthetic/test",
    }  # fmt: skip


def post(
    name: str, text: str, *, at: int = T0, version: int = 0, removed: bool = False, author: str | None = "a1"
) -> dict[str, Any]:
    """A version of a comment: written at ``at``, fetched in this state ``version`` minutes later."""
    text = "" if removed else text
    return _version("posts", "reddit", name, at, at + version * MINUTE_US) | {
        "kind": "COMMENT", "subreddit": "wallstreetbets", "thread_id": "t3_a", "title": "", "text": text,
        "url": None, "author_hash": None if removed else author, "upvotes": 3, "comments": None,
        "engagement": 0.97, "removed": removed, "content_digest": sha256(text.encode()).hexdigest(),
        "origin": "synthetic/test",
    }  # fmt: skip


def _version(topic: str, source: str, name: str, at: int, updated: int) -> dict[str, Any]:
    uid = sha256(f"{source}|{name}|{updated}".encode()).hexdigest()
    return {
        "event_id": event_id(topic, (source, name, updated)), "event_time": at, "source": source,
        "native_id": name, "updated_at": updated, "event_uid": uid, "published_at": at,
        "time_inferred": False, "flags": [],
    }  # fmt: skip


def row(topic: str, body: dict[str, Any], minute: int | None = None) -> Row:
    """The row of a version, in log minute ``minute``, by default that of its update."""
    label = (body["updated_at"] // MINUTE_US - 1) * MINUTE_US if minute is None else minute
    return Row(topic, f"{body['source']}|{body['native_id']}".encode(), body, label, label + MINUTE_US)
