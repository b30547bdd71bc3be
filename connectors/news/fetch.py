"""One conditional GET of a feed: bounded in time, size and redirects, and never inside this network."""

import asyncio
import random
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver

from tapedeck.connectors.clock import Clock
from tapedeck.connectors.news.addresses import Gate
from tapedeck.connectors.news.inflating import Body, TooLarge, Undecodable
from tapedeck.connectors.news.validators import ETAG, MODIFIED, Validators
from tapedeck.connectors.waits import asked_wait_s
from tapedeck.streams.config.news import DOCUMENT_BYTES

ATTEMPTS = 3
TIMEOUT_S = 10.0
"""For the connection and for each part of the answer."""
DEADLINE_S = 30.0
"""For one whole answer, redirects included: a server may send a byte at a time for ever."""
BACKOFF_S = (1.0, 2.0, 4.0)
MAX_REDIRECTS = 5
DEFAULT_WAIT_S = 60.0
MAX_WAIT_S = 86_400.0
"""A server's wait is obeyed up to a day."""

_AGENT = "tapedeck (feed reader)"
_ACCEPT = "application/rss+xml, application/atom+xml, application/xml;q=0.9, text/xml;q=0.8, */*;q=0.1"
_OK, _NOT_MODIFIED, _GONE, _TOO_MANY, _UNAVAILABLE, _SERVER_ERROR = 200, 304, 410, 429, 503, 500
_REDIRECTS = (301, 302, 303, 307, 308)
_PERMANENT = (301, 308)
_SCHEMES = ("http", "https")


