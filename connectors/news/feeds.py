"""RSS and Atom documents as items. feedparser does the reading; what is hostile is kept from it here."""

import calendar
import codecs
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from typing import Any

import feedparser
from feedparser.exceptions import CharacterEncodingOverride, NonXMLContentType

from tapedeck.connectors.news.items import MISSING, BadItem, Item, Raw, Stamp, bounded, item_of, stamp_of
from tapedeck.connectors.news.links import canonical
from tapedeck.streams.protocol import SECOND_US

ENTRIES_LIMIT = 2_000
"""Entries of one document that are read."""
MARKUP_LIMIT = 100_000
"""Tags and entities of one document: what reading costs grows with these. 2,000 entries have 60,000."""
_XML = "application/xml"
_SLOW_CODECS = frozenset({"punycode", "idna"})
"""Their decoders need time in the square of the length, and no document is written in them."""
_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF32_LE)
_ENCODING = re.compile(rb"^\s*<\?[^>]{0,200}?encoding\s*=\s*['\"]([^'\"]{1,40})")
_CHARSET = re.compile(r";\s*charset\s*=\s*[\"']?([A-Za-z0-9._:-]{1,40})", re.IGNORECASE)
_TIME_LIMIT = 100
_TIME_OF_DAY = re.compile(r"\d:\d\d")
_OFFSET = re.compile(r"(?:\d\s*Z|[+-]\d{2}(?::?\d{2})?)\s*(?:\([^()]*\))?\s*$", re.IGNORECASE)
_NAMED = re.compile(r"\b(?:UTC?|GMT|[ACEMP][SD]?T|MES?T|[AMNYZ])\s*$", re.IGNORECASE)
"""The names that feedparser knows; a time in another zone is read as UTC."""
_HARMLESS = (CharacterEncodingOverride, NonXMLContentType)
"""What feedparser says about labels; the document itself is well."""


@dataclass(frozen=True, kw_only=True)
class FeedSource:
    """Where a document comes from: the feed's id, and its own symbol, None if it covers several."""

    source: str
    symbol: str | None = None


@dataclass(frozen=True, kw_only=True)
class Document:
    """What a document holds. ``malformed`` says what is wrong with it; its readable entries are here."""

    items: tuple[Item, ...] = ()
    bad_items: int = 0
    malformed: str | None = None
    is_capped: bool = False


def read_document(content: bytes, content_type: str | None, source: FeedSource, now: int) -> Document:
    """The items of an RSS or Atom document that was fetched at ``now``, in its order. Never raises.

    ``content_type`` is the HTTP header: its charset says how the bytes are to be read.
    """
    charset = _charset(content, content_type)
    if charset in _SLOW_CODECS or _declared(content) in _SLOW_CODECS:
        return Document(malformed="its encoding is none of text")
    if content.count(b"<") + content.count(b"&") > MARKUP_LIMIT:
        return Document(malformed=f"it has more than {MARKUP_LIMIT:,} tags and entities", is_capped=True)
    try:
        # Bytes would be tried as the name of a file, and text as an address: a stream is neither.
        found = feedparser.parse(
            io.BytesIO(content),
            response_headers={"content-type": _XML + (f"; charset={charset}" if charset else "")},
            resolve_relative_uris=False,
            sanitize_html=False,
        )
    except Exception as error:  # whatever bytes a server may send, its own feed alone is affected
        return Document(malformed=f"{type(error).__name__}: {error}"[:200])
    entries = list(found.get("entries", ()))
    items, bad_items = [], 0
    for entry in entries[:ENTRIES_LIMIT]:
        try:
            items.append(item_of(_raw(entry, source), now))
        except BadItem:
            bad_items += 1
    return Document(
        items=tuple(items),
        bad_items=bad_items,
        malformed=_complaint(found, bool(entries)),
        is_capped=len(entries) > ENTRIES_LIMIT,
    )


def _complaint(found: Mapping[str, Any], has_entries: bool) -> str | None:
    error = found.get("bozo_exception")
    if found.get("bozo") and not isinstance(error, _HARMLESS):
        return f"{type(error).__name__}: {error}"[:200]
    return None if found.get("version") or has_entries else "it is no feed"


def _charset(content: bytes, content_type: str | None) -> str:
    """The charset of the header; empty where the document's own mark or declaration decides (RFC 7303)."""
    told = _CHARSET.search(content_type or "")
    if told is None or content.startswith(_MARKS):
        return ""
    return _codec(told[1])


def _declared(content: bytes) -> str:
    told = _ENCODING.match(content)
    return _codec(told[1].decode("latin-1")) if told else ""


def _codec(name: str) -> str:
    """Python's name of an encoding; the name itself where there is none."""
    try:
        return codecs.lookup(name).name
    except (LookupError, ValueError):
        return name


def _raw(entry: dict[str, Any], source: FeedSource) -> Raw:
    # dict's own look-up: feedparser's answers with other keys where one is missing.
    updated = _stamp(entry, "updated")
    published, created = _stamp(entry, "published"), _stamp(entry, "created")
    if published.t is None and created.t is not None:
        published = created
    return Raw(
        source=source.source,
        origin=f"rss/{source.source}",
        native_id=_text(entry, "id"),
        title=_text(entry, "title"),
        summary=_text(entry, "summary") or _content(entry),
        url=_link(entry),
        # Where a format has one date alone (RSS 1.0, many Atom feeds), it is that of both.
        published=published if updated.t is None or published.t is not None else updated,
        updated=updated,
        symbols=None if source.symbol is None else (source.symbol,),
    )


def _text(entry: dict[str, Any], name: str) -> str:
    value = dict.get(entry, name)
    return value if isinstance(value, str) else ""


def _link(entry: dict[str, Any]) -> str:
    """The link; empty where feedparser takes the id for one, as the format would have it, and it is none."""
    link = _text(entry, "link")
    return link if link != _text(entry, "id") or canonical(link) else ""


def _content(entry: dict[str, Any]) -> str:
    for part in dict.get(entry, "content") or ():
        value = part.get("value") if isinstance(part, dict) else None
        if isinstance(value, str) and value:
            return value
    return ""


def _stamp(entry: dict[str, Any], name: str) -> Stamp:
    text = _text(entry, name).strip()
    if not text:
        return MISSING
    exact = stamp_of(text)
    if exact.t is not None:
        return exact
    parsed = dict.get(entry, f"{name}_parsed")
    try:
        if parsed is not None:
            return bounded(calendar.timegm(parsed) * SECOND_US, not _has_zone(text))
        # feedparser reads no time of e-mail's format without a zone; the library of e-mail does.
        told = parsedate_tz(text[:_TIME_LIMIT])
        if told is not None:
            return bounded(mktime_tz(told) * SECOND_US, not _has_zone(text))
    except (OverflowError, ValueError, TypeError, IndexError):
        pass  # as for a time in no known format
    return Stamp(is_bad=True)


def _has_zone(text: str) -> bool:
    """Whether a time names a zone that was understood; others were read as UTC."""
    return bool(_TIME_OF_DAY.search(text) and (_OFFSET.search(text) or _NAMED.search(text)))
