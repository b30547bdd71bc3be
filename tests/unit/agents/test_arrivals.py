"""A record in another partition than its key's is told, whatever its key looks like."""

import logging

import pytest

from tapedeck.agents.arrivals import Strays
from tapedeck.streams.protocol import Message
from tapedeck.topics.catalogue import WATERMARK_KEY, Layout

LAYOUT = Layout()
HOME = LAYOUT.partition("bars", {"symbol": "AMD"})
OTHER = (HOME + 1) % LAYOUT.symbol_partitions


def record(key: bytes | None, partition: int, name: str = "bars") -> Message:
    return Message(name, partition, 41, 0, key, b"1", ())


def test_a_stray_is_told_once_per_partition_with_its_home_and_the_remedy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    strays = Strays(LAYOUT)
    with caplog.at_level(logging.WARNING):
        assert [strays.is_stray(record(b"AMD", OTHER)) for _ in range(3)] == [True] * 3
    (told,) = caplog.messages
    for part in (f"bars/{OTHER}", "key AMD", "offset 41", f"partition {HOME}", "partitioner=murmur2_random"):
        assert part in told


@pytest.mark.parametrize(
    "message",
    [
        record(b"AMD", HOME),
        record(None, OTHER),
        record(WATERMARK_KEY, OTHER),
        record(b"AMD260220C00150000", OTHER, "quotes"),  # its underlying decides
        record(b"AMD", 0, "scores"),  # one partition
    ],
    ids=["at home", "no key", "watermark", "key does not decide", "one partition"],
)
def test_what_may_stand_there_is_no_stray(message: Message) -> None:
    assert not Strays(LAYOUT).is_stray(message)


def test_the_partition_of_a_compound_key_is_its_account_s() -> None:
    body = {"account_id": "large", "signal_id": "s"}
    home = LAYOUT.partition("proposals", body)
    assert not Strays(LAYOUT).is_stray(record(b"large|s", home, "proposals"))
    assert Strays(LAYOUT).is_stray(record(b"large|s", (home + 1) % LAYOUT.account_partitions, "proposals"))
