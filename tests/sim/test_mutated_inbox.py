"""10,000 changed records of an account's inbox: none stops the stage, and what follows is folded as well."""

import random
from collections import Counter
from functools import cache

import pytest

from tapedeck.schemas.errors import DeadLetter, Fatal
from tapedeck.streams.protocol import Row
from tests.support.account import Inbox, check_schemas, make_stage
from tests.support.cases import few
from tests.support.inbox_mutations import busy, changed, damaged, shifted

PER_SEED = 1_000
WAYS = (changed, changed, changed, shifted, damaged)
"""Values are changed more often than times and bytes."""


@cache
def day() -> tuple[list[Row], list[bytes | None]]:
    """The records of a busy day, and the state before each of them."""
    inbox, stage = busy(), make_stage(ticker_cooldown_minutes=1)
    states: list[bytes | None] = [None]
    for row in inbox.rows:
        states.append(stage.step(b"large", states[-1], [row]).state)
    assert states[-1] == inbox.state
    return inbox.rows, states


def test_the_day_has_every_kind_of_record() -> None:
    kinds = {row.body["payload"][0].rpartition(".")[2] for row in day()[0]}
    assert kinds == {
        "InboxStarted", "InboxSignal", "InboxQuote", "InboxChain", "InboxAccount", "InboxBroker",
        "InboxBrokerRow", "InboxStream", "InboxControl", "InboxHalt", "InboxOrder", "InboxExecution",
        "InboxActivity", "InboxTick", "InboxBar", "InboxRegime", "InboxEarnings",
    }  # fmt: skip


@pytest.mark.parametrize("seed", few(range(10), 2))
def test_no_changed_record_stops_the_stage(seed: int) -> None:
    rows, states = day()
    rng, came, done = random.Random(seed), Counter[str](), 0
    while done < PER_SEED:
        at = rng.randrange(len(rows))
        row = rng.choice(WAYS)(rows[at], rng)
        if row is None or row.body["account_id"] != "large":
            continue
        done += 1
        came[fold(states[at], row, rows[at])] += 1
    assert came["outputs"] > 200 and came["drop"] > 10 and came["dead letter"] > 10, came
    assert came["stage error"] < PER_SEED / 100, came


def fold(state: bytes | None, odd: Row, good: Row) -> str:
    """What the changed record came to; the good one is folded behind it."""
    stage, came = make_stage(ticker_cooldown_minutes=1), "nothing"
    try:
        step = stage.step(b"large", state, [odd])
    except DeadLetter as error:
        assert str(error) and error.reason
        came = "dead letter"
    except Fatal:
        raise
    except (OSError, OverflowError):  # a time beyond every calendar: the shell makes a dead letter of it
        came = "stage error"
    else:
        check_schemas(step.outs)
        came = "outputs" if step.outs else "drop" if step.drops else "nothing"
        state = step.state
    behind = stage.step(b"large", state, [good])
    check_schemas(behind.outs)
    assert stage.step(b"large", behind.state, [tick(good)]).state
    return came


def tick(row: Row) -> Row:
    return row._replace(body=row.body | {"event_id": "0" * 32, "payload": ("tapedeck.InboxTick", {})})


def test_a_record_that_was_not_changed_is_no_dead_letter() -> None:
    rows, states = day()
    for state, row in zip(states, rows, strict=False):
        assert fold(state, row, row) != "dead letter"
    assert isinstance(busy(), Inbox)
