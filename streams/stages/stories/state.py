"""What the stories stage remembers of articles, and as which bytes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tapedeck.streams.config.text_groups import Ingest
from tapedeck.streams.stages.base import pack_state, unpack_state
from tapedeck.streams.stages.links.memory import Bounds, Memory
from tapedeck.streams.stages.stories.rule import HOUR_US, Title

STATE_VERSION = 1
BOUNDS = Bounds(entries=2_000, size=400_000)
REMEMBERED_US = 24 * HOUR_US
"""Age from which an article is forgotten: a version after that counts as a new article."""
LATE_US = HOUR_US
"""How late an article may arrive and still meet every story that it can fold into."""


class Article(NamedTuple):
    """The last version of an article. Times are UTC microseconds.

    ``symbols``: all that it is linked to, sorted. ``story``: of an article that began a story the
    ``updated_at`` of the version that did, of a folded one the story's uid. ``title``: the words of the title
    of a story that others may still fold into, None for any other article.
    """

    event_time: int
    updated_at: int
    symbols: tuple[str, ...]
    list_post: bool
    story: int | str
    title: str | None

    @property
    def counted(self) -> tuple[str, ...]:
        """The symbols that it counts for."""
        return () if self.list_post else self.symbols

    def words(self) -> Title:
        """The normalized title."""
        words = tuple((self.title or "").split())
        return Title(words, frozenset(words))


class States:
    """Opens and packs the state values of one stage, and does not parse again what it packed last.

    The articles follow from the bytes alone: what is kept is found by the whole value, so another value, or a
    new instance, gives the same memory and only takes longer.
    """

    def __init__(self) -> None:
        self._last: tuple[bytes, dict[str, Article]] = (b"", {})

    def opened(self, state: bytes | None, config: Ingest) -> Memory[Article]:
        """The memory in a state value."""
        value, articles = self._last
        return _memory(articles if state and state == value else _unpacked(state), config)

    def packed(self, memory: Memory[Article]) -> bytes:
        """The state value of a memory."""
        value = packed(memory.entries)
        # In the order in which they are unpacked: nothing may follow from how a memory came to be.
        self._last = value, dict(sorted(memory.entries.items()))
        return value


def _unpacked(state: bytes | None) -> dict[str, Article]:
    fields = unpack_state(STATE_VERSION, state) if state else {}
    return {name: _article(stored) for name, stored in fields.items()}


def _memory(articles: Mapping[str, Article], config: Ingest) -> Memory[Article]:
    until = config.fold_hours * HOUR_US + LATE_US

    def settle(article: Article, age: int) -> Article | None:
        if age > max(REMEMBERED_US, until):
            return None
        if article.title is None or age <= until:
            return article
        return article._replace(title=None, symbols=article.counted)

    return Memory(articles, BOUNDS, settle)


def packed(articles: Mapping[str, Article]) -> bytes:
    """The state value of a memory of ``articles``."""
    return pack_state(STATE_VERSION, {name: _stored(article) for name, article in articles.items()})


def _stored(article: Article) -> list[Any]:
    """The fields with versions as microseconds after the event time, which is shorter."""
    time, version, symbols, list_post, story, title = article
    began = story - time if isinstance(story, int) else story
    return [time, version - time, symbols, int(list_post), began, title]


def _article(stored: list[Any]) -> Article:
    time, version, symbols, list_post, story, title = stored
    began = story + time if isinstance(story, int) else story
    return Article(time, version + time, tuple(symbols), bool(list_post), began, title)
