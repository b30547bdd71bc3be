"""Orders from INTENT to their end: sending, broker replies, doubt (docs/domain.md#orders)."""

from typing import Any

from tapedeck.streams.config.accounts import Mode
from tapedeck.streams.stages.account.order_state import Order
from tapedeck.streams.stages.account.rules.money import ZERO
from tapedeck.streams.stages.account.rules.orders import OrderReason, OrderState, may_move
from tapedeck.streams.stages.account.rules.requests import Cancel, FetchOrder, Submit
from tapedeck.streams.stages.account.state import AccountDrop
from tapedeck.streams.stages.account.turn import Turn

_AT_BROKER = frozenset(OrderState) - {OrderState.INTENT, OrderState.UNKNOWN, OrderState.NOT_SENT}
WORKING = frozenset(
    {
        OrderState.SUBMITTED,
        OrderState.ACCEPTED,
        OrderState.PARTIAL,
        OrderState.CANCEL_PENDING,
        OrderState.UNRECOGNISED,
    }
)


def publish(turn: Turn, order: Order, reason: OrderReason | None, detail: str | None, cause: str) -> None:
    """One ``orders`` record: the order as it is now."""
    parent = turn.state.parents.get(order.parent or "")
    fields = {
        "client_order_id": order.client_order_id,
        "seq": order.seq,
        "state": order.state.value,
        "reason": reason.value if reason else None,
        "detail": detail,
        "broker_order_id": order.broker_order_id,
        "raw_status": order.raw_status,
        "signal_id": order.signal_id,
        "instrument": order.instrument,
        "underlying": order.underlying,
        "side": order.side.value,
        "intent": order.intent.value,
        "purpose": order.purpose.value,
        "attempt": order.attempt,
        "qty": order.qty,
        "limit_price": order.limit_price,
        "filled_qty": order.reported,
        "filled_avg_price": order.average_price,
        "time_in_force": "day",
        "position_id": parent.position_id if parent else None,
        "exit_reason": parent.rule.value if parent and parent.rule else None,
    }
    turn.emit("orders", fields, [cause])


def move(
    turn: Turn, order: Order, state: OrderState, reason: OrderReason | None, detail: str | None = None
) -> None:
    """Put ``order`` into ``state`` and publish it. The caller has checked ``may_move``.

    What is filled while it is in doubt does not make the doubt a new one.
    """
    if state is not OrderState.UNKNOWN or order.state is not state:
        order.since = turn.now
    order.state = state
    turn.folds.doubted = None
    order.seq += 1
    if state in _AT_BROKER and order.accepted_at is None:
        order.accepted_at = turn.now
    publish(turn, order, reason, detail, turn.event)


def note(turn: Turn, order: Order, reason: OrderReason, detail: str | None = None) -> None:
    """Say more of an order whose state stays: why no other follows it."""
    order.seq += 1
    publish(turn, order, reason, detail, turn.event)


def place(turn: Turn, order: Order, cause: str) -> None:
    """Publish INTENT first, then request the sending. A shadow account ends here."""
    turn.state.orders[order.client_order_id] = order
    order.since = turn.now
    publish(turn, order, None, None, cause)
    if turn.account.mode is Mode.SHADOW:
        move(turn, order, OrderState.NOT_SENT, OrderReason.SHADOW_NOT_SENT)
        return
    turn.request(
        Submit(
            client_order_id=order.client_order_id,
            instrument=order.instrument,
            underlying=order.underlying,
            side=order.side,
            intent=order.intent,
            qty=order.qty,
            limit_price=order.limit_price,
        )
    )


def cancel(turn: Turn, order: Order, reason: OrderReason) -> None:
    """Ask for a cancel of a working order. Nothing is free before its terminal state and its executions."""
    order.cancelling = reason
    order.cancels += 1
    move(turn, order, OrderState.CANCEL_PENDING, reason)
    request = Cancel(client_order_id=order.client_order_id, broker_order_id=order.broker_order_id)
    turn.request(request, number=order.cancels)


def ask_about(turn: Turn, order: Order, after_s: int) -> None:
    """Ask the broker for the order by its client id, after a pause."""
    order.asking_after_s = after_s
    order.questions += 1
    turn.request(FetchOrder(client_order_id=order.client_order_id, after_s=after_s), number=order.questions)


