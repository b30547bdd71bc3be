"""The one interface of all sentiment engines, and what a text's scoring can come to."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from tapedeck.schemas.errors import Retry
from tapedeck.streams.stages.links.text import MAX_CHARS
from tapedeck.streams.stages.sentiment_windows.rule import Label

LABEL_THRESHOLD = 0.05
PLACES = 6
"""Decimals of a probability. Sums of float64 differ between machines in the sixteenth place at most, so that
six are the same everywhere; an engine whose own arithmetic differs by more rounds to fewer."""
FALLBACK = "LIGHT_FALLBACK"
"""The engine of a score that the light one gave because the wanted one failed or took too long."""


class SentimentReason(StrEnum):
    """What the scoring of a text came to; the last four, of an item whose text is not scored."""

    SCORED = "SCORED"
    LIGHT_FALLBACK = "LIGHT_FALLBACK"
    SCORE_FAILED = "SCORE_FAILED"
    EMPTY_TEXT = "EMPTY_TEXT"
    RETRACTED = "RETRACTED"
    LIST_POST = "LIST_POST"
    NO_SYMBOL = "NO_SYMBOL"
    REPEATED = "REPEATED"


class ScoreFailed(Retry):
    """An engine could not score a text."""


class Model(NamedTuple):
    """Which engine and model a score is from; ``digest``: 16 hex over all that decides its scores."""

    engine: str
    model_id: str
    digest: str


class Score(NamedTuple):
    """One text's score: probabilities that sum to 1, ``score`` in [-1, 1], ``confidence`` in [1/3, 1]."""

    p_pos: float
    p_neg: float
    p_neu: float
    score: float
    confidence: float
    label: Label
    engine: str
    model_id: str
    model_digest: str


class Mattered(NamedTuple):
    """A part of a text, and by how much it moved the score: above 0 towards positive. No unit."""

    token: str
    weight: float


class Outcome(NamedTuple):
    """What a text's scoring came to; ``score`` is None where there is none, never a neutral 0."""

    reason: SentimentReason
    score: Score | None


class Scorer(Protocol):
    """An engine with its model. Its score of a text does not depend on the texts beside it."""

    @property
    def model(self) -> Model:
        """What stands beside every score."""

    def score(self, texts: Sequence[str]) -> list[Score]:
        """A score per text, in order. Raises ScoreFailed where the batch cannot be scored."""

    def mattered(self, text: str, count: int) -> list[Mattered]:
        """The ``count`` parts of ``text`` that moved its score most; none where the engine cannot tell."""


def scored(p_pos: float, p_neg: float, model: Model, threshold: float, places: int = PLACES) -> Score:
    """The score of two probabilities, rounded to ``places``; the third is what is left of 1."""
    pos, neg = round(p_pos, places), round(p_neg, places)
    neu = max(0.0, round(1.0 - pos - neg, places))
    score = round(pos - neg, PLACES)
    return Score(pos, neg, neu, score, max(pos, neg, neu), label_of(score, threshold), *model)


def label_of(score: float, threshold: float) -> Label:
    """The label; exactly the threshold is still neutral."""
    if score > threshold:
        return Label.POSITIVE
    return Label.NEGATIVE if score < -threshold else Label.NEUTRAL


def outcomes(scorer: Scorer, texts: Sequence[str]) -> list[Outcome]:
    """What each text's scoring comes to, in order. A text that fails does not take its batch with it."""
    cut = [text[:MAX_CHARS] for text in texts]
    places = [place for place, text in enumerate(cut) if not is_empty(text)]
    found = [Outcome(SentimentReason.EMPTY_TEXT, None)] * len(cut)
    for place, each in zip(places, _each(scorer, [cut[place] for place in places]), strict=True):
        found[place] = each
    return found


def is_empty(text: str) -> bool:
    """Whether there is nothing to score: neither a letter or digit nor a symbol such as an emoji."""
    return not any(char.isprintable() and not char.isspace() for char in text)


def _each(scorer: Scorer, texts: list[str]) -> list[Outcome]:
    try:
        return [_told(score) for score in scorer.score(texts)] if texts else []
    except ScoreFailed:
        if len(texts) == 1:
            return [Outcome(SentimentReason.SCORE_FAILED, None)]
    return [outcome for text in texts for outcome in _each(scorer, [text])]


def _told(score: Score) -> Outcome:
    fell_back = score.engine == FALLBACK
    return Outcome(SentimentReason.LIGHT_FALLBACK if fell_back else SentimentReason.SCORED, score)
