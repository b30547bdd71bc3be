"""The log of a worker process: floods are cut, ours are whole, tracebacks only where they tell something."""

import logging
import sys

import pytest

from tapedeck.agents.journal import EVERY_S, Sparing
from tapedeck.schemas.errors import Fatal


class Hand:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def hand() -> Hand:
    return Hand()


def line(name: str, template: str, *values: object) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, template, values, None)


def test_a_library_that_repeats_itself_is_heard_now_and_then_with_a_count(hand: Hand) -> None:
    sparing = Sparing(hand)
    kept = []
    for n in range(60):
        hand.time = n * 0.25
        record = line("aiokafka", "Unable connect to node with id %s: %s", n, "100%")
        if sparing.filter(record):
            kept.append(record.getMessage())
    assert kept == [
        "Unable connect to node with id 0: 100%",
        "Unable connect to node with id 40: 100% (and 39 times since the last such line)",
    ]


def test_lines_of_another_kind_and_our_own_are_never_kept_back(hand: Hand) -> None:
    sparing = Sparing(hand)
    assert sparing.filter(line("aiokafka", "one"))
    assert sparing.filter(line("aiokafka", "two"))
    assert sparing.filter(line("aiokafka.consumer", "one"))
    assert all(sparing.filter(line("tapedeck.runner", "same")) for _ in range(5))
    hand.time = EVERY_S
    assert sparing.filter(line("aiokafka", "one"))


@pytest.mark.parametrize(("error", "shown"), [(Fatal("the disk is full"), False), (KeyError("x"), True)])
def test_a_traceback_is_shown_for_errors_that_do_not_explain_themselves(
    hand: Hand, error: Exception, shown: bool
) -> None:
    record = line("tapedeck.runner", "it cannot go on")
    try:
        raise error
    except type(error):
        record.exc_info = sys.exc_info()
    assert Sparing(hand).filter(record)
    assert bool(record.exc_info) is shown
