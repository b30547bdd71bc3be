"""Sessions in which orders end, change and are taken back, in every way there is."""

from dataclasses import replace
from decimal import Decimal

from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.faults import Fault
from tapedeck.connectors.paper.market import Listing
from tapedeck.connectors.paper.orders import Order
from tapedeck.streams.stages.account.rules.gate_types import KillState
from tests.support.firing.registry import session, with_limits
from tests.support.floor import DAY_CALL, NUMBER, Floor
from tests.support.paper import CLOSE, MINUTE


def working(**groups: object) -> Floor:
    """An opening that works at the exchange and is not filled."""
    floor = Floor(**groups)  # type: ignore[arg-type]
    floor.arm(Fault.NO_FILL, "submit", count=20, seconds=20_000)
    floor.signal()
    assert floor.orders()[-1]["state"] == "ACCEPTED"
    return floor


def at_the_exchange(paper: PaperExchange) -> Order:
    """The newest order in the account's book."""
    return list(paper.books[NUMBER].orders.values())[-1]


@session
def an_order_is_filled_in_parts() -> Floor:
    floor = Floor()
    floor.arm(Fault.PARTIAL_FILL, "fill", seconds=60)
    return floor.signal().move(90)


@session
def the_exchange_lists_no_execution_of_a_filled_order() -> Floor:
    floor = Floor()
    floor.arm(Fault.UPDATE_LOST, count=4)
    floor.arm(Fault.LAGGING_ACTIVITIES, count=1_000, seconds=3_600)
    return floor.signal().wait_for(lambda: not floor.state.parents, 420)


@session
def no_step_of_the_ladder_is_filled() -> Floor:
    floor = working()
    return floor.wait_for(lambda: not floor.state.parents, 300)


@session
def no_cancel_is_obeyed_before_the_close() -> Floor:
    floor = Floor(now=CLOSE - 33 * MINUTE, config=with_limits(last_entry_day_min=30))
    floor.arm(Fault.NO_FILL, "submit", count=20, seconds=20_000)
    floor.arm(Fault.CANCEL_IGNORED, "cancel", count=99)
    return floor.signal().until(CLOSE + 2 * MINUTE)


@session
def an_order_is_accepted_and_then_rejected() -> Floor:
    floor = Floor()
    floor.arm(Fault.REJECT, "submit")
    return floor.signal().move(5)


@session
def the_exchange_ends_an_order_for_the_day() -> Floor:
    floor = working()
    floor.paper.say(NUMBER, "done_for_day", at_the_exchange(floor.paper), status="done_for_day")
    return floor.move(5)


@session
def an_order_is_replaced_by_one_that_nobody_knows() -> Floor:
    floor = working()
    order = at_the_exchange(floor.paper)
    order.replaced_by = "00000000-0000-0000-0000-000000000000"
    floor.paper.end(NUMBER, order, "replaced", "replaced")
    return floor.move(5)


@session
def the_exchange_says_a_word_that_is_not_known() -> Floor:
    floor = working()
    order = at_the_exchange(floor.paper)
    floor.paper.say(NUMBER, "frozen", order, status="frozen")
    return floor.move(3)


@session
def an_order_never_arrives() -> Floor:
    floor = Floor()
    floor.arm(Fault.DROP_BEFORE, "submit", count=9)
    return floor.signal().move(180)


@session
def the_rate_is_used_up() -> Floor:
    floor = Floor()
    floor.arm(Fault.RATE_LIMIT, "submit", seconds=30)
    return floor.signal().move(60)


@session
def the_account_only_decides() -> Floor:
    return Floor(config=with_limits(mode="SHADOW")).signal().move(5)


@session
def an_opening_is_stopped_by_a_halt() -> Floor:
    floor = working()
    floor.arm(Fault.CANCEL_PENDING, "cancel", seconds=3)
    floor.control(KillState.HALTED)
    return floor.move(400)


@session
def a_halted_account_cannot_sell() -> Floor:
    floor = Floor()
    floor.opened()
    floor.arm(Fault.NO_FILL, "submit", count=20, seconds=20_000)
    floor.control(KillState.HALTED)
    return floor.move(30)


@session
def the_next_step_has_an_old_quote() -> Floor:
    floor = working()
    floor.market.age_s = 600
    return floor.move(60)


@session
def the_next_step_has_a_wide_spread() -> Floor:
    floor = working()
    floor.market.price(DAY_CALL, "1.80", "2.20")
    return floor.move(60)


@session
def the_underlying_moves_before_the_next_step() -> Floor:
    floor = working()
    floor.market.price("NVDA", "152.98", "153.02")
    return floor.move(60)


@session
def the_stream_is_lost_before_the_next_step() -> Floor:
    floor = Floor()
    floor.arm(Fault.NO_FILL, "submit", count=20, seconds=20_000)
    floor.arm(Fault.STREAM_CUT, "update", seconds=600)
    return floor.signal().move(150)


@session
def what_is_being_bought_is_closed() -> Floor:
    """A person buys the contract that an opening works for, and then wants it closed."""
    floor = Floor(config=with_limits({"order": {"step_s": 60}}))
    floor.arm(Fault.NO_FILL, "submit", seconds=20_000)
    floor.signal().by_hand(symbol=DAY_CALL, limit_price="2.02", qty="1")
    floor.wait_for(lambda: bool(floor.held()), 20)
    return floor.close(DAY_CALL).move(60)


@session
def a_part_of_what_is_being_closed_is_sold_by_another_hand() -> Floor:
    floor = Floor(config=with_limits({"order": {"step_s": 60}}))
    floor.opened()
    floor.arm(Fault.NO_FILL, "submit", seconds=20_000)
    floor.close(DAY_CALL)
    ours = at_the_exchange(floor.paper)
    theirs = replace(
        ours, id="theirs", client_order_id="theirs", qty=Decimal(1), limit_price=None, type="market",
        rests_until=None, executions=[],
    )  # fmt: skip
    floor.paper.place(NUMBER, theirs)
    return floor.move(30)


@session
def the_broker_shows_a_short() -> Floor:
    floor = Floor()
    floor.paper.books[NUMBER].ledger.move(Listing("AMD", "AMD", 1, None), Decimal(-7), Decimal(100))
    floor.compare()
    return floor.move(60)


@session
def less_than_a_share_is_left() -> Floor:
    floor = Floor()
    floor.paper.books[NUMBER].ledger.move(Listing("AMD", "AMD", 1, None), Decimal("0.5"), Decimal(100))
    floor.compare()
    return floor.move(60)


@session
def a_close_is_tried_many_times() -> Floor:
    floor = Floor(config=with_limits({"exit": {"max_attempts": 2}}))
    floor.opened()
    floor.arm(Fault.REFUSE_QTY, "submit", count=99)
    return floor.close(DAY_CALL).move(60)
