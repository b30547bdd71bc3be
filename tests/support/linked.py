"""Records of ``links`` and ``post_links`` as their stages write them, for tests of what reads them."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from tapedeck.streams.identity import RULES_VERSION, event_id
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.wire import Wire, record_wire, watermark_wires
from tapedeck.topics.catalogue import Layout, topic

START = 1_771_338_600_000_000
"""A minute, UTC micros: 2026-02-17 14:30."""


def at(minute: int) -> int:
    """The left edge of the minute, counted from START."""
    return START + minute * MINUTE_US


def linked(
    number: int,
    *symbols: str,
    dropped: Sequence[str] = (),
    text: str = "Profit rose sharply",
    list_post: bool = False,
    scope: str = "NEWS",
    minute: int = 0,
) -> dict[str, Any]:
    """One version of an item that names ``symbols``; ``number`` is its identity."""
    source, native_id, updated_at = "test", f"item-{number}", at(minute)
    uid = sha256(f"{source}|{native_id}|{updated_at}".encode()).hexdigest()
    news = event_id("news", (source, native_id, updated_at))
    return {
        "event_id": event_id("links", (source, native_id, updated_at), config_digest="test", inputs=[news]),
        "event_time": at(minute),
        "config_digest": "test",
        "rules_version": RULES_VERSION,
        "inputs": [news],
        "source": source,
        "native_id": native_id,
        "updated_at": updated_at,
        "event_uid": uid,
        "scope": scope,
        "text": text,
        "links": [{"symbol": s, "confidence": 0.9, "kinds": ["BARE"], "matches": []} for s in symbols],
        "dropped": list(dropped),
        "list_post": list_post,
        "story": uid if scope == "NEWS" else None,
        "folded": False,
        "author_hash": None,
    }


def wire_of(name: str, body: dict[str, Any], layout: Layout) -> Wire:
    """The record as topic ``name`` has it."""
    return record_wire(name, topic(name).record_key(body), body, layout, [])


def mark_of(name: str, minute: int) -> Wire:
    """watermark(minute) of a topic of one partition."""
    (wire,) = watermark_wires(name, at(minute), (0,))
    return wire
