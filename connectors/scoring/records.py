"""From items and what their scoring came to, the records of ``sentiment``."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from tapedeck.connectors.scoring.order import Item, Mark, Step, Unreadable, scored_links
from tapedeck.connectors.sentiment.scorer import Outcome, Score, Scorer, SentimentReason, outcomes
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.identity import RULES_VERSION, event_id
from tapedeck.streams.protocol import Message
from tapedeck.topics.catalogue import topic

TOPIC = "sentiment"
TRIES = 3
_AS_LINKED = (
    "event_time", "source", "native_id", "updated_at", "event_uid", "scope", "story", "folded", "author_hash",
)  # fmt: skip
_OF_SCORE = ("score", "confidence", "p_pos", "p_neg", "p_neu", "engine", "model_id")


class Record(NamedTuple):
    """A record to write, and the message that it came of."""

    body: dict[str, Any]
    cause: Message


class Refused(NamedTuple):
    """A message that goes to the dead letters."""

    message: Message
    error: DeadLetter


Output = Record | Refused | Mark


def needs_score(item: Item) -> bool:
    """Whether a record is to be written for a symbol that the item names."""
    return any(link["symbol"] in item.symbols for link in scored_links(item.body))


def judged(
    scorer: Callable[[], Scorer], texts: Sequence[str], most: int, pause: Callable[[], object] = lambda: None
) -> list[Outcome]:
    """What each text's scoring comes to, at most ``most`` texts of similar length in a call.

    A text that fails is tried TRIES times, with a ``pause`` before each but the first.
    """
    found = [Outcome(SentimentReason.SCORE_FAILED, None)] * len(texts)
    left = sorted(range(len(texts)), key=lambda place: (len(texts[place]), place))
    for number in range(TRIES):
        if left and number:
            pause()
        for start in range(0, len(left), most):
            places = left[start : start + most]
            told = outcomes(scorer(), [texts[place] for place in places])
            for place, outcome in zip(places, told, strict=True):
                found[place] = outcome
        left = [place for place in left if found[place].reason is SentimentReason.SCORE_FAILED]
    return found


def outputs_of(
    steps: Sequence[Step], outcomes: Sequence[Outcome], config_digest: str, counts: Counter[str]
) -> Iterator[Output]:
    """What is to be written for ``steps``, in order; ``outcomes``: one per item that needs a score.

    ``counts`` is told of each item by reason, and of each RETRACTED record.
    """
    scored = iter(outcomes)
    for step in steps:
        if isinstance(step, Mark):
            yield step
        elif isinstance(step, Unreadable):
            counts["IN"] += 1
            counts[step.error.reason] += 1
            yield Refused(step.message, step.error)
        else:
            counts["IN"] += 1
            outcome = next(scored) if needs_score(step) else None
            counts[outcome.reason if outcome else _unscored(step)] += 1
            yield from _of_item(step, outcome, config_digest, counts)


def _unscored(item: Item) -> SentimentReason:
    if item.body["list_post"]:
        return SentimentReason.LIST_POST
    return SentimentReason.REPEATED if item.body["links"] else SentimentReason.NO_SYMBOL


def _of_item(
    item: Item, outcome: Outcome | None, config_digest: str, counts: Counter[str]
) -> Iterator[Output]:
    for symbol in item.body["dropped"]:
        if symbol in item.symbols:
            counts[SentimentReason.RETRACTED] += 1
            yield Record(_body(item, symbol, None, None, config_digest), item.message)
    if outcome is None:
        return
    if outcome.reason is SentimentReason.SCORE_FAILED:
        error = DeadLetter(
            f"the text could not be scored in {TRIES} tries",
            value=item.body["event_uid"],
            reason=SentimentReason.SCORE_FAILED,
            remedy="the scorer's log says why; it is in no window, and counts as unscored",
        )
        yield Refused(item.message, error)
        return
    for link in scored_links(item.body):
        if link["symbol"] in item.symbols:
            body = _body(item, link["symbol"], link["confidence"], outcome, config_digest)
            yield Record(body, item.message)


def _body(
    item: Item, symbol: str, link_confidence: float | None, outcome: Outcome | None, config_digest: str
) -> dict[str, Any]:
    score: Score | None = outcome.score if outcome else None
    inputs = [item.body["event_id"]]
    body = {name: item.body[name] for name in _AS_LINKED}
    body |= {name: getattr(score, name, None) for name in _OF_SCORE}
    body |= {
        "config_digest": config_digest,
        "rules_version": RULES_VERSION,
        "inputs": inputs,
        "symbol": symbol,
        "reason": str(outcome.reason if outcome else SentimentReason.RETRACTED),
        "link_confidence": link_confidence,
        "label": str(score.label) if score else None,
        "model_digest": score.model_digest if score else "",
    }
    natural = [body[name] for name in topic(TOPIC).natural_key]
    return body | {"event_id": event_id(TOPIC, natural, config_digest=config_digest, inputs=inputs)}
