"""Where the stream of trade updates may have said too little, the broker is asked (D25)."""

from typing import Any

import pytest

from tapedeck.connectors.dispatch.hearing import HEARD, SILENT_S, Hearing, Requests
from tapedeck.connectors.dispatch.steps import FETCH_BROKER
from tapedeck.connectors.paper.faults import Fault
from tests.support.desk import Desk, payload, submit
from tests.support.paper import LARGE, order

Body = dict[str, Any]


class Ear:
    """A hearing over a dispatcher: what it appended, and what it plans, with each delay in seconds."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.appended = self.desk.heard
        self.plans: list[tuple[float, Requests]] = []
        self.hearing = Hearing(
            self.desk.desk, self.appended.extend, lambda delay_s, ask: self.plans.append((delay_s, ask))
        )
        self.desk.on_update = self.hearing.on_update

    def due(self) -> list[Body]:
        """The answers to what was planned."""
        plans, self.plans = self.plans, []
        return [answer for _, ask in plans for each in ask() for answer in self.desk.perform(dict(each))]

    def works(self) -> None:
        """Send an order that works, and that the stream speaks of."""
        self.desk.perform(submit(limit_price=submit().limit_price - 1))
        self.hearing.sent("td1-a")
        assert self.desk.desk.working

    def loses_the_updates(self, count: int = 2) -> None:
        """Send an order; the stream loses so many updates about it."""
        self.desk.paper.faults.arm(Fault.UPDATE_LOST, count=count)
        changes = {} if count == 2 else {"limit_price": submit().limit_price - 1}
        self.desk.perform(submit(**changes))
        self.hearing.sent("td1-a")
        assert self.desk.paper.faults.fired[Fault.UPDATE_LOST] == count and self.appended == []


@pytest.fixture
def ear() -> Ear:
    return Ear()


def kinds(answers: list[Body]) -> list[str]:
    return [str(each["payload"][0]).removeprefix("tapedeck.") for each in answers]


def test_what_is_filled_between_the_snapshot_and_the_first_connection_is_found(ear: Ear) -> None:
    ear.desk.desk.snapshot()
    ear.desk.paper.faults.arm(Fault.UPDATE_LOST, count=2)
    ear.desk.paper.submit(LARGE.number, order("td1-b"))  # by the process before this one
    assert ear.desk.paper.faults.fired[Fault.UPDATE_LOST] == 2
    ear.hearing.on_health(True, "connection 1")
    assert kinds(ear.appended) == ["InboxStream"]
    account, execution, held = ear.due()
    assert payload(account, "InboxAccount")["broker_account_id"] == LARGE.number
    assert payload(execution, "InboxExecution")["client_order_id"] == "td1-b"
    assert [each["qty"] for each in payload(held, "InboxBroker")["positions"]] == [2]


def test_a_connection_that_is_lost_asks_nothing(ear: Ear) -> None:
    ear.hearing.on_health(False, "cut")
    assert (kinds(ear.appended), ear.plans) == (["InboxStream"], [])


@pytest.mark.parametrize("client_id", ["td1-b", "by-hand"])
def test_FLD_T9_what_replaced_an_order_that_this_process_never_saw_is_its_senders(
    ear: Ear, client_id: str
) -> None:
    paper = ear.desk.paper
    ear.desk.desk.snapshot()
    paper.faults.arm(Fault.REPLACED_BY_HAND)
    paper.faults.arm(Fault.UPDATE_LOST, count=2)  # that it works, and that it was replaced
    paper.submit(LARGE.number, order(client_id))
    assert paper.faults.fired[Fault.REPLACED_BY_HAND] == 1 and paper.faults.fired[Fault.UPDATE_LOST] == 2
    assert ear.appended == [], "whose it is was not known"
    execution, held = ear.due()
    assert payload(execution, "InboxExecution")["client_order_id"] == client_id
    assert [each["qty"] for each in payload(held, "InboxBroker")["positions"]] == [2]
    assert ear.plans == [], "it was asked once"


def test_FLD_T9_what_works_in_the_place_of_our_order_is_listed_under_ours(ear: Ear) -> None:
    paper, price = ear.desk.paper, submit().limit_price - 1
    paper.faults.arm(Fault.REPLACED_BY_HAND)
    ear.desk.desk.snapshot()
    paper.submit(LARGE.number, order("td1-b", limit_price=str(price)))
    (told,) = ear.desk.perform(FETCH_BROKER)
    assert payload(told, "InboxBroker")["open_orders"] == ["td1-b"]
    (working,) = (each for each in paper.books[LARGE.number].working())
    paper.cancel(LARGE.number, working.id)
    assert payload(ear.appended[-1], "InboxOrder")["client_order_id"] == "td1-b" and ear.plans == []


def test_FLD_D25_an_order_that_the_stream_says_nothing_of_is_looked_up_by_its_client_id(ear: Ear) -> None:
    ear.loses_the_updates()
    assert [delay for delay, _ in ear.plans] == [SILENT_S]
    execution, found = ear.due()
    assert payload(execution, "InboxExecution")["client_order_id"] == "td1-a"
    assert payload(found, "InboxOrder")["state"] == "FILLED"
    assert ear.due() == ear.due() == [], "it has ended"


def test_FLD_D25_while_the_stream_stays_silent_the_order_is_looked_up_after_growing_pauses(ear: Ear) -> None:
    ear.loses_the_updates(count=1)
    delays, events = [], set()
    for _ in range(7):
        delays += [delay for delay, _ in ear.plans]
        ear.desk.move(1)
        events |= {answer["event_id"] for answer in ear.due()}
    assert delays == [2, 4, 8, 16, 32, 60, 60]
    assert len(events) == 7, "each look-up is an event of its own"


def test_an_order_of_which_the_stream_has_spoken_is_not_looked_up(ear: Ear) -> None:
    ear.works()
    assert kinds(ear.appended) == ["InboxOrder"]
    assert ear.due() == [] and ear.plans == []


def test_FLD_D25_updates_without_content_have_the_working_orders_looked_up_once(ear: Ear) -> None:
    ear.works()
    ear.plans.clear()
    for _ in range(100):
        ear.hearing.on_empty()
    assert [delay for delay, _ in ear.plans] == [SILENT_S]
    (found,) = ear.due()
    assert payload(found, "InboxOrder")["state"] == "ACCEPTED"
    ear.hearing.on_empty()
    assert len(ear.plans) == 1, "a later one counts anew"


def test_a_look_up_that_fails_casts_no_doubt_on_the_order(ear: Ear) -> None:
    ear.loses_the_updates()
    ear.desk.paper.faults.arm(Fault.GATEWAY_TIMEOUT_BEFORE, operation="order")
    assert ear.due() == []
    assert ear.desk.paper.faults.fired[Fault.GATEWAY_TIMEOUT_BEFORE] == 1
    assert kinds(ear.due()) == ["InboxExecution", "InboxOrder"], "it is looked up again"


def test_an_order_in_doubt_is_left_to_the_account_which_asks_itself(ear: Ear) -> None:
    ear.desk.paper.faults.arm(Fault.DROP_BEFORE, operation="submit")
    ear.desk.perform(submit())
    ear.hearing.sent("td1-a")
    assert ear.desk.desk.working and ear.due() == []


def test_a_heartbeat_tells_for_how_long_the_broker_was_not_heard() -> None:
    now = [100.0]
    hearing = Hearing(Desk().desk, lambda bodies: None, lambda delay, ask: None, monotonic=lambda: now[0])
    assert hearing.standing(None) == {}, "it was never heard"
    assert hearing.standing(88.0) == {HEARD: 12}, "a call succeeded twelve seconds ago"
    hearing.on_health(False, "refused")
    assert hearing.standing(None) == {}, "a connection that never was is not heard"
    hearing.on_health(True, "connected")
    now[0] = 900.0
    assert hearing.standing(88.0) == {HEARD: 0}, "a connection that is pinged is heard"
    hearing.on_health(False, "lost")
    now[0] = 930.0
    hearing.on_health(False, "refused")
    now[0] = 970.0
    assert hearing.standing(None) == {HEARD: 70}, "since it was lost, whatever was tried since"
    assert hearing.standing(965.0) == {HEARD: 5}
