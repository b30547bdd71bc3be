"""Expiry, exercise and assignment of held contracts (docs/domain.md#expiry).

The broker reports what became of a contract; no clock closes a position. After the close of its last session
an open one is CLOSING until the activity arrives, which may be a day later. Each leg is independent and has
its own id, so deliveries in any order, with any repeats, give the same positions.

The premium of an exercised or assigned contract is realised with the contract's own leg, which ends at 0: a
long one realises -(average cost) x quantity x multiplier, like one that expires worthless. Its shares come in
at the strike. Brokers' tax lots put the premium into the shares' cost instead. The two differ in where they
show the amount, never in the amount.
"""

from collections.abc import Iterator
from typing import Any

from tapedeck.streams.sessions import CalendarUnknown
from tapedeck.streams.stages.account import fills
from tapedeck.streams.stages.account.rules.orders import Side
from tapedeck.streams.stages.account.rules.positions import Execution, Owner, Position, describe
from tapedeck.streams.stages.account.state import AccountDrop, Book
from tapedeck.streams.stages.account.turn import Turn

SHARES = "OPTRD"
NO_ORDER = ""


def await_activity(turn: Turn) -> None:
    """Mark positions in expired contracts as CLOSING: their activity is due."""
    for instrument, position in _expired(turn):
        book = turn.state.books[instrument]
        if position.position_id not in book.closing:
            book.closing.append(position.position_id)
            fills.publish_position(turn, instrument, position, turn.event)


def _expired(turn: Turn) -> Iterator[tuple[str, Position]]:
    for instrument, position in fills.open_positions(turn):
        expiry = describe(instrument).expiry
        if expiry is not None and (expiry < turn.session or (expiry == turn.session and _closed(turn))):
            yield instrument, position


def _closed(turn: Turn) -> bool:
    """True after today's close."""
    try:
        today = turn.calendar.session_on(turn.session)
    except CalendarUnknown:
        return False
    return today is not None and turn.now >= today.close


def on_activity(turn: Turn, payload: dict[str, Any]) -> None:
    """Fold one leg, once. Its time is the UTC midnight that ends its date: after every fill of that day."""
    state, instrument, contract = turn.state, payload["instrument"], payload["contract"]
    identity = f"{payload['activity_type']}|{payload['activity_id']}"
    if identity in state.executions:
        return turn.drop(AccountDrop.DUPLICATE_EXECUTION)
    executed_at = (payload["date"] + 1) * fills.DAY_US
    if turn.now - executed_at > fills.EXECUTION_IDS_DAYS * fills.DAY_US:
        return turn.drop(AccountDrop.EXECUTION_TOO_OLD)
    if executed_at - turn.now > fills.AHEAD_DAYS * fills.DAY_US:
        return turn.drop(AccountDrop.FROM_THE_FUTURE)
    owner, strategy = _whose(turn, contract or instrument)
    execution = Execution(
        execution_id=identity,
        executed_at=executed_at,
        side=Side.BUY if payload["qty"] > 0 else Side.SELL,
        qty=abs(payload["qty"]),
        price=payload["price"],
        fee=payload["price"] * 0,
        client_order_id=NO_ORDER,
        owner=owner,
        strategy=strategy,
        closes_only=payload["activity_type"] != SHARES,
    )
    state.executions[identity] = turn.session
    fills.fold_in(turn, instrument, execution, "ACTIVITY")
    return None


def _whose(turn: Turn, contract: str) -> tuple[Owner, str | None]:
    """Owner and strategy of a contract: its shares inherit them."""
    book = turn.state.books.get(contract, Book())
    ours = [each.strategy for each in book.executions if each.owner is Owner.TAPEDECK]
    ours += [order.strategy for _, order in sorted(turn.state.orders.items()) if order.instrument == contract]
    return (Owner.TAPEDECK, ours[0]) if ours else (Owner.EXTERNAL, None)
