"""The core of market-data ingest on a Tuesday at ten in New York, and short ways to look at its steps."""

from datetime import UTC, datetime
from typing import Any

from tapedeck.connectors.alpaca.market.frames import Bar
from tapedeck.connectors.alpaca.market.ingest import Ingest
from tapedeck.connectors.alpaca.market.steps import Ask, Kind, Mark, Refuse, Step, Write
from tapedeck.streams.sessions import micros, xnys

SECOND, MINUTE = 1_000_000, 60_000_000
WANTED = ("NVDA", "AMD")


def at(text: str) -> int:
    return micros(datetime.fromisoformat(text).replace(tzinfo=UTC))


TEN = at("2026-02-17T15:00")
STARTED = TEN + 5 * SECOND  # the minute 14:59 is over


def bar(symbol: str = "NVDA", t: int = TEN, close: float = 2.0, updated: bool = False) -> Bar:
    return Bar(symbol, t, 1.0, 3.0, 0.5, close, 10.0, updated)


def started(now: int = STARTED, **options: Any) -> Ingest:
    """After its start, with the first backfill answered by nothing."""
    core = Ingest("iex", options.pop("wanted", WANTED), xnys(), now=now, **options)
    (ask,) = asks(core.begin(now))
    core.on_answer(ask, [], now)
    core._later.clear()
    return core


def asks(steps: list[Step]) -> list[Ask]:
    return [step for step in steps if isinstance(step, Ask)]


def bars(steps: list[Step]) -> list[tuple[str, int, int, float]]:
    return [
        (s.body["symbol"], s.body["t"], s.body["revision"], s.body["close"])
        for s in steps if isinstance(s, Write) and s.topic == "bars"
    ]  # fmt: skip


def labels(steps: list[Step]) -> list[int]:
    return [step.label for step in steps if isinstance(step, Mark)]


def events(steps: list[Step], *kinds: Kind) -> list[dict[str, Any]]:
    found = [s.body for s in steps if isinstance(s, Write) and s.topic == "market_events"]
    return [body for body in found if not kinds or body["kind"] in kinds]


def refused(steps: list[Step]) -> list[str]:
    return [step.reason for step in steps if isinstance(step, Refuse)]
