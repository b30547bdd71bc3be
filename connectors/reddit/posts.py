"""A post or comment as Reddit sends it, and as a record of the topic ``posts``. Pure.

Its text is data: it is made plain and bounded, and nothing in it is followed.
"""

import hmac
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256
from typing import Any

from tapedeck.connectors.news.items import FUTURE_US, TITLE_LIMIT, Flag, bounded
from tapedeck.connectors.news.links import canonical
from tapedeck.connectors.news.text import plain
from tapedeck.schemas.errors import DeadLetter, Fatal
from tapedeck.streams.identity import event_id
from tapedeck.streams.protocol import SECOND_US

TOPIC, SOURCE = "posts", "reddit"
TEXT_LIMIT = 40_000
SALT_LEAST = 16
_ID = re.compile(r"[0-9a-z]{1,16}")
_SUBREDDIT = re.compile(r"[A-Za-z0-9_]{2,21}")
_COUNT_LIMIT = 10**12
_SECONDS_LIMIT = 10**11
_GONE = re.compile(r"\[\s*(?:deleted|removed)(?:\s+by\s+[^\]]{1,40})?\s*\]", re.IGNORECASE)
"""What Reddit shows in place of a text, a title or an author that is gone."""
_PERSONAL = "author"
_SITE = "https://www.reddit.com"


class PostKind(StrEnum):
    POST = "POST"
    COMMENT = "COMMENT"


_KINDS = {"t3": PostKind.POST, "t1": PostKind.COMMENT}


class BadRow(DeadLetter):
    """A row that is no post and no comment. ``name``: by what it is recognized when it comes again."""

    def __init__(self, what: str, row: object) -> None:
        self.raw = _without_author(row)
        self.name = _name_of(row) or sha256(self.raw).hexdigest()
        super().__init__(what, value=self.name, reason="BAD_ITEM")


class Authors:
    """Names of authors as keyed hashes: one author has one hash, and the hash does not tell the name."""

    def __init__(self, salt: str) -> None:
        """``salt`` is a secret. Raises Fatal if it is shorter than 16 characters."""
        if len(salt) < SALT_LEAST:
            raise Fatal(
                f"the salt of the authors' hashes has fewer than {SALT_LEAST} characters",
                remedy="write a random one into it, such as the output of `openssl rand -hex 32`,"
                " and keep it: with another salt every author is another one",
            )
        self._salt = salt.encode()

    def hash_of(self, name: str) -> str:
        """32 hex digits. Reddit's names know no case."""
        return hmac.new(self._salt, f"{SOURCE}|{name.casefold()}".encode(), sha256).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class Post:
    """One version of a post or comment. Times are UTC microseconds; ``upvotes`` and ``comments`` are None
    where Reddit gives none. ``updated_at`` is 0 until it is judged to be a new version.
    """

    native_id: str
    kind: PostKind
    subreddit: str
    thread_id: str
    published: int | None
    event_time: int
    time_inferred: bool
    flags: tuple[str, ...]
    title: str
    text: str
    url: str | None
    author_hash: str | None
    upvotes: int | None
    comments: int | None
    removed: bool
    updated_at: int = 0

    @property
    def content_digest(self) -> str:
        """SHA-256 of title and text, which a score depends on."""
        return sha256(f"{self.title}\n{self.text}".encode()).hexdigest()

    @property
    def state(self) -> str:
        """16 hex digits over what makes another version: text, votes, comments, removal."""
        parts = (self.content_digest, self.upvotes, self.comments, self.removed)
        return sha256("|".join(map(str, parts)).encode()).hexdigest()[:16]

    def without_text(self) -> "Post":
        """The version that says it was removed: nothing of the person or the text is left."""
        return replace(self, title="", text="", author_hash=None, removed=True)


def engagement(upvotes: int | None, comments: int | None) -> float:
    """0.7 ln(1 + upvotes) + 0.3 ln(1 + comments) in six decimals; unknown and negative counts are 0."""
    return round(0.7 * math.log1p(max(0, upvotes or 0)) + 0.3 * math.log1p(max(0, comments or 0)), 6)


def body_of(post: Post) -> dict[str, Any]:
    """The record's body. One version has one event_id."""
    key = (SOURCE, post.native_id, post.updated_at)
    return {
        "event_id": event_id(TOPIC, key),
        "event_time": post.event_time,
        "source": SOURCE,
        "native_id": post.native_id,
        "kind": post.kind.value,
        "subreddit": post.subreddit,
        "thread_id": post.thread_id,
        "updated_at": post.updated_at,
        "event_uid": sha256("|".join(map(str, key)).encode()).hexdigest(),
        "published_at": post.published,
        "time_inferred": post.time_inferred,
        "flags": list(post.flags),
        "title": post.title,
        "text": post.text,
        "url": post.url,
        "author_hash": post.author_hash,
        "upvotes": post.upvotes,
        "comments": post.comments,
        "engagement": engagement(post.upvotes, post.comments),
        "removed": post.removed,
        "content_digest": post.content_digest,
        "origin": f"{SOURCE}/{post.subreddit}",
    }


