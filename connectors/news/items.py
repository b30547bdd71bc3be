"""A news item: its identity, its version, its times and its text, whatever source it came from."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256

from tapedeck.connectors.news.links import canonical
from tapedeck.connectors.news.text import one_line, plain
from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.sessions import micros

TITLE_LIMIT = 1_000
SUMMARY_LIMIT = 20_000
FUTURE_US = 120 * SECOND_US
"""How far ahead of the ingest a time may lie; one further ahead is taken for a mistake."""
_ID_LIMIT = 512
_SYMBOLS_LIMIT = 100
_SYMBOL_LIMIT = 32
_OLDEST = 631_152_000 * SECOND_US  # 1990-01-01: earlier ones are a zero or an empty field in disguise


class IngestReason(StrEnum):
    """What became of an item, or of an attempt to get some."""

    ACCEPTED = "ACCEPTED"
    UNCHANGED = "UNCHANGED"
    OUT_OF_ORDER = "OUT_OF_ORDER"
    FOLDED = "FOLDED"
    FEED_MALFORMED = "FEED_MALFORMED"
    BAD_ITEM = "BAD_ITEM"
    CAP_REACHED = "CAP_REACHED"
    RATE_LIMITED = "RATE_LIMITED"
    FETCH_FAILED = "FETCH_FAILED"


class Flag(StrEnum):
    """What was put right, or left out, when an item was read."""

    NAIVE_TIME = "NAIVE_TIME"
    """A time without a zone, taken as UTC."""
    FUTURE_TIME = "FUTURE_TIME"
    """A time too far ahead, replaced by the time of ingest."""
    BAD_TIME = "BAD_TIME"
    """A time that cannot be read, taken as missing."""
    UPDATED_INFERRED = "UPDATED_INFERRED"
    """The source gives no time of this version: it is the first fetch."""
    TEXT_CUT = "TEXT_CUT"
    """Title or summary was longer than what is kept."""
    URL_DROPPED = "URL_DROPPED"
    """The link is no web address, or too long."""
    SYMBOLS_CUT = "SYMBOLS_CUT"
    """The source's tags were more than are kept, or unreadable."""


class BadItem(ValueError):
    """An item without identity or text: BAD_ITEM. It is left out alone, the others of its source stay."""


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """A time as a source gave it: ``t`` in UTC microseconds, None if it is missing or unreadable."""

    t: int | None = None
    is_naive: bool = False
    is_bad: bool = False


MISSING = Stamp()


@dataclass(frozen=True, kw_only=True)
class Item:
    """One version of an article. Times are UTC microseconds.

    ``published`` is what the source says, None if nothing; ``event_time`` is what counts, inferred from the
    ingest if ``time_inferred``. ``provider_symbols``: the source's tags, None if it has no such list.
    ``origin``: rss/FEED or alpaca/news.
    """

    source: str
    native_id: str
    updated_at: int
    published: int | None
    event_time: int
    time_inferred: bool
    flags: tuple[str, ...]
    title: str
    summary: str
    url: str | None
    provider_symbols: tuple[str, ...] | None
    origin: str

    @property
    def event_uid(self) -> str:
        """SHA-256 of "source|id|updated_at": one for each version."""
        return sha256(f"{self.source}|{self.native_id}|{self.updated_at}".encode()).hexdigest()

    @property
    def content_digest(self) -> str:
        """SHA-256 of title and summary, which a score depends on."""
        return sha256(f"{self.title}\n{self.summary}".encode()).hexdigest()

    @property
    def is_update_inferred(self) -> bool:
        """Whether the source gives no time of this version."""
        return Flag.UPDATED_INFERRED in self.flags


@dataclass(frozen=True, kw_only=True)
class Raw:
    """An item as a source gives it; text may be HTML. ``native_id`` is empty where the source has none."""

    source: str
    origin: str
    native_id: str = ""
    title: str = ""
    summary: str = ""
    url: str = ""
    published: Stamp = MISSING
    updated: Stamp = MISSING
    symbols: Iterable[object] | None = None


def item_of(raw: Raw, now: int) -> Item:
    """The item in ``raw``, ingested at ``now``. Raises BadItem for one without text or identity.

    Its ``event_time`` counts for a new article; a known one keeps its own (``Versions.judge``).
    """
    title, summary = plain(raw.title, TITLE_LIMIT), plain(raw.summary, SUMMARY_LIMIT)
    if not title.text and not summary.text:
        raise BadItem("it has neither a title nor a summary")
    flags: set[Flag] = {Flag.TEXT_CUT} if title.is_cut or summary.is_cut else set()
    url = canonical(raw.url)
    if url is None and raw.url.strip():
        flags.add(Flag.URL_DROPPED)
    for stamp in (raw.published, raw.updated):
        flags |= {Flag.NAIVE_TIME} if stamp.is_naive else set()
        flags |= {Flag.BAD_TIME} if stamp.is_bad else set()
    published, updated = raw.published.t, raw.updated.t
    if any(t is not None and t > now + FUTURE_US for t in (published, updated)):
        flags.add(Flag.FUTURE_TIME)
    if updated is None or updated > now + FUTURE_US:
        flags.add(Flag.UPDATED_INFERRED)
        updated = now
    symbols, is_cut = _symbols(raw.symbols)
    flags |= {Flag.SYMBOLS_CUT} if is_cut else set()
    is_ahead = published is not None and published > now + FUTURE_US
    return Item(
        source=raw.source,
        native_id=_native_id(raw, title.text, url),
        updated_at=updated,
        published=published,
        event_time=now if published is None or is_ahead else published,
        time_inferred=published is None or is_ahead,
        flags=tuple(sorted(flag.value for flag in flags)),
        title=title.text,
        summary=summary.text,
        url=url,
        provider_symbols=symbols,
        origin=raw.origin,
    )


def _native_id(raw: Raw, title: str, url: str | None) -> str:
    """The source's id, else the link, else a digest of title and time of publication."""
    given = one_line(raw.native_id) or url
    if given is None:
        published = "" if raw.published.t is None else raw.published.t
        return sha256(f"{title}|{published}".encode()).hexdigest()
    return given if len(given) <= _ID_LIMIT else sha256(given.encode()).hexdigest()


def _symbols(tags: Iterable[object] | None) -> tuple[tuple[str, ...] | None, bool]:
    """The tags, each once, in the source's order; and whether some were left out."""
    if tags is None:
        return None, False
    kept: dict[str, None] = {}
    is_cut = False
    for tag in tags:
        symbol = one_line(tag).upper() if isinstance(tag, str) else ""
        if not symbol or len(symbol) > _SYMBOL_LIMIT or len(kept) == _SYMBOLS_LIMIT:
            is_cut = is_cut or symbol not in kept
            continue
        kept[symbol] = None
    return tuple(kept), is_cut


def stamp_of(text: str) -> Stamp:
    """An ISO 8601 time. Without a zone it is taken as UTC; digits beyond the microsecond are cut off."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return Stamp(is_bad=True)
    is_naive = moment.tzinfo is None
    return bounded(micros(moment.replace(tzinfo=UTC) if is_naive else moment), is_naive)


def bounded(t: int, is_naive: bool = False) -> Stamp:
    """``t`` as a stamp; one before 1990 is unreadable: feeds write a zero where they know nothing."""
    return Stamp(t=t, is_naive=is_naive) if t >= _OLDEST else Stamp(is_bad=True)
