"""Sources that tap tests read: a simulated morning, and small logs made for one case."""

from collections.abc import Iterable, Iterator

import polars as pl

from tapedeck.schemas.codec import encode
from tapedeck.streams.blocks import Block
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import Message
from tapedeck.tape.notebook.memory import MemoryTape
from tapedeck.tape.notebook.times import shown
from tapedeck.topics.catalogue import CATALOGUE, Layout, topic
from tests.support.paths import morning

MINUTE = 60_000_000
START = 1_709_908_200_000_000
"""2024-03-08T09:30 in New York."""


def at(minute: int) -> str:
    """``minute`` minutes after START, as text."""
    return shown(START + minute * MINUTE)


def minutes(frame: pl.DataFrame) -> list[int]:
    """Each row's minutes after START."""
    return [(time - START) // MINUTE for time in frame["event_time"].dt.epoch("us").to_list()]


class Watched(MemoryTape):
    """Records which partitions were streamed, and whether it was closed."""

    def __init__(self, layout: Layout, messages: Iterable[Message], size: int = 1000) -> None:
        super().__init__(layout, messages, size)
        self.streamed: list[Part] = []
        self.is_open = True

    def close(self) -> None:
        self.is_open = False

    def stream(self, part: Part, start: int, end: int) -> Iterator[Block]:
        self.streamed.append(part)
        yield from super().stream(part, start, end)


def played(size: int = 1000) -> Watched:
    """All topics of the morning."""
    log = morning().log
    return Watched(log.layout, (m for each in CATALOGUE for m in log.messages(each.name)), size)


def bar(symbol: str, at: int, *, revision: int = 0, event_id: str = "", origin: str = "test") -> dict:
    """A bar whose event_time is ``at``, UTC microseconds."""
    return {
        "event_id": event_id or f"{symbol}-{at}-{revision}", "event_time": at, "symbol": symbol,
        "feed": "iex", "t": at - 60_000_000, "revision": revision,
        "open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5,
        "volume": 10.0, "origin": origin,
    }  # fmt: skip


def log_of(name: str, bodies: Iterable[dict], *, first: int = 0, layout: Layout = Layout()) -> list[Message]:  # noqa: B008
    """The records of ``bodies``, each in its partition, with offsets from ``first`` on."""
    chosen, made, ends = topic(name), [], {}
    for body in bodies:
        part = layout.partition(name, body)
        offset = ends.get(part, first)
        ends[part] = offset + 1
        value = encode(chosen.schema, body)
        made.append(
            Message(name, part, offset, body["event_time"] // 1000, chosen.record_key(body), value, ())
        )
    return made