def post_of(row: object, now: int, authors: Authors) -> Post:
    """The post or comment in ``row``, a thing of Reddit's API, fetched at ``now``. Raises BadRow."""
    try:
        return _post(row, now, authors)
    except _Wrong as wrong:
        raise BadRow(str(wrong), row) from None


class _Wrong(Exception):
    """What is wrong with a row."""


def _post(row: object, now: int, authors: Authors) -> Post:
    if not isinstance(row, dict) or not isinstance(row.get("data"), dict):
        raise _Wrong("a row is no thing with data")
    data = row["data"]
    kind = _KINDS.get(row["kind"]) if isinstance(row.get("kind"), str) else None
    if kind is None:
        raise _Wrong("a row is neither a post nor a comment")
    native_id = f"{row['kind']}_{_matched(data, 'id', _ID)}"
    is_post = kind is PostKind.POST
    flags: set[Flag] = set()
    published, event_time, inferred = _times(data.get("created_utc"), now, flags)
    author = _text(data, "author")
    post = Post(
        native_id=native_id,
        kind=kind,
        subreddit=_matched(data, "subreddit", _SUBREDDIT).lower(),
        thread_id=native_id if is_post else _thread_of(data),
        published=published,
        event_time=event_time,
        time_inferred=inferred,
        flags=(),
        title=_plain(_text(data, "title"), TITLE_LIMIT, flags) if is_post else "",
        text=_plain(_text(data, "selftext" if is_post else "body"), TEXT_LIMIT, flags),
        url=_url(data, flags),
        author_hash=authors.hash_of(author) if author and not _GONE.fullmatch(author) else None,
        upvotes=None if data.get("score_hidden") is True else _count(data, "score"),
        comments=_count(data, "num_comments") if is_post else None,
        removed=False,
    )
    if _is_gone(data, post):
        post = post.without_text()
    elif not post.title and not post.text:
        raise _Wrong("it has neither a title nor a text")
    return replace(post, flags=tuple(sorted(flag.value for flag in flags)))


def _is_gone(data: Mapping[str, Any], post: Post) -> bool:
    """Whether its author deleted it, or someone took it down."""
    if data.get("removed_by_category") or data.get("removed") is True:
        return True
    return any(_GONE.fullmatch(text.strip()) for text in (post.title, post.text) if text)


def _times(given: object, now: int, flags: set[Flag]) -> tuple[int | None, int, bool]:
    """Published, event time, and whether that is the time of ingest."""
    seconds = _number(given)
    if seconds is None:
        flags |= {Flag.BAD_TIME} if given is not None else set()
        return None, now, True
    stamp = bounded(round(seconds * SECOND_US))
    if stamp.t is None:
        flags.add(Flag.BAD_TIME)
        return None, now, True
    if stamp.t > now + FUTURE_US:
        flags.add(Flag.FUTURE_TIME)
        return stamp.t, now, True
    return stamp.t, stamp.t, False


def _number(given: object) -> float | None:
    if isinstance(given, bool) or not isinstance(given, int | float):
        return None
    # An int too long for a float is compared as it is.
    return given if -_SECONDS_LIMIT < given < _SECONDS_LIMIT else None


def _count(data: Mapping[str, Any], name: str) -> int | None:
    """A count; None where the row has none."""
    given = data.get(name)
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int) or abs(given) > _COUNT_LIMIT:
        raise _Wrong(f"{name} is no count")
    return given


def _text(data: Mapping[str, Any], name: str) -> str:
    given = data.get(name)
    if given is None:
        return ""
    if not isinstance(given, str):
        raise _Wrong(f"{name} is no text")
    return given


def _plain(text: str, limit: int, flags: set[Flag]) -> str:
    found = plain(text, limit)
    flags |= {Flag.TEXT_CUT} if found.is_cut else set()
    return found.text


def _matched(data: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    given = data.get(name)
    if not isinstance(given, str) or not pattern.fullmatch(given):
        raise _Wrong(f"{name} is missing or malformed")
    return given


def _thread_of(data: Mapping[str, Any]) -> str:
    given = _text(data, "link_id")
    if not given.startswith("t3_") or not _ID.fullmatch(given[3:]):
        raise _Wrong("link_id is missing or malformed")
    return given


def _url(data: Mapping[str, Any], flags: set[Flag]) -> str | None:
    path = _text(data, "permalink")
    # Two slashes would make the next word a host.
    url = canonical(_SITE + path) if path.startswith("/") and not path.startswith("//") else None
    if path and url is None:
        flags.add(Flag.URL_DROPPED)
    return url


def _name_of(row: object) -> str:
    data = row.get("data") if isinstance(row, dict) else None
    name = data.get("name") if isinstance(data, dict) else None
    return name if isinstance(name, str) and re.fullmatch(r"t[0-9]_[0-9a-z]{1,16}", name) else ""


def _without_author(row: object) -> bytes:
    """The row as JSON, without what names its author."""
    if isinstance(row, dict) and isinstance(row.get("data"), dict):
        kept = {name: value for name, value in row["data"].items() if not str(name).startswith(_PERSONAL)}
        row = {**row, "data": kept}
    return json.dumps(row, sort_keys=True, default=repr).encode()
