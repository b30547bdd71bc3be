"""An item as a record of the topic ``news``."""

from typing import Any

from tapedeck.connectors.news.items import Item
from tapedeck.streams.identity import event_id

TOPIC = "news"


def body_of(item: Item) -> dict[str, Any]:
    """The record's body. One version of an article has one event_id, whenever it is fetched."""
    tags = item.provider_symbols
    return {
        "event_id": event_id(TOPIC, (item.source, item.native_id, item.updated_at)),
        "event_time": item.event_time,
        "source": item.source,
        "native_id": item.native_id,
        "updated_at": item.updated_at,
        "event_uid": item.event_uid,
        "published_at": item.published,
        "time_inferred": item.time_inferred,
        "flags": list(item.flags),
        "title": item.title,
        "summary": item.summary,
        "url": item.url,
        "symbols": None if tags is None else list(tags),
        "content_digest": item.content_digest,
        "origin": item.origin,
    }
