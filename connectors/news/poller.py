"""Looks at each feed when it is due, and says how each fares. What it brings is written by its caller.

Order of effects: the caller writes a look's items, and then commits the look. If validators were stored
before their items, the next answer could be a 304, and the items would be lost.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from tapedeck.connectors.clock import Clock
from tapedeck.connectors.news.feeds import Document, FeedSource, read_document
from tapedeck.connectors.news.fetch import Answer, Fetcher, Outcome
from tapedeck.connectors.news.items import IngestReason, Item
from tapedeck.connectors.news.saved import FeedState, Saved, load, save
from tapedeck.connectors.news.versions import Versions
from tapedeck.streams.config.news import Feed, News
from tapedeck.streams.protocol import SECOND_US

RED_PERIODS = 5
"""Periods without success after which a feed is red."""
_SPREAD = 0.1
"""Share of a period by which looks are put off at random, so that feeds do not all come at once."""
_FIRST_S = 10.0
_IDLE_S = 60.0
_SHORTEST_S = 0.05
_REASONS = {
    Outcome.RATE_LIMITED: IngestReason.RATE_LIMITED,
    Outcome.TOO_LARGE: IngestReason.CAP_REACHED,
    Outcome.GONE: IngestReason.FETCH_FAILED,
    Outcome.FAILED: IngestReason.FETCH_FAILED,
    Outcome.REFUSED: IngestReason.FETCH_FAILED,
}


class FeedStatus(StrEnum):
    """How a feed fares."""

    OK = "OK"
    STALE = "STALE"
    """No success for five periods."""
    GONE = "GONE"
    MOVED = "MOVED"
    RATE_LIMITED = "RATE_LIMITED"
    FAILING = "FAILING"
    MALFORMED = "MALFORMED"


_RED = (FeedStatus.STALE, FeedStatus.GONE)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One feed for the status: ``words`` say what is wrong and what to do. Times are UTC microseconds."""

    feed: str
    status: FeedStatus
    words: str
    last_success: int | None
    next_due: int

    @property
    def is_red(self) -> bool:
        return self.status in _RED


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one look at a feed brought: the items to write, in order, and what became of all."""

    feed: Feed
    items: tuple[Item, ...]
    counts: Mapping[IngestReason, int]
    after: FeedState
    host: str = ""
    wait_until: int = 0


class Poller:
    """The loop over the configured feeds. ``path`` is the file that keeps their states."""

    def __init__(
        self,
        news: News,
        fetcher: Fetcher,
        versions: Versions,
        clock: Clock,
        path: Path,
        *,
        chance: random.Random | None = None,
    ) -> None:
        self._feeds = {feed.id: feed for feed in news.feeds}
        self._fetcher = fetcher
        self._versions = versions
        self._clock = clock
        self._path = path
        self._chance = chance or random.Random()
        now, known = clock.now(), load(path)
        self._waits = {host: until for host, until in known.waits.items() if until > now}
        self._states = {feed.id: self._start(feed, known.feeds.get(feed.id), now) for feed in news.feeds}

    def _start(self, feed: Feed, known: FeedState | None, now: int) -> FeedState:
        """A feed's state at the start. At another address it is another feed."""
        if known is None or known.url != feed.url:
            first = min(feed.period_s, _FIRST_S) * self._chance.random()
            return FeedState(url=feed.url, since=now, next_due=now + int(first * SECOND_US))
        # The period may have been shortened, and the clock set back.
        return replace(known, next_due=min(known.next_due, self._next(feed, now)))

    def _next(self, feed: Feed, now: int) -> int:
        return now + int(feed.period_s * self._chance.uniform(1.0, 1.0 + _SPREAD) * SECOND_US)

    def due_at(self, feed: Feed) -> int | None:
        """When the feed is looked at next; None for one that is gone."""
        state = self._states[feed.id]
        return None if state.is_gone else max(state.next_due, self._waits.get(_host(feed), 0))

    def due(self, now: int) -> list[Feed]:
        """The feeds to look at now, the one that waits longest first, and one of each host."""
        waiting = [(at, feed) for feed in self._feeds.values() if (at := self.due_at(feed)) is not None]
        first: dict[str, Feed] = {}
        for at, feed in sorted(waiting, key=lambda each: (each[0], each[1].id)):
            if at <= now:
                first.setdefault(_host(feed), feed)
        return list(first.values())

    async def look(self, feed: Feed) -> Look:
        """Fetch, read and judge one feed. Changes nothing but what is known of its articles."""
        state = self._states[feed.id]
        conditional = state.validators
        if not self._versions.has_any(feed.id):
            # The topic has none of its articles: an answer 304 would leave it so.
            conditional = replace(conditional, etag=None, modified=None)
        answer = await self._fetcher.fetch(feed.url, conditional)
        now = self._clock.now()
        counts: Counter[IngestReason] = Counter()
        items: tuple[Item, ...] = ()
        if answer.outcome is Outcome.FETCHED:
            source = FeedSource(source=feed.id, symbol=feed.symbol or None)
            document = await asyncio.to_thread(read_document, answer.body, answer.content_type, source, now)
            items = self._judged(document, counts)
            after = _read(state, answer, document, now)
        elif answer.outcome is Outcome.NOT_MODIFIED:
            after = _unchanged(state, answer, now)
        else:
            counts[_REASONS[answer.outcome]] += 1
            after = _failed(state, answer)
        wait_until = now + int(answer.wait_s * SECOND_US)
        return Look(
            feed=feed,
            items=items,
            counts=counts,
            # The host that wants to be left alone may be that of a redirect.
            after=replace(after, next_due=max(self._next(feed, now), wait_until)),
            host=answer.host,
            wait_until=wait_until,
        )

    def _judged(self, document: Document, counts: Counter[IngestReason]) -> tuple[Item, ...]:
        """The items of a document to write, the oldest first."""
        kept: list[Item] = []
        for item in sorted(
            document.items, key=lambda each: (each.event_time, each.updated_at, each.native_id)
        ):
            reason, written = self._versions.judge(item)
            counts[reason] += 1
            if written is not None:
                kept.append(written)
        counts[IngestReason.BAD_ITEM] += document.bad_items
        counts[IngestReason.FEED_MALFORMED] += document.malformed is not None
        counts[IngestReason.CAP_REACHED] += document.is_capped
        return tuple(kept)

    def commit(self, look: Look) -> None:
        """Keep what a look learned, once its items are written."""
        self._states[look.feed.id] = look.after
        if look.host:
            self._waits[look.host] = max(look.wait_until, self._waits.get(look.host, 0))
        save(self._path, Saved(self._states, self._waits))

    async def looks(self) -> AsyncGenerator[Look, None]:
        """Every look as it is done, for ever; one per host at a time. The caller writes and commits each."""
        flying: dict[str, asyncio.Task[Look]] = {}
        try:
            while True:
                now = self._clock.now()
                for feed in self.due(now):
                    if _host(feed) not in flying:
                        flying[_host(feed)] = asyncio.create_task(self.look(feed))
                wait_s = self._idle_s(now, flying)
                if not flying:
                    await asyncio.sleep(wait_s)
                    continue
                done, _ = await asyncio.wait(
                    flying.values(), timeout=wait_s, return_when=asyncio.FIRST_COMPLETED
                )
                for host in [host for host, task in flying.items() if task in done]:
                    # The host stays busy until its look is committed: what it learned decides the next.
                    yield flying[host].result()
                    del flying[host]
        finally:
            for task in flying.values():
                task.cancel()
            await asyncio.gather(*flying.values(), return_exceptions=True)

    def _idle_s(self, now: int, flying: Mapping[str, object]) -> float:
        """Seconds until a feed of an idle host is due."""
        ahead = [
            (at - now) / SECOND_US
            for feed in self._feeds.values()
            if _host(feed) not in flying and (at := self.due_at(feed)) is not None
        ]
        return min(max(min(ahead, default=_IDLE_S), _SHORTEST_S), _IDLE_S)

    def standings(self) -> list[Standing]:
        """How each feed fares now, in the document's order."""
        now = self._clock.now()
        return [self._standing(feed, now) for feed in self._feeds.values()]

    def _standing(self, feed: Feed, now: int) -> Standing:
        state = self._states[feed.id]
        status, words = _fares(feed, state, self._waits.get(_host(feed), 0), now)
        return Standing(
            feed=feed.id,
            status=status,
            words=words,
            last_success=state.last_success,
            next_due=max(state.next_due, self._waits.get(_host(feed), 0)),
        )


