"""Each rule of the judge of sessions fires on a log that was doctored, and is silent on the one before."""

from collections.abc import Callable
from decimal import Decimal as D
from typing import Any

import pytest

from tapedeck.connectors.paper.door import Entry
from tapedeck.connectors.paper.faults import Fault
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import example_account
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.wire import Wire, record_wire
from tapedeck.topics.catalogue import Layout, topic
from tests.support import desks
from tests.support.judge import Watch, judge
from tests.support.paper import CALL, MINUTE, PUT, SECOND, TEN, TINY, exchange, order

ACCOUNT = example_account("tiny", "tiny")
ID, OTHER = "td1-a", "td1-b"


class Session:
    """One account that bought two calls and sold them again, and knows it."""

    def __init__(self) -> None:
        self._booked = self._written = 0
        self.config = Config(accounts=(ACCOUNT,))
        self.exchange, self.log, self.passed = exchange(), MemoryLog(Layout()), list[str]()
        self.trade(ID, limit_price="2.10")
        self.trade(OTHER, side="sell", position_intent="sell_to_close", limit_price="2.00")
        for name in (ID, OTHER):
            for state in ("INTENT", "FILLED"):
                self.told(name, state)
        self.book()

    def trade(self, name: str, **changes: Any) -> None:
        self.exchange.submit(TINY.number, order(name, **changes))
        self.called("submit", name, 200)

    def book(self) -> None:
        """The account is told of what was executed since, each under its order."""
        book = self.exchange.books[TINY.number]
        for each in book.executions[self._booked :]:
            self.executed(each.execution_id, book.orders[each.order_id].client_order_id)
        self._booked = len(book.executions)

    def executed(self, execution_id: str, name: str) -> None:
        self.write("executions", desks.adjustment(execution_id, client_order_id=name), TEN)

    def called(self, operation: str, name: str, outcome: int, told: Fault | None = None) -> None:
        self.exchange.door.note(Entry(self.exchange.now, TINY.number, operation, name, outcome, told))

    def write(self, name: str, body: dict[str, Any], at: int) -> None:
        self._written += 1
        body = body | {"event_time": at, "event_id": f"event-{self._written}"}
        self.log.append(record_wire(name, topic(name).record_key(body), body, self.log.layout, ()))

    def told(self, name: str, state: str, after_s: float = 0) -> None:
        """A record of an order, so long after the session's moment."""
        self.write("orders", desks.order(name, state=state), TEN + round(after_s * SECOND))

    def warned(self, *warnings: str, after_s: float) -> None:
        self.write("accounts", desks.account(warnings=list(warnings)), TEN + round(after_s * SECOND))


def found(doctor: Callable[[Session], object] = lambda run: None) -> list[str]:
    run = Session()
    doctor(run)
    return judge(run)


def test_an_undoctored_session_is_faultless_and_did_trade() -> None:
    run = Session()
    assert [each.side.value for each in run.exchange.books[TINY.number].executions] == ["BUY", "SELL"]
    assert judge(run) == []


def test_a_position_that_only_we_have() -> None:
    wrong = found(lambda run: run.write("positions", desks.position(), TEN))
    assert len(wrong) == 1 and wrong[0].startswith("tiny holds {'NVDA260220C00150000': Decimal('2")
    assert wrong[0].endswith("and the exchange says {}")


def test_a_position_that_only_the_exchange_has_is_told_and_that_it_was_held_over_the_close() -> None:
    def bought(run: Session) -> None:
        run.exchange.submit(TINY.number, order("by-hand"))
        run.book()

    wrong = found(bought)
    assert len(wrong) == 2 and wrong[0].startswith("tiny holds {}, and the exchange says {'NVDA2")
    assert "over the close" in wrong[1]


def test_a_position_on_which_both_sides_agree_must_not_be_held_over_the_close() -> None:
    def bought(run: Session) -> None:
        run.exchange.submit(TINY.number, order("by-hand"))
        run.book()
        run.write("positions", desks.position(instrument=CALL, qty=D(2)), TEN)

    (wrong,) = found(bought)
    assert "over the close" in wrong


