"""A jump in the offsets is looked into once: what is there, what is a hole, and what is neither."""

import asyncio
from typing import Any

import pytest

from tapedeck.agents.gaps import AHEAD, Guard, Hole, last_record_end
from tapedeck.connectors.kafka.bulk.source import Look
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.streams.protocol import Message

PART = ("bars", 1)
NOWHERE = Cluster("127.0.0.1:1")


class FakeLog:
    """A log with records at ``there``, nothing at ``lost`` and control records at every other offset."""

    def __init__(self, low: int, end: int, there: Any = (), lost: Any = ()) -> None:
        self._bounds, self._there, self._lost = (low, end), set(there), set(lost)
        self.looks: list[tuple[int, int]] = []

    def ends(self, names: tuple[str, ...]) -> dict[tuple[str, int], tuple[int, int]]:
        return dict.fromkeys([PART], self._bounds)

    def look(self, part: tuple[str, int], start: int, end: int) -> Look:
        self.looks.append((start, end))
        asked = range(start, end)
        messages = [Message(*PART, at, 0, b"A", b"1", ()) for at in asked if at in self._there]
        return Look(messages, [(at, at + 1) for at in asked if at in self._lost], end)


def between(guard: Guard, start: int, end: int) -> tuple[list[int], list[Hole]]:
    found = asyncio.run(guard.between(PART, start, end))
    return [message.offset for message in found.messages], found.holes


def test_control_records_are_no_holes_and_the_jumps_of_many_transactions_cost_one_look() -> None:
    log = FakeLog(0, 500, there=[n for n in range(500) if n % 5 != 4])
    guard = Guard(NOWHERE, log)
    for at in range(4, 500, 5):
        assert between(guard, at, at + 1) == ([], [])
    assert log.looks == [(4, 500)]


def test_a_look_is_bounded_and_the_next_one_goes_on_behind_it() -> None:
    log = FakeLog(0, 5 * AHEAD)
    guard = Guard(NOWHERE, log)
    for at in (10, 3 * AHEAD):
        between(guard, at, at + 1)
    assert log.looks == [(at, at + 1 + AHEAD) for at in (10, 3 * AHEAD)]


def test_what_was_not_delivered_is_given_and_what_the_log_lacks_is_a_hole() -> None:
    guard = Guard(NOWHERE, FakeLog(0, 100, there=[11, 13, 50], lost=[12]))
    assert between(guard, 10, 15) == ([11, 13], [Hole(*PART, 12, 13, "HOLE_IN_LOG")])
    assert between(guard, 14, 20) == ([], [])


def test_what_the_log_no_longer_keeps_is_told_from_a_hole() -> None:
    log = FakeLog(30, 100, there=[40], lost=[31])
    expected = [Hole(*PART, 10, 30, "RETENTION"), Hole(*PART, 31, 32, "HOLE_IN_LOG")]
    assert between(Guard(NOWHERE, log), 10, 35) == ([], expected)
    assert between(Guard(NOWHERE, log), 10, 20) == ([], [Hole(*PART, 10, 20, "RETENTION")])
    assert log.looks[0] == (30, 100)


def test_a_new_generation_looks_again() -> None:
    log = FakeLog(0, 100)
    guard = Guard(NOWHERE, log)
    between(guard, 4, 5)
    guard.forget()
    between(guard, 4, 5)
    assert len(log.looks) == 2


@pytest.mark.parametrize(("there", "expected"), [([99], 100), ([40], 41), ([0], 1), ([], 0)])
def test_a_recovery_ends_behind_the_last_record_whatever_stands_after_it(there: Any, expected: int) -> None:
    log = FakeLog(0, 100, there)
    assert last_record_end(log, PART, 0, 100) == expected
    assert len(log.looks) <= 4