def _order(item: Item) -> tuple[int, int, str]:
    return item.event_time, item.updated_at, item.native_id


def _fares(feed: Feed, state: FeedState, wait_until: int, now: int) -> tuple[FeedStatus, str]:
    seen = state.since if state.last_success is None else state.last_success
    met = state.why or state.malformed
    if state.is_gone:
        return FeedStatus.GONE, f"{state.why}; take it out of [[news.feeds]], or write its new address"
    if now - seen > RED_PERIODS * feed.period_s * SECOND_US:
        minutes = (now - seen) // (60 * SECOND_US)
        return FeedStatus.STALE, f"no success for {minutes} min: {met or 'it was not looked at'}"
    if wait_until > now:
        return (
            FeedStatus.RATE_LIMITED,
            f"its server wants to be left alone for {(wait_until - now) // SECOND_US} s",
        )
    if state.failures:
        return FeedStatus.FAILING, state.why
    if state.malformed:
        return FeedStatus.MALFORMED, f"its document is damaged: {state.malformed}"
    if state.moved_to is not None:
        return FeedStatus.MOVED, f"write its new address in [[news.feeds]]: {state.moved_to}"
    return FeedStatus.OK, ""


def _read(state: FeedState, answer: Answer, document: Document, now: int) -> FeedState:
    """After a new document. One with nothing to read, as a log-in page, is no success."""
    is_readable = bool(document.items) or document.malformed is None
    return _succeeded(
        replace(
            state,
            validators=answer.validators,
            malformed=document.malformed or "",
            is_readable=is_readable,
            moved_to=answer.moved_to,
        ),
        now,
    )


def _unchanged(state: FeedState, answer: Answer, now: int) -> FeedState:
    return _succeeded(replace(state, validators=answer.validators, moved_to=answer.moved_to), now)


def _succeeded(state: FeedState, now: int) -> FeedState:
    fresh = now if state.is_readable else state.last_success
    return replace(state, last_success=fresh, failures=0, why="")


def _failed(state: FeedState, answer: Answer) -> FeedState:
    return replace(
        state,
        failures=state.failures + 1,
        why=answer.why,
        is_gone=answer.outcome is Outcome.GONE,
    )


def _host(feed: Feed) -> str:
    return (urlsplit(feed.url).hostname or "").lower()
