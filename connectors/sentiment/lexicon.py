"""The lexicon engine: counts of positive and negative words, with negation."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tapedeck.connectors.sentiment import words
from tapedeck.connectors.sentiment.scorer import LABEL_THRESHOLD, Mattered, Model, Score, scored
from tapedeck.streams.stages.links.text import MAX_CHARS

NEGATIONS = frozenset({"not", "no", "never", "without"})
REACH = 3
"""Tokens after a negation in which a hit changes side."""
_SIDES = {"pos": 1, "up": 1, "neg": -1, "down": -1}
_TOKEN = re.compile(r"\w+(?:'\w+)*")


class Hit(NamedTuple):
    """A word of the list, and its side where it stands: 1 or -1."""

    token: str
    side: int


class Lexicon:
    """p_pos = a / (a + b + 1), p_neg = b / (a + b + 1) of a positive and b negative hits."""

    def __init__(self, threshold: float = LABEL_THRESHOLD) -> None:
        self._threshold = threshold
        self._sides = {word: _SIDES[kind] for word, kind in words.classes().items() if kind in _SIDES}
        self.model = Model("lexicon", "tapedeck-words-1", words.digest())

    def score(self, texts: Sequence[str]) -> list[Score]:
        """A score per text, in order."""
        return [self._one(text) for text in texts]

    def mattered(self, text: str, count: int) -> list[Mattered]:
        """The first ``count`` hits; each weighs 1."""
        return [Mattered(hit.token, float(hit.side)) for hit in self.hits(text)][:count]

    def hits(self, text: str) -> Iterator[Hit]:
        """The words of ``text`` that the list has, in order."""
        negated = -REACH - 1
        for place, token in enumerate(_TOKEN.findall(text[:MAX_CHARS].lower().replace("\u2019", "'"))):
            side = self._sides.get(token)
            if side is not None:
                yield Hit(token, -side if place - negated <= REACH else side)
            if token in NEGATIONS or token.endswith("n't"):
                negated = place

    def _one(self, text: str) -> Score:
        sides = [hit.side for hit in self.hits(text)]
        pos, neg = sides.count(1), sides.count(-1)
        total = pos + neg + 1
        return scored(pos / total, neg / total, self.model, self._threshold)
