"""Orders that belong together: what replaced an order, and all that work in one instrument.

Used by every broker that speaks Alpaca's language. Each function is given the calls it may make.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal

from tapedeck.connectors.broker import Doubt, NotFound, OrderReply, Refused
from tapedeck.streams.stages.account.rules.orders import OrderState

_LONGEST = 20
"""Replacements that are followed: a person changes an order a few times, and no list is endless."""


def followed(order: OrderReply, read: Callable[[str], OrderReply]) -> OrderReply:
    """``order``, or what replaced it in the end, under the first one's client id.

    Its fills are those of the whole chain: an order that was replaced keeps what it had filled. The chain
    ends where the broker does not know a successor. ``read`` may raise Doubt.
    """
    chain = [order]
    while chain[-1].state is OrderState.REPLACED and len(chain) <= _LONGEST:
        successor = chain[-1].replaced_by
        if successor is None or successor in {each.broker_order_id for each in chain}:
            break
        try:
            chain.append(read(successor))
        except NotFound:
            break
    if len(chain) == 1:
        return order
    filled = sum((each.filled_qty for each in chain), Decimal(0))
    paid = sum((each.filled_qty * (each.filled_avg_price or 0) for each in chain), Decimal(0))
    return replace(
        chain[-1],
        client_order_id=order.client_order_id,
        created_at=order.created_at,
        filled_qty=filled,
        filled_avg_price=(paid / filled).quantize(Decimal("0.000001")) if filled else None,
    )


def rooted(order: OrderReply, read: Callable[[str], OrderReply]) -> OrderReply:
    """``order`` under the client id of the first one in its chain: what replaced our order is ours."""
    first, seen = order, {order.broker_order_id}
    while first.replaces is not None and first.replaces not in seen and len(seen) <= _LONGEST:
        try:
            first = read(first.replaces)
        except NotFound:
            break
        seen.add(first.broker_order_id)
    return replace(order, client_order_id=first.client_order_id)


def cancel_each(working: Iterable[OrderReply], instrument: str, cancel: Callable[[str], None]) -> int:
    """Request a cancel of every order of ``instrument``; returns how many were asked.

    An order that has ended meanwhile is no error. A cancel in doubt does not keep the others from being
    asked, and is raised after them.
    """
    wanted = [each.part_of or each.broker_order_id for each in working if each.instrument == instrument]
    asked, doubt = 0, None
    for order_id in dict.fromkeys(wanted):
        try:
            cancel(order_id)
        except NotFound:
            continue
        except Refused:
            pass
        except Doubt as error:
            doubt = error
        asked += 1
    if doubt is not None:
        raise doubt
    return asked
