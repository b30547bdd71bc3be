"""Orders and positions as status and doctor see them: a record that was written late changes nothing."""

from decimal import Decimal as D
from typing import Any

import pytest

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.tape.status import readers
from tests.support import desks

CLUSTER = Cluster("nowhere:9")


def of(monkeypatch: pytest.MonkeyPatch, *bodies: dict[str, Any]) -> None:
    monkeypatch.setattr(readers, "_bodies", lambda cluster, name, back: iter(bodies))


def test_an_order_is_as_its_highest_number_says_even_if_a_lower_one_was_written_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    intent, accepted = desks.order(state="INTENT", seq=0), desks.order(state="ACCEPTED", seq=1)
    of(monkeypatch, intent, accepted, intent)
    assert [each.state for each in readers.orders(CLUSTER)] == ["ACCEPTED"]
    of(monkeypatch, intent, accepted, desks.order(state="FILLED", seq=2), accepted, intent)
    assert readers.orders(CLUSTER) == ()


def test_the_time_of_a_state_is_that_of_its_first_record(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [("INTENT", 10), ("UNKNOWN", 20), ("INTENT", 10), ("UNKNOWN", 30)]
    numbers = (0, 1, 0, 2)
    of(
        monkeypatch,
        *(
            desks.order(state=state, event_time=at, seq=seq)
            for (state, at), seq in zip(told, numbers, strict=True)
        ),
    )
    assert [(each.state, each.since) for each in readers.orders(CLUSTER)] == [("UNKNOWN", 20)]


def test_a_position_is_as_the_newest_record_of_its_newest_opening_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened, closed = desks.position(seq=0), desks.position(seq=1, qty=D(0), state="CLOSED")
    of(monkeypatch, opened, closed, opened)
    assert readers.positions(CLUSTER) == ()
    again = desks.position("another", seq=0, opened_at=closed["opened_at"] + 1)
    of(monkeypatch, opened, closed, again, closed)
    assert [each.state for each in readers.positions(CLUSTER)] == ["OPEN"]
