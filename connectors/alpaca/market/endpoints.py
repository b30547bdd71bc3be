"""Where Alpaca's market data is: addresses that the keys may be sent to, and the connection's own name."""

from hashlib import sha256
from urllib.parse import urlsplit, urlunsplit

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.accounts import is_loopback

DATA_URL = "https://data.alpaca.markets"
_HOSTS = {
    "data.alpaca.markets": "stream.data.alpaca.markets",
    "data.sandbox.alpaca.markets": "stream.data.sandbox.alpaca.markets",
}
"""Alpaca's hosts of historical data, each with its host of streams."""
FEEDS = ("iex", "sip", "delayed_sip")
NEWS = "news"
"""The stream of articles: not a feed of bars, but the same protocol."""
_PATHS = {NEWS: "/v1beta1/news"}
RECENT_S = 16 * 60
"""A plan without real-time SIP data refuses the last 15 minutes; a minute more is for differing clocks."""


def require_data_host(url: str) -> None:
    """Let keys go only to this machine, or encrypted to Alpaca. Raises Fatal."""
    parts = urlsplit(url)
    at_alpaca = parts.scheme == "https" and parts.netloc in _HOSTS
    if not at_alpaca and not is_loopback(url):
        raise Fatal(
            "the keys of market data go to Alpaca, encrypted, or to a data server on this machine only",
            value=url,
            remedy=f"use {DATA_URL} or the address that `tape exchange` prints",
        )


def require_feed(feed: str) -> None:
    """Raises Fatal for a feed without a stream of stock bars: it would be another tape than the one named."""
    if feed not in FEEDS:
        raise Fatal(
            "Alpaca has no stream of stock bars of this feed",
            value=feed,
            remedy=f"set bars.feed to one of {', '.join(FEEDS)}",
        )


def stream_url(base_url: str, feed: str) -> str:
    """The websocket of ``feed``, or of ``NEWS``, that belongs to the address of historical data."""
    parts = urlsplit(base_url)
    host = _HOSTS.get(parts.netloc, parts.netloc)
    return urlunsplit(
        ("wss" if parts.scheme == "https" else "ws", host, _PATHS.get(feed, f"/v2/{feed}"), "", "")
    )


def connection_name(url: str, key: str) -> str:
    """The lease of the one connection that a key may have at an endpoint; it does not show the key."""
    return f"alpaca:{urlsplit(url).netloc}{urlsplit(url).path}:{sha256(key.encode()).hexdigest()[:16]}"