def test_executions_are_booked_once_and_under_our_order_where_another_took_its_place() -> None:
    def replaced(run: Session, under: list[str]) -> None:
        run.exchange.faults.arm(Fault.REPLACED_BY_HAND)
        run.trade("td1-c", side="buy", limit_price="2.10")
        run.trade("td1-d", side="sell", position_intent="sell_to_close", limit_price="2.00")
        for name in ("td1-c", "td1-d"):
            run.told(name, "INTENT")
            run.told(name, "REPLACED" if name == "td1-c" else "FILLED")
        *_, bought, sold = run.exchange.books[TINY.number].executions
        for name in under:
            run.executed(bought.execution_id, name)
        run.executed(sold.execution_id, "td1-d")

    assert found(lambda run: replaced(run, ["td1-c"])) == []
    for under in ([], ["by-hand"], ["td1-c", "td1-c"]):
        (wrong,) = found(lambda run, under=under: replaced(run, under))  # type: ignore[misc]
        assert wrong.startswith("tiny books ") and wrong.endswith(f" of td1-c under {under}")


def test_an_event_that_is_written_again_after_a_crash_is_not_another_one() -> None:
    def again(run: Session) -> None:
        each = next(iter(run.log.messages("executions")))
        run.log.append(Wire(each.topic, each.partition, each.key, each.value, each.timestamp, []))

    assert found(again) == []


def test_an_execution_that_the_exchange_does_not_have() -> None:
    (wrong,) = found(lambda run: run.executed("x-1", ID))
    assert wrong == f"tiny books x-1 of ['{ID}'], which is not the exchange's"


def test_an_order_that_is_sent_again_without_a_question() -> None:
    wrong = found(lambda run: run.called("submit", ID, 422))
    assert wrong == [f"('PAPER-TINY', '{ID}') was sent again after 0 questions"]


def test_an_order_that_is_accepted_twice_although_the_exchange_was_asked() -> None:
    def twice(run: Session) -> None:
        for _ in range(4):
            run.called("order", ID, 404)
        run.called("submit", ID, 200)

    assert found(twice) == [f"('PAPER-TINY', '{ID}') was accepted 2 times"]


@pytest.mark.parametrize("questions, is_wrong", [(3, True), (4, False)])
def test_the_same_id_may_go_again_after_four_definite_answers_that_there_is_no_such_order(
    questions: int, is_wrong: bool
) -> None:
    def again(run: Session) -> None:
        run.called("submit", "td1-lost", 0, Fault.DROP_BEFORE)
        run.called("order", "td1-lost", 404, Fault.NOT_FOUND)  # a fault's answer is no definite one
        for _ in range(questions):
            run.called("order", "td1-lost", 404)
        run.called("submit", "td1-lost", 422)

    assert bool(found(again)) is is_wrong


@pytest.mark.parametrize("told, is_wrong", [(Fault.RATE_LIMIT, False), (Fault.GATEWAY_TIMEOUT_BEFORE, True)])
def test_the_same_id_may_go_again_after_a_refused_rate_and_not_after_a_timeout(
    told: Fault, is_wrong: bool
) -> None:
    def again(run: Session) -> None:
        run.called("submit", "td1-lost", 0, told)
        run.called("submit", "td1-lost", 422)

    assert bool(found(again)) is is_wrong


def test_a_call_before_the_reset_of_a_refused_rate() -> None:
    def called(run: Session, after_s: float) -> None:
        door, now = run.exchange.door, run.exchange.now
        run.exchange.faults.arm(Fault.RATE_LIMIT, operation="order", seconds=2)
        assert door.enter("order", TINY.number, now)
        assert bool(door.enter("order", TINY.number, now + round(after_s * SECOND))) is (after_s < 2)

    assert found(lambda run: called(run, 1.9)) == ["PAPER-TINY called 1 times too early"]
    assert found(lambda run: called(run, 2.0)) == []


