"""The stories stage: the symbols that each version of an article names, and the story that it tells.

State, under one key because any article may fold into any other: the articles of the last 24 hours.
"""

from typing import NamedTuple

from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import Batch, Drop, Out, Row, Step
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.base import Body, WithoutPeriod, derived
from tapedeck.streams.stages.links.items import VERSION_FIELDS, Linker, fact_of, links_body, name_of, uid_of
from tapedeck.streams.stages.links.memory import Memory
from tapedeck.streams.stages.links.reasons import LinkReason
from tapedeck.streams.stages.links.rule import Linked
from tapedeck.streams.stages.links.text import text_of
from tapedeck.streams.stages.stories.rule import Item, is_near, likeness, normalized, story_of
from tapedeck.streams.stages.stories.state import Article, States

KEY = b"~articles"
SCOPE = "NEWS"
_LIKENESS_DECIMALS = 6


class _Role(NamedTuple):
    """The story that a version tells. ``story`` as in Article, ``uid`` names it. ``named``: the event_ids of
    other articles that decided it."""

    story: int | str
    uid: str
    folded: bool = False
    likeness: float | None = None
    named: tuple[str, ...] = ()


class StoriesStage(WithoutPeriod):
    """Trigger ``news``; one ``links`` and one ``stories`` record per version."""

    def __init__(self, config: Config, calendar: Calendar) -> None:
        self._config = config
        self._linker = Linker(config)
        self._states = States()

    def key(self, row: Row) -> bytes:
        return KEY

    def step(self, key: bytes, state: bytes | None, batch: Batch) -> Step:
        memory = self._states.opened(state, self._config.ingest)
        outs, drops = list[Out](), list[Drop]()
        for cause, row in enumerate(batch):
            memory.advance(row.log_minute)
            reason = memory.refuses(name_of(row.body), row.body["updated_at"])
            if reason is not None:
                drops.append(Drop(cause, reason))
                continue
            found, article = self._version(cause, row, memory)
            outs += found
            drops += [Drop(cause, LinkReason.MEMORY_FULL)] * memory.put(name_of(row.body), article)
        return Step(self._states.packed(memory), outs, drops)

    def linked(self, body: Body) -> tuple[str, Linked]:
        """The text of an article, and what it is linked to."""
        text = text_of(body["title"], body["summary"])
        return text, self._linker.linked(text, body["symbols"])

    def article(self, body: Body, found: Linked, story: int | str) -> Article:
        """What is remembered of a version that tells ``story``."""
        return Article(
            body["event_time"],
            body["updated_at"],
            tuple(sorted(each.symbol for each in found.links)),
            found.list_post,
            story,
            None if isinstance(story, str) else " ".join(normalized(body["title"]).words),
        )

    def _version(self, cause: int, row: Row, memory: Memory[Article]) -> tuple[list[Out], Article]:
        """The records of a new version, and what to remember of it."""
        body, name = row.body, name_of(row.body)
        known = memory.entries.get(name)
        text, found = self.linked(body)
        role = self._role(row, found, known, memory)
        links = links_body(body, SCOPE, text, found, known.counted if known else ())
        told = {"story": role.uid, "folded": role.folded}
        version = {field: links[field] for field in VERSION_FIELDS} | told | {"likeness": role.likeness}
        before = [fact_of(row.topic, name, known.updated_at)] if known else []
        inputs = [body["event_id"], *before, *role.named]
        outs = [
            derived(cause, "links", links | told, self._config.digest, inputs),
            derived(cause, "stories", version, self._config.digest, inputs),
        ]
        return outs, self.article(body, found, role.story)

    def _role(self, row: Row, found: Linked, known: Article | None, memory: Memory[Article]) -> _Role:
        """An article that began a story keeps it; any other is judged by the stories that are remembered.

        A folded one whose story is too old for that stays in it.
        """
        body, name = row.body, name_of(row.body)
        if known is not None and isinstance(known.story, int):
            return _Role(known.story, uid_of(name, known.story))
        symbols = frozenset(each.symbol for each in found.links)
        item = Item(uid_of(name, body["updated_at"]), body["event_time"], normalized(body["title"]), symbols)
        stories = [
            _item(other, each)
            for other, each in memory.entries.items()
            if each.title is not None and is_near(item, each.event_time, each.symbols, self._config.ingest)
        ]
        story = story_of(item, stories, self._config.ingest)
        if story is not None:
            alike = likeness(item, story, self._config.ingest)
            assert alike is not None
            named = _facts(row.topic, story.uid, memory)
            return _Role(story.uid, story.uid, True, round(alike, _LIKENESS_DECIMALS), named)
        if known is None:
            return _Role(body["updated_at"], item.uid)
        former = _facts(row.topic, str(known.story), memory)
        if not former:
            return _Role(known.story, str(known.story), True)
        return _Role(body["updated_at"], item.uid, named=former)


def _item(name: str, article: Article) -> Item:
    """An article that began a story, as others are compared with it."""
    assert isinstance(article.story, int)
    uid = uid_of(name, article.story)
    return Item(uid, article.event_time, article.words(), frozenset(article.symbols))


def _facts(topic: str, story: str, memory: Memory[Article]) -> tuple[str, ...]:
    """The event_id of the last version of the article that began ``story``; none if it is not compared."""
    return tuple(
        fact_of(topic, name, each.updated_at)
        for name, each in memory.entries.items()
        if each.title is not None and isinstance(each.story, int) and uid_of(name, each.story) == story
    )