def _pause(turn: Turn, asked: int) -> int:
    """Seconds from one question to the next: ``order.doubt_s`` are times since the doubt began."""
    times = (0, *turn.config.order.doubt_s)
    at = min(asked, len(times) - 2)
    return times[at + 1] - times[at]


def doubt(turn: Turn, order: Order, detail: str | None) -> None:
    """The outcome of a call is not known: go to UNKNOWN, and ask by id. Never send again."""
    if order.terminal:
        return turn.drop(AccountDrop.STALE_REPLY)
    if order.state is not OrderState.UNKNOWN:
        order.not_found = 0
        move(turn, order, OrderState.UNKNOWN, OrderReason.STATE_UNKNOWN, detail)
    if order.asking_after_s is None:
        ask_about(turn, order, _pause(turn, order.not_found))
    return None


def _not_found(turn: Turn, order: Order, detail: str | None) -> None:
    """Handle a definite "no such order". After one per entry of ``order.doubt_s``, it was never sent."""
    if order.terminal:
        return turn.drop(AccountDrop.STALE_REPLY)
    if order.state is not OrderState.UNKNOWN:
        order.not_found = 0
        move(turn, order, OrderState.UNKNOWN, OrderReason.STATE_UNKNOWN, detail)
    order.not_found += 1
    if order.not_found < len(turn.config.order.doubt_s):
        ask_about(turn, order, _pause(turn, order.not_found))
        return None
    move(turn, order, OrderState.NOT_SENT, OrderReason.NOT_FOUND_AT_BROKER, detail)
    return None


def _reason(order: Order, new: OrderState) -> OrderReason | None:
    old = order.state
    if new is OrderState.CANCELED:
        return order.cancelling
    if new is OrderState.REJECTED:
        return OrderReason.BROKER_REJECTED
    if new is OrderState.NOT_SENT:
        return OrderReason.KEPT_BACK
    return OrderReason.SENT if old is OrderState.INTENT else None


def on_order(turn: Turn, payload: dict[str, Any]) -> None:
    """Fold one broker reply or trade update about an order."""
    order = turn.state.orders.get(payload["client_order_id"])
    if order is None:
        return turn.drop(AccountDrop.UNKNOWN_ORDER)
    if payload["source"] == "REST":
        order.asking_after_s = None
    if payload["doubt"]:
        return doubt(turn, order, payload["error"])
    if not payload["found"]:
        return _not_found(turn, order, payload["error"])
    new = OrderState(payload["state"] or OrderState.UNRECOGNISED)
    if not order.terminal:  # what replaced it has an id of its own
        order.broker_order_id = payload["broker_order_id"] or order.broker_order_id
    if new is OrderState.REPLACED and payload["source"] == "STREAM":
        return _replaced(turn, order)
    filled = payload["filled_qty"] or ZERO
    more = filled > order.reported
    if more:
        order.reported, order.average_price = filled, payload["filled_avg_price"]
    if more and new is OrderState.PARTIAL and order.state is OrderState.CANCEL_PENDING:
        new = order.state  # a part was filled before the cancel: it is still pending
    hangs = new is OrderState.CANCEL_PENDING and order.state is OrderState.UNKNOWN and order.cancelling
    if hangs:
        new = order.state  # nobody knows how it ends as long as its cancel is pending
        if order.asking_after_s is None:
            ask_about(turn, order, _pause(turn, len(turn.config.order.doubt_s)))
        if not more:
            return None
    if not may_move(order.state, new) and not (more and new is order.state):
        return turn.drop(AccountDrop.STALE_REPLY)
    order.raw_status = payload["raw_status"]
    if new is OrderState.FILLED:
        order.reported = max(order.reported, order.qty)
    return move(turn, order, new, _reason(order, new), payload["error"])


def _replaced(turn: Turn, order: Order) -> None:
    """Somebody changed a working order: what replaced it is ours, and the broker knows how that stands."""
    if not order.terminal and order.asking_after_s is None:
        ask_about(turn, order, 0)


def resume(turn: Turn) -> None:
    """After a start: an order whose sending was not confirmed is in doubt; a working one is looked up."""
    for _, order in sorted(turn.state.orders.items()):
        if order.state is OrderState.INTENT:
            doubt(turn, order, "restarted before the broker's answer")
        elif order.state is OrderState.UNKNOWN:
            ask_about(turn, order, order.asking_after_s or _pause(turn, order.not_found))
        elif order.state in WORKING:
            ask_about(turn, order, 0)
