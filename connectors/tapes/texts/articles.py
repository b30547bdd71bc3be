"""Synthetic articles, as versions of items: ordinary ones, and every kind of trouble that feeds have."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tapedeck.connectors.news.items import Item, Raw, Stamp, item_of
from tapedeck.connectors.tapes.plants import Plant
from tapedeck.connectors.tapes.texts import templates
from tapedeck.connectors.tapes.texts.drafts import Day, Draft, drafts, tone_of
from tapedeck.connectors.tapes.texts.templates import BEFORE_A_MOVE, COMPANIES, HEADLINES, Tone
from tapedeck.streams.config.news import ALPACA
from tapedeck.streams.protocol import MINUTE_US, SECOND_US

_ORDINARY = 56
_STORIES = 8
"""Stories that three publishers tell."""
_UPDATED = 8
_BEFORE_PLANT = 22
"""Minutes before a planted move in which its articles come: they count in the 30 minutes to its end."""
_OVERNIGHT = 3
_WIRE = "synthetic-wire"
_SITE = "https://news.example"


class Written(NamedTuple):
    """One version of an article: what it is about, None for nothing, and the tone that was meant."""

    symbol: str | None
    tone: Tone
    item: Item


class _Paper:
    """Numbers the day's articles; ``rng`` decides their form."""

    def __init__(self, rng: np.random.Generator, day: Day) -> None:
        self._rng, self._day, self._number = rng, day, 0

    def article(
        self,
        title: str,
        at: int,
        *,
        tags: Sequence[str] | None = (),
        source: str = ALPACA,
        published: int | None = None,
        again: Item | None = None,
    ) -> Item:
        """A version published ``at``; ``again``: the one that it replaces. ``tags`` None: a plain feed."""
        self._number += again is None
        name = again.native_id if again else f"{self._day.session.date}{self._number:04d}"
        raw = Raw(
            source=again.source if again else source,
            origin=self._day.origin,
            native_id=name,
            title=title,
            summary=str(self._rng.choice(templates.SUMMARIES)),
            url=f"{_SITE}/{name}",
            published=Stamp(t=again.published if again else published or at),
            updated=Stamp(t=at),
            symbols=tags,
        )
        return item_of(raw, at)

    def headline(self, draft: Draft) -> str:
        """A headline for the draft."""
        return str(self._rng.choice(HEADLINES[draft.tone])).format(c=COMPANIES[draft.symbol])

    def ordinary(self, draft: Draft) -> Written:
        """An article with the source's tag, or of a feed that has none."""
        tagged = bool(self._rng.random() < 0.7)
        how = (ALPACA, [draft.symbol]) if tagged else (_WIRE, None)
        item = self.article(self.headline(draft), draft.at, source=how[0], tags=how[1])
        return Written(draft.symbol, draft.tone, item)


def articles(rng: np.random.Generator, day: Day) -> Iterator[Written]:
    """About 120 versions over the day, in no order."""
    paper = _Paper(rng, day)
    ordinary = [paper.ordinary(draft) for draft in drafts(rng, day, _ORDINARY)]
    yield from ordinary
    for _, plant in sorted(day.plants.items()):
        yield from _planted(paper, day, plant)
    for draft in drafts(rng, day, _STORIES):
        yield from _told_by_three(paper, draft)
    for number, written in enumerate(ordinary[:_UPDATED]):
        yield _updated(paper, written, changes=number % 2 == 1)
    for draft in drafts(rng, day, 3):
        yield from _with_another(paper, day, draft)
    yield from _odd(paper, rng, day)


def _planted(paper: _Paper, day: Day, plant: Plant) -> Iterator[Written]:
    """Several articles of one mind in the minutes before a planted move."""
    tone, name = tone_of(plant), COMPANIES[plant.symbol]
    titles = BEFORE_A_MOVE[tone]
    for number, title in enumerate(titles):
        minute = plant.start - _BEFORE_PLANT + number * (_BEFORE_PLANT // len(titles))
        item = paper.article(title.format(c=name), day.at(minute, 7 * number), tags=[plant.symbol])
        yield Written(plant.symbol, tone, item)


def _told_by_three(paper: _Paper, draft: Draft) -> Iterator[Written]:
    """One story in three publications, a few minutes apart."""
    title = paper.headline(draft)
    for number, publisher in enumerate(templates.PUBLISHERS):
        source = publisher.lower().replace(" ", "-")
        at = draft.at + 2 * number * MINUTE_US
        item = paper.article(f"{title} - {publisher}", at, source=source, tags=None)
        yield Written(draft.symbol, draft.tone, item)


def _updated(paper: _Paper, written: Written, *, changes: bool) -> Written:
    """A later version of an article: with another tone if it ``changes``, else with a word more."""
    symbol, tone, item = written
    assert symbol is not None
    title = f"{item.title}, company says"
    if changes:
        tone = Tone.NEUTRAL
        title = f"Correction: {HEADLINES[tone][0].format(c=COMPANIES[symbol])}"
    at = item.updated_at + 6 * MINUTE_US
    return Written(symbol, tone, paper.article(title, at, tags=item.provider_symbols, again=item))


def _with_another(paper: _Paper, day: Day, draft: Draft) -> Iterator[Written]:
    """An article about two companies whose second version names only one."""
    place = day.symbols.index(draft.symbol)
    other = day.symbols[(place + 1) % len(day.symbols)]
    names = {"c": COMPANIES[draft.symbol], "d": COMPANIES[other]}
    first = paper.article(templates.WITH_ANOTHER.format(**names), draft.at, tags=[draft.symbol, other])
    yield Written(draft.symbol, Tone.NEUTRAL, first)
    title = templates.WITHOUT_ANOTHER.format(**names)
    again = paper.article(title, draft.at + 9 * MINUTE_US, tags=[draft.symbol], again=first)
    yield Written(draft.symbol, Tone.NEUTRAL, again)


def _odd(paper: _Paper, rng: np.random.Generator, day: Day) -> Iterator[Written]:
    """Markup, lists, capital words that are no symbols, and what came before the first minute."""
    others = day._replace(symbols=[symbol for symbol in day.symbols if symbol not in day.plants])
    for draft, (tone, markup) in zip(
        drafts(rng, others, len(templates.IN_HTML)), templates.IN_HTML, strict=True
    ):
        title = markup.format(c=COMPANIES[draft.symbol].replace("&", "&amp;"), s=draft.symbol)
        yield Written(draft.symbol, tone, paper.article(title, draft.at, tags=[draft.symbol]))
    for number, title in enumerate((*templates.TRAPS, *templates.MARKET)):
        at = day.at((37 * number + 11) % day.minutes, 20 + number)
        yield Written(None, Tone.NEUTRAL, paper.article(title, at, source=_WIRE, tags=None))
    for number in range(2):
        listed = ", ".join(f"${symbol}" for symbol in day.symbols[number * 10 : number * 10 + 10])
        item = paper.article(templates.LISTED.format(all=listed), day.at(3 + 90 * number, 9))
        yield Written(None, Tone.NEUTRAL, item)
    for number, draft in enumerate(drafts(rng, day, _OVERNIGHT)):
        published = day.first - (30 + 120 * number) * MINUTE_US
        item = paper.article(
            paper.headline(draft), day.first + 5 * SECOND_US, tags=[draft.symbol], published=published
        )
        yield Written(draft.symbol, draft.tone, item)
