"""The account behind the credentials: identity, kill switch, trade stream, comparison with the broker."""

from typing import Any

from tapedeck.streams.rules.gate_types import Identity, KillState
from tapedeck.streams.rules.positions import describe
from tapedeck.streams.rules.requests import FetchAccount, FetchBroker
from tapedeck.streams.stages import account_fills as fills
from tapedeck.streams.stages import account_orders as orders
from tapedeck.streams.stages.account_state import BALANCES, AccountDrop, Snapshot
from tapedeck.streams.stages.account_turn import Turn

EVERY_SYMBOL = "*"
# an unasked snapshot may have been taken this long before it was appended
UNASKED_SNAPSHOT_US = 15_000_000


def _identity(turn: Turn, payload: dict[str, Any]) -> Identity:
    number, status = payload["broker_account_id"], payload["status"]
    if number is None or status is None:
        return Identity.ACCOUNT_UNVERIFIED
    same_url = payload["base_url"].rstrip("/") == turn.account.base_url.rstrip("/")
    if number == turn.account.broker_account_id and status == "ACTIVE" and same_url:
        return Identity.VERIFIED
    return Identity.ACCOUNT_MISMATCH


def on_account(turn: Turn, payload: dict[str, Any]) -> None:
    """Fold a reading of the broker account. A failed one changes nothing: the old one grows stale."""
    state = turn.state
    asked = state.outstanding.pop(payload["request_id"], None)
    if payload["error"] is not None:
        return
    requested_at = asked.at if asked else turn.now - UNASKED_SNAPSHOT_US
    balances = {name: payload[name] for name in BALANCES}
    state.snapshot = Snapshot(event_id=turn.event, at=turn.now, requested_at=requested_at, **balances)
    state.identity = _identity(turn, payload)
    state.spent = [spent for spent in state.spent if spent.at >= requested_at]
    turn.publish_account()


def on_control(turn: Turn, payload: dict[str, Any]) -> None:
    """Fold a kill-switch change of this account or of all; the newest of each scope counts."""
    scope, own = payload["scope"], turn.account.account_id
    if scope not in (own, EVERY_SYMBOL):
        return
    state = KillState.__members__.get(payload["state"], KillState.HALTED)  # an unknown word stops openings
    turn.state.kill[scope] = state
    if scope == own and state is KillState.ACTIVE:
        turn.state.alarm = None
    turn.publish_account()


def on_stream(turn: Turn, payload: dict[str, Any]) -> None:
    turn.state.stream_healthy = payload["healthy"]


def on_started(turn: Turn, payload: dict[str, Any]) -> None:
    """A process took the account over: nothing it held is trusted, every open question is asked again."""
    state = turn.state
    state.stream_healthy, state.reconciled, state.identity = None, False, Identity.ACCOUNT_UNVERIFIED
    for _, asked in sorted(state.outstanding.items()):
        turn.request(asked.request)
    if turn.outstanding(FetchAccount) is None:
        turn.ask(FetchAccount(request_id=turn.new_id("FETCH_ACCOUNT")))
    if turn.outstanding(FetchBroker) is None:
        turn.ask(FetchBroker(request_id=turn.new_id("FETCH_BROKER")))
    orders.resume(turn)


def on_broker(turn: Turn, payload: dict[str, Any]) -> None:
    """Compare positions and open orders with the broker's; a difference blocks openings of its symbol."""
    state = turn.state
    asked = state.outstanding.pop(payload["request_id"], None)
    if payload["request_id"] and asked is None:
        return turn.drop(AccountDrop.UNASKED_ANSWER)
    if payload["error"] is not None:
        return None
    differences = set()
    ours = fills.quantities(turn)
    theirs = {position["instrument"]: position["qty"] for position in payload["positions"] if position["qty"]}
    for instrument in sorted(ours.keys() | theirs.keys()):
        if ours.get(instrument) != theirs.get(instrument):
            differences.add(describe(instrument).underlying)
    listed = set(payload["open_orders"])
    for client_order_id in sorted(listed):
        order = state.orders.get(client_order_id)
        if order is None:
            differences.add(EVERY_SYMBOL)  # the record does not say which symbol a foreign order is in
        elif order.terminal:
            differences.add(order.underlying)
    for client_order_id, order in sorted(state.orders.items()):
        if order.state in orders.WORKING and client_order_id not in listed:
            differences.add(order.underlying)
            if order.asking_after_s is None:
                orders.ask_about(turn, order, 0)
    state.reconciled, state.differences = True, sorted(differences)
    return None


def needs_reconcile(turn: Turn, symbol: str) -> bool:
    """True where openings in ``symbol`` wait for a comparison with the broker that finds no difference."""
    state = turn.state
    return not state.reconciled or symbol in state.differences or EVERY_SYMBOL in state.differences
