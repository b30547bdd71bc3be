"""The newest bars and features of a session are those that a dispatcher sees message by message."""

from collections.abc import Iterator
from typing import Any, cast

from tapedeck.connectors.dispatch.freshness import NAMES, NewestSeen
from tapedeck.schemas.codec import encode
from tapedeck.streams.blocks import Block
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.watermarks import headers_for
from tapedeck.tape.backtest.fed import Fed, arrivals, minutes_of
from tapedeck.tape.backtest.newest import NewestOfDay
from tapedeck.topics.catalogue import WATERMARK_KEY

OPEN = 1_771_338_600_000_000 // MINUTE_US * MINUTE_US
DAY_US = 24 * 60 * MINUTE_US
SYMBOLS = ("AMD", "NVDA", "TSLA")


def bar(symbol: str, t: int, revision: int = 0) -> Message:
    body: dict[str, Any] = {
        "event_id": f"{t % 10**16:016d}{revision:016d}", "event_time": t + MINUTE_US, "symbol": symbol,
        "feed": "iex", "t": t, "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0 + revision, "volume": 1.0,
        "revision": revision, "origin": "synthetic/test",
    }  # fmt: skip
    value = encode("bars", body)
    return Message("bars", 0, 0, (t + MINUTE_US) // 1000, symbol.encode(), value, ())


def feature(symbol: str, t: int) -> Message:
    return Message("features", 0, 0, (t + MINUTE_US) // 1000, symbol.encode(), None, ())


def mark(name: str, label: int) -> Message:
    return Message(name, 0, 0, (label + MINUTE_US) // 1000, WATERMARK_KEY, None, tuple(headers_for(label)))


def fed(first: int, bars: list[Message], features: list[Message], signals: list[Message]) -> Fed:
    blocks = tuple(
        Block.of([each._replace(offset=n) for n, each in enumerate(some)])
        for some in (bars, features, signals)
    )
    labels = range(first, first + 4 * MINUTE_US, MINUTE_US)
    return Fed(0, labels, cast(Any, None), blocks, ("signals",))


def minute(name: str, label: int, *messages: Message) -> Iterator[Message]:
    yield from messages
    yield mark(name, label)


def days() -> Iterator[Fed]:
    """Two sessions: late bars, a revision, a symbol that is quiet, and a warm-up."""
    for first in (OPEN, OPEN + DAY_US):
        at = [first + n * MINUTE_US for n in range(4)]
        warm = [bar("AMD", first - 3 * MINUTE_US), mark("bars", first - MINUTE_US)]
        quiet = [bar("TSLA", at[0])] if first == OPEN else []
        bars = [
            *warm,
            *minute("bars", at[0], bar("AMD", at[0]), *quiet),
            *minute("bars", at[1], bar("NVDA", at[1]), bar("AMD", at[1])),
            *minute("bars", at[2], bar("AMD", at[0], revision=1), bar("NVDA", at[1], revision=1)),
            *minute("bars", at[3], bar("AMD", at[3])),
        ]
        features = [
            mark("features", first - MINUTE_US),
            *minute("features", at[0], feature("AMD", at[0])),
            *minute("features", at[1]),
            *minute("features", at[2], feature("AMD", at[2]), feature("AMD", at[1])),
            *minute("features", at[3], feature("NVDA", at[3])),
        ]
        yield fed(first, bars, features, [mark("signals", label) for label in (first - MINUTE_US, *at)])


def test_every_minute_is_the_one_that_messages_give() -> None:
    newest, seen = NewestOfDay(), NewestSeen()
    answers = []
    for day in days():
        newest.begin(day, SYMBOLS)
        waiting: list[tuple[int, Message]] = []
        for block in day.blocks:
            if block.topic in NAMES:
                rows = range(len(block))
                arrive = arrivals(block, cast(Any, list(rows)), day.labels[0]).tolist()
                waiting += zip(arrive, block.messages(), strict=True)
        for label in (day.labels[0] - MINUTE_US, *day.labels):
            newest.reach(label)
            for message in (each for at, each in waiting if at == label):
                seen.see(message)
            assert newest.bars(SYMBOLS) == seen.bars(SYMBOLS)
            for symbol in (*SYMBOLS, "MSFT"):
                assert newest.of(symbol, 0) == seen.of(symbol, 0)
                assert newest.of(symbol, label) == seen.of(symbol, label)
            answers.append(newest.of("AMD", 0))
    assert len(set(answers)) == len(answers) == 10, (
        "the answers change, and the next session goes on from the last"
    )


def test_a_revision_of_the_newest_bar_counts_and_one_of_an_older_bar_does_not() -> None:
    newest, day = NewestOfDay(), next(days())
    newest.begin(day, SYMBOLS)
    newest.reach(day.labels[2])
    found = newest.bars(SYMBOLS)
    assert {symbol: body["revision"] for symbol, body in found.items()} == {"AMD": 0, "NVDA": 1, "TSLA": 0}


def test_a_symbol_that_was_not_asked_for_is_unknown() -> None:
    newest, day = NewestOfDay(), next(days())
    newest.begin(day, ["AMD"])
    newest.reach(day.labels[3])
    assert set(newest.bars(SYMBOLS)) == {"AMD"}
    assert newest.of("NVDA", 7) == (7, 7)


def test_only_signals_and_their_watermarks_go_into_the_log() -> None:
    day = next(days())
    (minutes,) = minutes_of(day)
    assert list(minutes) == [day.labels[0] - MINUTE_US, *day.labels]
    assert all(message.topic == "signals" for some in minutes.values() for message in some)
