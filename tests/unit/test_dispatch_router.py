"""Signals minute by minute, and the newest bar that was seen: what the live and the simulated share."""

from typing import Any

from tapedeck.connectors.dispatch.inbox import Newest
from tapedeck.connectors.dispatch.newest import NewestSeen
from tapedeck.connectors.dispatch.router import MinuteRouter
from tapedeck.schemas.codec import encode, load_schema
from tapedeck.schemas.golden import samples_of
from tapedeck.streams.contract import Message
from tapedeck.streams.watermarks import headers_for
from tapedeck.topics.catalogue import WATERMARK_KEY

MINUTE = 60_000_000


def _signal(symbol: str, offset: int, partition: int = 0, value: bytes | None = None) -> Message:
    body: dict[str, Any] = samples_of(load_schema("signals"))[0] | {"symbol": symbol}
    return Message("signals", partition, offset, 0, symbol.encode(), value or encode("signals", body), ())


def _mark(minute: int, offset: int, partition: int = 0) -> Message:
    return Message("signals", partition, offset, 0, WATERMARK_KEY, None, tuple(headers_for(minute * MINUTE)))


def test_a_minute_is_held_until_every_partition_has_ended_it() -> None:
    router = MinuteRouter(2)
    for message in (_signal("A", 0), _mark(1, 1), _signal("B", 2), _signal("C", 0, 1)):
        router.put(message)
    assert list(router.minutes()) == []
    router.put(_mark(1, 1, 1))
    (minute,) = router.minutes()
    assert minute.label == MINUTE
    assert sorted(signal["symbol"] for signal in minute.signals) == ["A", "C"]
    assert len(minute.messages) == 4
    router.put(_mark(2, 3))
    router.put(_mark(2, 2, 1))
    (second,) = router.minutes()
    assert [signal["symbol"] for signal in second.signals] == ["B"]


def test_what_cannot_be_read_is_handed_on_and_the_minute_goes_on() -> None:
    router = MinuteRouter(1)
    broken, unlabelled = _signal("A", 0, value=b"junk"), _mark(1, 1)._replace(headers=())
    for message in (broken, unlabelled, _signal("B", 2), _mark(1, 3), _mark(1, 4), _mark(2, 5)):
        router.put(message)
    first, second = router.minutes()
    assert [signal["symbol"] for signal in first.signals] == ["B"]
    assert [(message, error.reason) for message, error in first.dead] == [
        (broken, "BAD_PREFIX"), (unlabelled, "BAD_WATERMARK"),
    ]  # fmt: skip
    assert [message.offset for message in (*first.messages, *second.messages)] == [0, 1, 2, 3, 4, 5]


def test_the_newest_is_the_latest_seen_and_never_older_than_the_signals_own() -> None:
    seen = NewestSeen()
    for name, minute in (("bars", 7), ("bars", 5), ("features", 4)):
        seen.see(Message(name, 0, 0, (minute + 1) * MINUTE // 1000, b"A", b"", ()))
    seen.see(_mark(9, 1))
    assert seen.of("A", 3 * MINUTE) == Newest(7 * MINUTE, 4 * MINUTE)
    assert seen.of("A", 6 * MINUTE) == Newest(7 * MINUTE, 6 * MINUTE)
    assert seen.of("B", 6 * MINUTE) == Newest(6 * MINUTE, 6 * MINUTE)