def test_an_order_at_the_exchange_that_is_not_ours() -> None:
    def placed(run: Session) -> None:
        run.trade("td1-c", limit_price="1.00")
        run.trade("by-hand", limit_price="1.00")

    assert found(placed) == ["td1-c is at the exchange, and not ours"]


@pytest.mark.parametrize("state", ["INTENT", "SUBMITTED", "UNRECOGNISED"])
def test_an_order_whose_end_nobody_knows(state: str) -> None:
    assert found(lambda run: run.told(ID, state, 1)) == [f"{ID} is {state}, and the exchange says filled"]
    (wrong,) = found(lambda run: run.told("td1-c", state))
    assert wrong == f"td1-c is {state}, and the exchange says nothing"


@pytest.mark.parametrize("state", ["FILLED", "CANCELED", "NOT_SENT"])
def test_an_order_that_works_and_that_we_think_has_ended(state: str) -> None:
    def works(run: Session, told: str) -> None:
        run.trade("td1-c", limit_price="1.00")
        run.told("td1-c", told)

    assert found(lambda run: works(run, state)) == [f"td1-c is {state}, and works at the exchange"]
    assert found(lambda run: works(run, "ACCEPTED")) == []


@pytest.mark.parametrize("state", ["ACCEPTED", "PARTIAL", "CANCEL_PENDING"])
def test_an_order_that_has_ended_and_that_we_think_works(state: str) -> None:
    assert found(lambda run: run.told(ID, state, 1)) == [f"{ID} is {state}, and the exchange says filled"]


@pytest.mark.parametrize(
    "lasted_s, alarm_s, is_wrong",
    [(74, None, False), (76, None, True), (300, 61, False), (300, 76, True), (300, -5, True)],
)
def test_a_doubt_of_more_than_a_minute_without_an_alarm(
    lasted_s: float, alarm_s: float | None, is_wrong: bool
) -> None:
    def doubted(run: Session) -> None:
        run.told(ID, "UNKNOWN", 10)
        if alarm_s is not None:
            run.warned(f"ORDER_UNKNOWN:{ID}", after_s=10 + alarm_s)
        run.warned(f"ORDER_UNKNOWN:{OTHER}", f"DUST:{ID}", after_s=71)
        run.told(ID, "UNKNOWN", 20)
        run.told(ID, "FILLED", 10 + lasted_s)

    said = [f"{ID} was UNKNOWN for {lasted_s:.0f} s, without an alarm"]
    assert found(doubted) == (said if is_wrong else [])


def test_a_doubt_that_never_ends_is_two_faults_if_nobody_was_warned() -> None:
    def doubted(run: Session) -> None:
        run.told(ID, "UNKNOWN", 10)

    assert found(doubted) == [
        f"{ID} is UNKNOWN, and the exchange says filled",
        f"{ID} was UNKNOWN to the end, without an alarm",
    ]


@pytest.mark.parametrize(
    "name, limit, seen",
    [
        ("max_positions", 1, 2),
        ("max_pending_orders", 1, 2),
        ("max_contracts", 3, 4),
        ("max_exposure", 399, 400),
    ],
)
def test_a_limit_that_was_passed_at_any_moment_pending_orders_counted(
    name: str, limit: int, seen: int
) -> None:
    """Two calls and two puts of one underlying are bid for at 1.00, and nothing is filled."""

    def watched(most: int) -> list[str]:
        run = Session()
        watch = Watch(run.exchange, (ACCOUNT.model_copy(update={"max_contracts": 9, name: most}),))
        for placed, symbol in (("c", CALL), ("p", PUT)):
            run.exchange.submit(TINY.number, order(placed, symbol=symbol, limit_price="1.00"))
        run.exchange.advance(run.exchange.now + MINUTE)
        run.passed = watch.broken
        assert watch.highest["tiny", name] == seen
        return judge(run)

    assert watched(seen) == []
    wrong = watched(limit)
    assert wrong and all(each.startswith(f"tiny: {name} {seen}") for each in wrong)