class Outcome(StrEnum):
    """What came of a fetch."""

    FETCHED = "FETCHED"
    NOT_MODIFIED = "NOT_MODIFIED"
    GONE = "GONE"
    """410: the feed is not there any more, by its server's word."""
    RATE_LIMITED = "RATE_LIMITED"
    FAILED = "FAILED"
    REFUSED = "REFUSED"
    """Its address, or that of a redirect, is none of the open internet."""
    TOO_LARGE = "TOO_LARGE"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a fetch brought. ``validators`` are for the next one; a failure leaves them as they were.

    ``moved_to``: where permanent redirects lead. ``host`` asks for no request during ``wait_s``.
    """

    outcome: Outcome
    validators: Validators
    body: bytes = b""
    content_type: str | None = None
    why: str = ""
    moved_to: str | None = None
    host: str = ""
    wait_s: float = 0.0


class _TryAgain(Exception):
    """An attempt failed in a way that may pass."""


class _Stop(Exception):
    """It makes no sense to try again now."""

    def __init__(self, outcome: Outcome, why: str, *, host: str = "", wait_s: float = 0.0) -> None:
        super().__init__(why)
        self.outcome, self.why, self.host, self.wait_s = outcome, why, host, wait_s


@dataclass
class _Way:
    """Where one attempt stands on its way over redirects."""

    url: str
    hops: int = 0
    moved_to: str | None = None
    is_permanent: bool = True


@dataclass(kw_only=True)
class Fetcher:
    """Fetches feeds; at most one request per host is in flight, whichever feed or redirect asks for it.

    ``allow_private``: hosts that may lie inside this network. ``resolver`` None asks the system.
    ``body_limit``: bytes of a document, sent and decompressed.
    """

    clock: Clock
    allow_private: Collection[str] = ()
    body_limit: int = DOCUMENT_BYTES
    resolver: Callable[[], AbstractResolver] | None = None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: random.Random = field(default_factory=random.Random)
    trust: ssl.SSLContext = field(default_factory=ssl.create_default_context, repr=False)
    timeout_s: float = TIMEOUT_S
    deadline_s: float = DEADLINE_S
    _hosts: defaultdict[str, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock), init=False, repr=False
    )

    async def fetch(self, url: str, validators: Validators) -> Answer:
        """GET ``url`` if it changed since ``validators``. Raises nothing: each failure is an outcome."""
        why = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                await self.sleep(BACKOFF_S[attempt - 1] * self.chance.uniform(1.0, 1.5))
            way = _Way(url)
            try:
                async with asyncio.timeout(self.deadline_s):
                    answer = await self._follow(way, validators)
                return replace(answer, moved_to=way.moved_to)
            except _Stop as stop:
                return Answer(
                    outcome=stop.outcome,
                    validators=validators,
                    why=stop.why,
                    moved_to=way.moved_to,
                    host=stop.host,
                    wait_s=stop.wait_s,
                )
            except _TryAgain as error:
                why = str(error)
            except TimeoutError:
                why = f"{_host(way.url)} took too long to answer"
        return Answer(outcome=Outcome.FAILED, validators=validators, why=f"{why} ({ATTEMPTS} attempts)")

    async def _follow(self, way: _Way, validators: Validators) -> Answer:
        while True:
            async with self._request(way.url, validators) as answer:
                if answer.status not in _REDIRECTS:
                    return await self._read(answer, _host(way.url), validators)
                target = answer.headers.get("Location", "")
            way.hops += 1
            if way.hops > MAX_REDIRECTS:
                raise _Stop(Outcome.FAILED, f"it redirects more than {MAX_REDIRECTS} times")
            way.url = _target(way.url, target)
            way.is_permanent = way.is_permanent and answer.status in _PERMANENT
            if way.is_permanent:
                way.moved_to = way.url

    @asynccontextmanager
    async def _request(self, url: str, validators: Validators) -> AsyncIterator[aiohttp.ClientResponse]:
        host = _host(url)
        gate = Gate(host, self.allow_private)
        headers = {"User-Agent": _AGENT, "Accept": _ACCEPT, "Accept-Encoding": "gzip", **validators.headers()}
        async with self._hosts[host]:
            connector = aiohttp.TCPConnector(
                socket_factory=gate,
                resolver=self.resolver() if self.resolver else None,
                use_dns_cache=False,
                force_close=True,
                ssl=self.trust,
            )
            try:
                async with (
                    aiohttp.ClientSession(
                        connector=connector,
                        cookie_jar=aiohttp.DummyCookieJar(),
                        auto_decompress=False,
                        trust_env=False,  # a proxy would connect to addresses that are not checked here
                        timeout=aiohttp.ClientTimeout(
                            total=None, sock_connect=self.timeout_s, sock_read=self.timeout_s
                        ),
                    ) as session,
                    session.get(url, headers=headers, allow_redirects=False) as answer,
                ):
                    yield answer
            except aiohttp.ClientConnectorCertificateError as error:
                raise _Stop(Outcome.FAILED, f"{host} has no certificate to trust: {error}") from None
            except (aiohttp.InvalidURL, ValueError) as error:  # ValueError: names that cannot be encoded
                raise _Stop(Outcome.FAILED, f"{url[:200]!r} is no address ({error})") from None
            except (aiohttp.ClientError, OSError) as error:
                if gate.refused and not gate.passed:
                    raise _Stop(Outcome.REFUSED, _inside(host, gate.refused[0])) from None
                raise _TryAgain(f"{host}: {error or type(error).__name__}") from None

    async def _read(self, answer: aiohttp.ClientResponse, host: str, validators: Validators) -> Answer:
        """What an answer that is no redirect says."""
        status = answer.status
        if status == _NOT_MODIFIED:
            if not validators.headers():
                raise _Stop(Outcome.FAILED, f"{host} answered 304 to a request without a condition")
            after = validators.after_unchanged(_first(answer, ETAG), _first(answer, MODIFIED))
            return Answer(outcome=Outcome.NOT_MODIFIED, validators=after)
        if status == _GONE:
            raise _Stop(Outcome.GONE, f"{host} answered 410: the feed is gone")
        wait = answer.headers.get("Retry-After")
        if status == _TOO_MANY or (status == _UNAVAILABLE and wait is not None):
            raise _Stop(
                Outcome.RATE_LIMITED, f"{host} answered {status}", host=host, wait_s=self._wait_s(wait)
            )
        if status >= _SERVER_ERROR:
            raise _TryAgain(f"{host} answered {status}")
        if status != _OK:
            raise _Stop(Outcome.FAILED, f"{host} answered {status}")
        body = await self._body(answer, host)
        if not body:
            raise _TryAgain(f"{host} answered 200 with an empty body")
        after = validators.after_full(
            _first(answer, ETAG), _first(answer, MODIFIED), sha256(body).hexdigest()
        )
        kind = answer.headers.get("Content-Type")
        return Answer(outcome=Outcome.FETCHED, validators=after, body=body, content_type=kind)

    async def _body(self, answer: aiohttp.ClientResponse, host: str) -> bytes:
        too_large = _Stop(
            Outcome.TOO_LARGE, f"{host} sent more than the {self.body_limit} bytes of news.max_document_bytes"
        )
        if (answer.content_length or 0) > self.body_limit:
            raise too_large
        try:
            body = Body(answer.headers.get("Content-Encoding", ""), self.body_limit)
            async for chunk in answer.content.iter_any():
                body.add(chunk)
            return body.end()
        except TooLarge:
            raise too_large from None
        except Undecodable as error:
            raise _TryAgain(f"{host}: {error}") from None

    def _wait_s(self, told: str | None) -> float:
        """Seconds to leave a server alone: up to a tenth more than it asks, so that not all come at once."""
        asked = asked_wait_s(told, self.clock.now())
        wait = DEFAULT_WAIT_S if asked is None else asked
        return min(max(wait, 1.0), MAX_WAIT_S) * self.chance.uniform(1.0, 1.1)


def _target(url: str, location: str) -> str:
    """Where a redirect leads. Raises _Stop for none, and for one that leaves the web."""
    try:
        target = urljoin(url, location) if location else ""
        parts = urlsplit(target)
        fits = (
            parts.scheme in _SCHEMES and bool(parts.hostname) and parts.username is None and parts.port != 0
        )
    except ValueError:
        target, fits = location, False
    if not fits:
        raise _Stop(Outcome.REFUSED, f"{_host(url)} redirects to {target[:200]!r}, which is no web address")
    return target


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def _inside(host: str, address: str) -> str:
    return (
        f"{host} lies at {address}, which is not public, and feeds may not reach inside; if it is a server of"
        " your own, add the host to allow_private under [news]"
    )


def _first(answer: aiohttp.ClientResponse, name: str) -> str | None:
    values = answer.headers.getall(name, ())
    return values[0] if values else None
