"""Which story an item tells: near-duplicate titles fold into the earliest (docs/domain.md#stories).

The result depends on the order of the items and on nothing else, so that a replay folds the same.
"""

import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from tapedeck.streams.config.text_groups import Ingest

HOUR_US = 3_600_000_000
_PUBLISHER = " - "
_MIN_LETTERS = 2


class Title(NamedTuple):
    """A normalized title: its words in order, and the set of them."""

    words: tuple[str, ...]
    tokens: frozenset[str]


def normalized(title: str) -> Title:
    """The words of ``title`` in NFKC and case-folded, without a trailing " - Publisher" or single letters."""
    text = unicodedata.normalize("NFKC", title).casefold()
    head, dash, _ = text.rpartition(_PUBLISHER)
    words = _words(head) if dash else []
    found = tuple(words or _words(text))
    return Title(found, frozenset(found))


def _words(text: str) -> list[str]:
    spaced = "".join(letter if letter.isalnum() else " " for letter in text)
    return [word for word in spaced.split() if len(word) >= _MIN_LETTERS]


def jaccard(ours: Collection[str], theirs: Collection[str]) -> float:
    """Common members over all members of two sets; 0 where both are empty."""
    both = {*ours} & {*theirs}
    return len(both) / (len(ours) + len(theirs) - len(both)) if both else 0.0


@dataclass(frozen=True, slots=True)
class Item:
    """One item: ``uid`` of its version, event time in UTC microseconds, the symbols that it is linked to."""

    uid: str
    event_time: int
    title: Title
    symbols: frozenset[str]


def story_of(item: Item, earlier: Iterable[Item], config: Ingest) -> Item | None:
    """The story in ``earlier`` that ``item`` folds into, None where it begins one.

    ``earlier`` holds the first item of each story. Of several the one with the most common words counts, then
    the earliest, then the one with the smallest uid.
    """
    best: tuple[float, int, str] | None = None
    found = None
    for story in earlier:
        alike = likeness(item, story, config)
        if alike is None:
            continue
        rank = (-alike, story.event_time, story.uid)
        if best is None or rank < best:
            best, found = rank, story
    return found


def is_near(item: Item, story_time: int, story_symbols: Collection[str], config: Ingest) -> bool:
    """Whether an item and a story may be told together by their times and symbols, whatever their titles."""
    if abs(item.event_time - story_time) > config.fold_hours * HOUR_US:
        return False
    return not item.symbols.isdisjoint(story_symbols) or not (item.symbols or story_symbols)


def likeness(item: Item, story: Item, config: Ingest) -> float | None:
    """The Jaccard index of two titles that may tell one story; None where they do not."""
    if not is_near(item, story.event_time, story.symbols, config):
        return None
    ours, theirs = item.title, story.title
    if min(len(ours.tokens), len(theirs.tokens)) < config.fold_min_tokens:
        return 1.0 if ours.words and ours.words == theirs.words else None
    alike = jaccard(ours.tokens, theirs.tokens)
    return alike if alike >= config.fold_jaccard else None
