"""Which feeds are read: the table ``[news]``, which is outside the digest.

What a decision came from is in the records that it names, wherever the feeds lie.
"""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from tapedeck.streams.config.groups import SYMBOL, Group, refuse

ALPACA = "alpaca"
"""The source of the articles that are not from a feed."""
MIN_PERIOD_S = 60
"""A feed is not asked more often: its server may shut out who does."""
DOCUMENT_BYTES = 1024 * 1024
"""Feeds with more text are rare, and hostile documents cost time by their size."""
FeedId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,253}$")]


class Feed(Group):
    """One RSS or Atom feed."""

    id: FeedId
    """Name of the feed: up to 40 lower-case letters, digits, - and _. It is the source of its articles."""
    url: str
    """Its address, http or https, without a login."""
    period_s: Annotated[int, Field(ge=MIN_PERIOD_S, le=86_400)] = 300
    """Seconds between two looks at it."""
    symbol: Annotated[str, Field(pattern=rf"^$|{SYMBOL}")] = ""
    """The symbol that all its articles are about; empty for a feed that covers several."""

    @model_validator(mode="after")
    def _is_at_a_web_address(self) -> "Feed":
        # A check of the whole feed: the message of a field's would show a login that is written there.
        parts = urlsplit(self.url)
        refuse(parts.username is not None, f"the url of feed {self.id} has a login in it: leave it out")
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        refuse(not fits, f"write the url of feed {self.id} as https://HOST/PATH, not as {self.url!r}")
        return self


class News(Group):
    """The feeds, and which of their servers may lie inside this network."""

    allow_private: tuple[Host, ...] = ()
    """Hosts of feeds that may lie at private addresses; others that do are refused."""
    max_document_bytes: Annotated[int, Field(ge=10_000, le=16 * 1024 * 1024)] = DOCUMENT_BYTES
    """The largest document of a feed that is read, as sent and decompressed, in bytes."""
    feeds: tuple[Feed, ...] = ()
    """The feeds, a table `[[news.feeds]]` each."""

    @model_validator(mode="after")
    def _ids_are_distinct(self) -> "News":
        ids = [feed.id for feed in self.feeds]
        refuse(len(set(ids)) != len(ids), "two feeds share one id")
        refuse(ALPACA in ids, f"{ALPACA} is the source of Alpaca's news: give the feed another id")
        return self
