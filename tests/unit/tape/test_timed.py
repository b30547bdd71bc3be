"""Records at their own times, also where Kafka's are others: what windows of a log are looked up by."""

import pytest

from tapedeck.connectors.recorded.window import inbox, slices
from tapedeck.streams.blocks import MemorySource, Source
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.tape.explain.lookup import Lookup
from tapedeck.tape.timed import TimedSource
from tapedeck.topics.catalogue import CATALOGUE
from tests.support.paths import morning
from tests.support.sim_tapes import small_tape

START = small_tape().first_live
NAMES = ("bars", "features", "account_inbox")
APPENDED = START // 1000 + 40 * 86_400_000


def source(stamp: int | None = None) -> MemorySource:
    """The morning, with Kafka times from ``stamp`` (ms) on where it is given; negative: no time at all."""
    log = morning().log
    messages: list[Message] = []
    for name in (each.name for each in CATALOGUE):
        held = log.messages(name)
        for place, message in enumerate(held):
            other = message.timestamp if stamp is None else stamp if stamp < 0 else stamp + place
            messages.append(message._replace(timestamp=other))
    return MemorySource(log.layout, messages, size=200)


@pytest.mark.parametrize("stamp", [APPENDED, -1], ids=["append time", "no time"])
def test_a_window_is_found_by_the_records_times_and_the_others_are_told_of_once_per_topic(stamp: int) -> None:
    told: list[str] = []
    usual, odd = Lookup(source()), Lookup(TimedSource(source(stamp), told.append))
    found = 0
    for name in NAMES:
        for partition in range(usual.layout.partitions(name)):
            window = (name, partition), START + 30 * MINUTE_US, START + 60 * MINUTE_US
            right = [m.offset for m in usual.between(*window) if m.value is not None]
            assert [m.offset for m in odd.between(*window) if m.value is not None] == right
            found += len(right)
    assert found > 100
    assert sorted(words.split()[4] for words in told) == sorted(NAMES)
    untold = Lookup(source(stamp)).between(("bars", 0), START, START + 60 * MINUTE_US)
    assert not list(untold), "the broker's index alone finds nothing"


def test_our_own_times_are_believed_without_a_word() -> None:
    told: list[str] = []
    plain = source()
    timed = TimedSource(plain, told.append)
    for each in CATALOGUE:
        for part in timed.ends([each.name]):
            assert timed.offset_at(part, START) == plain.offset_at(part, START)
    assert told == []


def test_an_inbox_ends_where_its_records_say() -> None:
    end = START + 60 * MINUTE_US
    right = [m.offset for m in inbox(source(), "large", end)]
    odd = [m.offset for m in inbox(TimedSource(source(APPENDED), lambda words: None), "large", end)]
    assert odd == right != []
    assert not list(inbox(source(APPENDED), "large", end)), "by Kafka's times it is empty"


def test_minutes_are_the_same_whatever_kafka_says() -> None:
    def minutes(source: Source) -> list[list[int]]:
        found = slices(source, ("bars",), START + 30 * MINUTE_US, START + 40 * MINUTE_US)
        return [[m.offset for m in each.messages] for each in found]

    right = minutes(source())
    assert len(right) == 10
    assert minutes(TimedSource(source(-1), lambda words: None)) == right
