"""Which version of an article is a new one: the newest known per (source, native id)."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from tapedeck.connectors.news.items import IngestReason, Item

LIMIT = 200_000
"""Articles that are remembered, about 100 MB; the one not seen for the longest time goes first."""


class Known(NamedTuple):
    """What is remembered of an article. Times are UTC microseconds."""

    updated_at: int
    content_digest: str
    symbols: tuple[str, ...] | None
    event_time: int
    time_inferred: bool


class Verdict(NamedTuple):
    """``item`` is what must be written, None where nothing must."""

    reason: IngestReason
    item: Item | None


class Versions:
    """The newest version of each article, as the topic ``news`` has it.

    It counts an item as written as soon as it is judged: a writer that fails must be rebuilt from the topic.
    """

    def __init__(self, bodies: Iterable[Mapping[str, Any]] = (), *, limit: int = LIMIT) -> None:
        """``bodies``: records of the topic in log order, from which the state is rebuilt."""
        self._limit = limit
        self._known: OrderedDict[tuple[str, str], Known] = OrderedDict()
        self._sources: dict[str, int] = {}
        for body in bodies:
            key = (str(body["source"]), str(body["native_id"]))
            known = self._known.get(key)
            if known is None or body["updated_at"] > known.updated_at:
                self._remember(key, _known_of(body))

    def __len__(self) -> int:
        return len(self._known)

    def has_any(self, source: str) -> bool:
        """Whether an article of ``source`` is known."""
        return source in self._sources

    def newest(self, source: str) -> int | None:
        """The latest update of an article of ``source`` that is known, UTC micros."""
        return max((known.updated_at for (of, _), known in self._known.items() if of == source), default=None)

    def judge(self, item: Item) -> Verdict:
        """What to do with ``item``. A version with the text and tags of the newest one is no new version.

        A new version keeps the event time of the first one, so that an article counts once.
        """
        key = (item.source, item.native_id)
        known = self._known.get(key)
        if known is None:
            self._remember(key, _known(item))
            return Verdict(IngestReason.ACCEPTED, item)
        self._known.move_to_end(key)
        content = (item.content_digest, item.provider_symbols)
        if content == (known.content_digest, known.symbols) or item.updated_at == known.updated_at:
            return Verdict(IngestReason.UNCHANGED, None)
        if item.updated_at < known.updated_at:
            return Verdict(IngestReason.OUT_OF_ORDER, None)
        kept = replace(item, event_time=known.event_time, time_inferred=known.time_inferred)
        self._remember(key, _known(kept))
        return Verdict(IngestReason.ACCEPTED, kept)

    def _remember(self, key: tuple[str, str], known: Known) -> None:
        if key not in self._known:
            self._sources[key[0]] = self._sources.get(key[0], 0) + 1
        self._known[key] = known
        self._known.move_to_end(key)
        while len(self._known) > self._limit:
            (source, _), _ = self._known.popitem(last=False)
            self._sources[source] -= 1
            if not self._sources[source]:
                del self._sources[source]


def _known(item: Item) -> Known:
    return Known(
        item.updated_at, item.content_digest, item.provider_symbols, item.event_time, item.time_inferred
    )


def _known_of(body: Mapping[str, Any]) -> Known:
    tags = body["symbols"]
    return Known(
        body["updated_at"],
        body["content_digest"],
        None if tags is None else tuple(tags),
        body["event_time"],
        body["time_inferred"],
    )
