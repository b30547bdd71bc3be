"""Alpaca's news as items: pages of its history, and frames of its stream. Nothing that it may send raises.

Both are JSON or msgpack that was decoded already. Fields: id, headline, summary, content (may be HTML),
created_at, updated_at, url (may be null), symbols (may be empty); images are in history alone, and unused.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tapedeck.connectors.news.items import MISSING, BadItem, Item, Raw, Stamp, bounded, item_of, stamp_of
from tapedeck.streams.config.news import ALPACA

ORIGIN = "alpaca/news"
_NEWS = "n"


@dataclass(frozen=True, kw_only=True)
class Articles:
    """The readable articles of a page or frame, in its order; ``bad`` says for each other one what it lacks.

    ``next_page_token`` is None on the last page.
    """

    items: tuple[Item, ...] = ()
    bad: tuple[str, ...] = ()
    next_page_token: str | None = None


def read_page(payload: object, now: int) -> Articles:
    """A page of the history, fetched at ``now`` (UTC microseconds)."""
    if not isinstance(payload, dict) or not isinstance(payload.get("news"), list):
        return Articles(bad=("a page without a list of news",))
    token = payload.get("next_page_token")
    return _read(payload["news"], now, token if isinstance(token, str) and token else None)


def read_frame(frame: object, now: int) -> Articles:
    """A frame of the stream, one message or several, received at ``now``; other types are skipped."""
    messages = frame if isinstance(frame, list) else [frame]
    return _read([each for each in messages if is_news(each)], now, None)


def is_news(message: object) -> bool:
    """Whether a message of the stream is an article."""
    return isinstance(message, dict) and message.get("T") == _NEWS


def _read(articles: Iterable[object], now: int, token: str | None) -> Articles:
    items, bad = list[Item](), list[str]()
    for article in articles:
        try:
            items.append(_item(article, now))
        except BadItem as error:
            bad.append(str(error))
    return Articles(items=tuple(items), bad=tuple(bad), next_page_token=token)


def _item(article: object, now: int) -> Item:
    if not isinstance(article, dict):
        raise BadItem("it is no object")
    native_id = article.get("id")
    if isinstance(native_id, bool) or not isinstance(native_id, int | str) or not str(native_id).strip():
        raise BadItem(f"it has no id, but {str(native_id)[:40]!r}")
    tags = article.get("symbols")
    return item_of(
        Raw(
            source=ALPACA,
            origin=ORIGIN,
            native_id=str(native_id),
            title=_text(article, "headline"),
            summary=_text(article, "summary") or _text(article, "content"),
            url=_text(article, "url"),
            published=_stamp(article.get("created_at")),
            updated=_stamp(article.get("updated_at")),
            symbols=tags if isinstance(tags, list) else None,
        ),
        now,
    )


def _text(article: dict[Any, Any], name: str) -> str:
    value = article.get(name)
    return value if isinstance(value, str) else ""


def _stamp(value: object) -> Stamp:
    """A time as JSON or msgpack has it."""
    if value is None or value == "":
        return MISSING
    if isinstance(value, str):
        return stamp_of(value)
    if isinstance(value, datetime):
        return stamp_of(value.isoformat())
    nanos = getattr(value, "to_unix_nano", None)
    return bounded(nanos() // 1_000) if callable(nanos) else Stamp(is_bad=True)
