"""How far a demo's news came: from articles and posts to links, scores, windows and changed decisions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tapedeck.tape.recording import Body, Recording

_OTHERS = ("base", "volume", "move", "momentum")
_SAME = 1e-4
"""Factors are rounded, so their product is near the confidence of a signal without news."""
_ITEMS, _LINKS, _SCORED = ("news", "posts"), ("links", "post_links"), "sentiment"


@dataclass(frozen=True, kw_only=True)
class NewsSignal:
    """A signal whose confidence news changed: ``without`` is what it would be without news."""

    signal_id: str
    symbol: str
    action: str
    confidence: float
    without: float
    items: int
    mean: float


@dataclass(frozen=True, kw_only=True)
class NewsTold:
    """What came of the news. Each count is of different records.

    ``linked``: versions of items that name a symbol; ``folded``: those that tell a known story;
    ``retracted``: symbols that a later version no longer names; ``watch_scores`` and ``decisions``: those
    that count news.
    """

    articles: int
    posts: int
    linked: int
    folded: int
    scored: int
    retracted: int
    windows: int
    watch_scores: int
    decisions: int
    signals: tuple[NewsSignal, ...]

    def to_json(self) -> dict[str, Any]:
        """For ``summary.json``."""
        return {**vars(self), "signals": [vars(each) for each in self.signals]}


def news_told(recording: Recording) -> NewsTold | None:
    """None where there was no item at all."""
    articles, posts = (len(list(_bodies(recording, name))) for name in _ITEMS)
    if not articles and not posts:
        return None
    links = [body for name in _LINKS for body in _bodies(recording, name)]
    retracted = sum(body["reason"] == "RETRACTED" for body in _bodies(recording, _SCORED))
    return NewsTold(
        articles=articles,
        posts=posts,
        linked=sum(bool(body["links"]) for body in links),
        folded=sum(body["folded"] for body in links),
        scored=sum(body["score"] is not None for body in _bodies(recording, _SCORED)),
        retracted=retracted,
        windows=len(list(_bodies(recording, "sentiment_windows"))),
        watch_scores=sum(body["sentiment_n"] > 0 for body in _bodies(recording, "scores")),
        decisions=sum(body["sentiment_n"] > 0 for body in _bodies(recording, "decisions")),
        signals=tuple(sorted(_signals(recording), key=_by_effect)),
    )


def _bodies(recording: Recording, name: str) -> Iterator[Body]:
    """The distinct records of a topic; none where this pipeline does not have it."""
    found = recording.topics.get(name)
    yield from found.bodies.values() if found is not None else ()


def _signals(recording: Recording) -> Iterator[NewsSignal]:
    for body in _bodies(recording, "signals"):
        without = _without_news(body["factors"])
        if body["sentiment_n"] and without is not None and abs(body["confidence"] - without) > _SAME:
            yield NewsSignal(
                signal_id=body["signal_id"],
                symbol=body["symbol"],
                action=body["action"],
                confidence=body["confidence"],
                without=without,
                items=body["sentiment_n"],
                mean=body["sentiment_avg"],
            )


def _without_news(factors: Mapping[str, float | None]) -> float | None:
    """The confidence of the other factors, 1 at most; None for a signal that has no factors."""
    product = 1.0
    for name in _OTHERS:
        factor = factors[name]
        if factor is None:
            return None
        product *= factor
    return min(1.0, product)


def _by_effect(signal: NewsSignal) -> tuple[float, str]:
    """The largest effect first."""
    return -abs(signal.confidence - signal.without), signal.signal_id
