"""One symbol's hour with its records changed, and ``why`` asked about its signal's minute."""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from tapedeck.schemas.codec import decode, encode
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import Message
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.why.report import Why, why_from
from tapedeck.topics.catalogue import CATALOGUE, WATERMARK_KEY, Layout
from tests.support.paths import CONFIG, bodies, morning

SYMBOL = "AMD"
_LISTS = ("universe", "watchlist", *(each.name for each in CATALOGUE if each.part == "account_id"))
Body = dict[str, Any]
Change = Callable[[Body], Body | None]


@cache
def signal() -> Body:
    """The first signal of the morning: both accounts traded it."""
    return next(body for body in bodies(morning().log, "signals") if body["symbol"] == SYMBOL)


def at() -> int:
    return int(signal()["bar_t"])


@cache
def recorded() -> tuple[Message, ...]:
    """The symbol's records of the hour before the signal, the lists and the accounts' records."""
    found = (m for each in CATALOGUE if each.schema for m in morning().log.messages(each.name))
    since = at() // 1000 - 3_600_000
    keys = (SYMBOL.encode(), WATERMARK_KEY)
    return tuple(m for m in found if m.topic in _LISTS or (m.key in keys and m.timestamp > since))


def told(messages: Iterable[Message], config: Config = CONFIG, **options: Any) -> Why:
    return why_from(TOPOLOGY, MemorySource(Layout(), messages), config, SYMBOL, **options)


def changed(changes: dict[str, Change]) -> list[Message]:
    """The records with those of some topics changed; a change that returns None removes the record."""
    found = []
    for message in recorded():
        change = changes.get(message.topic)
        if change is None or message.value is None:
            found.append(message)
            continue
        body = change(decode(message.topic, message.value))
        if body is not None:
            found.append(message._replace(value=encode(message.topic, body)))
    return found


def of_minute(field: str, **fields: Any) -> Change:
    """Changes the record of the minute in question."""
    return lambda body: body | fields if body[field] == at() else body


def without_minute(field: str) -> Change:
    return lambda body: None if body[field] == at() else body


def nothing(_: Body) -> None:
    return None


def no_signal(**decision: Any) -> dict[str, Change]:
    held = {"action": "HOLD", "strategy": None} | decision
    return {"decisions": of_minute("bar_t", **held), "signals": nothing}


def first(found: Why) -> tuple[str, str, str]:
    """(stage, reason, by how much) of the only outcome."""
    (outcome,) = found.outcomes
    assert outcome.words
    return outcome.stage, outcome.reason, str(outcome.miss or outcome.detail)
