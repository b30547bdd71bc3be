"""Cancels, and the races that they can lose."""

from tapedeck.connectors.paper.engine import Engine
from tapedeck.connectors.paper.faults import Fault
from tapedeck.connectors.paper.orders import HELD, PENDING_CANCEL, UNPROCESSABLE, Order, Refusal
from tapedeck.streams.protocol import SECOND_US


def cancel(engine: Engine, number: str, order: Order) -> None:
    """Cancel a working order, or what a fault makes of that. Raises Refusal, 422, for one that cannot be."""
    if order.status == PENDING_CANCEL:
        raise Refusal(422, UNPROCESSABLE, "order pending cancel")
    if not order.is_open:
        raise _too_late(order)
    faults = engine.faults
    if faults.take(Fault.CANCEL_REFUSED, "cancel", number):
        raise Refusal(422, UNPROCESSABLE, "order is not cancelable")
    if faults.take(Fault.CANCEL_IGNORED, "cancel", number):
        return
    _overtake(engine, number, order)
    wait = faults.seconds(Fault.CANCEL_PENDING, "cancel", number)
    if wait is not None:
        order.ends_at = engine.now + max(1, round(wait * SECOND_US))
        engine.say(number, PENDING_CANCEL, order, status=PENDING_CANCEL)
    else:
        engine.end(number, order, "canceled", "canceled")


def _overtake(engine: Engine, number: str, order: Order) -> None:
    """An execution arrives before the cancel: of all of the order, or of a part. Raises Refusal after all."""
    price = order.limit_price or engine.other_side(order.listing, order.side)
    if order.status == HELD or not price or not engine.trades(order.listing):
        return
    if engine.faults.take(Fault.CANCEL_FILLED, "cancel", number):
        engine.fill(number, order, order.remaining, price)
        raise _too_late(order)
    if order.remaining >= 2 and engine.faults.take(Fault.CANCEL_PART_FILLED, "cancel", number):
        engine.fill(number, order, engine.a_part(number, order), price)


def _too_late(order: Order) -> Refusal:
    return Refusal(422, UNPROCESSABLE, f'order is already in "{order.status}" state')
