"""The account behind the credentials: identity, kill switch, trade stream, comparison with the broker."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.stages.account import closing, fills, orders, recon, standing
from tapedeck.streams.stages.account.rules.gate_types import Identity, KillState
from tapedeck.streams.stages.account.rules.positions import describe
from tapedeck.streams.stages.account.rules.requests import FetchAccount, FetchBroker
from tapedeck.streams.stages.account.state import BALANCES, AccountDrop, Halt, Snapshot, Unread
from tapedeck.streams.stages.account.turn import Turn

EVERY_SYMBOL = "*"
TRADE_UPDATES = "trade_updates"
CLOSE_POSITION, RESOLVE = "CLOSE_POSITION", "RESOLVE"
"""The commands of a control."""
# an unsolicited snapshot may have been taken this long before it was appended
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
    """Fold a reading of the broker account. A failed one changes nothing, and the old one ages."""
    state = turn.state
    asked = state.outstanding.pop(payload["request_id"], None)
    if payload["error"] is not None:
        return
    requested_at = asked.at if asked else turn.now - UNASKED_SNAPSHOT_US
    balances = {name: payload[name] for name in BALANCES}
    state.snapshot = Snapshot(event_id=turn.event, at=turn.now, requested_at=requested_at, **balances)
    state.identity = _identity(turn, payload)
    state.spent = [spent for spent in state.spent if spent.at >= requested_at]
    turn.account_changed = True


def on_control(turn: Turn, payload: dict[str, Any]) -> None:
    """Fold a kill-switch change of this account or of all; the newest of each scope counts."""
    scope, own = payload["scope"], turn.account.account_id
    if scope not in (own, EVERY_SYMBOL):
        return None
    if payload["command"] is not None:
        return _command(turn, payload)
    state = KillState.__members__.get(payload["state"], KillState.HALTED)  # an unknown word stops openings
    turn.state.kill[scope] = state
    if scope == own and state is KillState.ACTIVE:
        turn.state.alarm = None
    turn.account_changed = True
    return None


def _command(turn: Turn, payload: dict[str, Any]) -> None:
    """A person's command to this account: close a position, or settle an adjustment."""
    target = payload["target"] or ""
    if payload["command"] == CLOSE_POSITION:
        closing.command(turn, target, payload["person"])
    elif payload["command"] == RESOLVE:
        recon.resolve(turn, target, payload["price"])
    else:
        raise DeadLetter("no such command", value=payload["command"], reason="UNKNOWN_COMMAND")


def on_halt(turn: Turn, payload: dict[str, Any]) -> None:
    """Keep whether a symbol is halted, by its newest record; of two of one time the resumption counts."""
    symbol, known = payload["symbol"], turn.state.halts.get(payload["symbol"])
    if payload["since"] > turn.soon:
        return turn.drop(AccountDrop.FROM_THE_FUTURE)
    halt = Halt(event_id=turn.event, halted=payload["halted"], since=payload["since"])
    if known is not None and (halt.since, not halt.halted) <= (known.since, not known.halted):
        return turn.drop(AccountDrop.OLD_HALT)
    turn.state.halts[symbol] = halt
    return None


def on_stream(turn: Turn, payload: dict[str, Any]) -> None:
    turn.state.stream_healthy = payload["healthy"]


def on_started(turn: Turn, payload: dict[str, Any]) -> None:
    """A new process took over the account: trust nothing known so far, and repeat every open question."""
    state = turn.state
    state.stream_healthy, state.reconciled, state.identity = None, False, Identity.ACCOUNT_UNVERIFIED
    for _, asked in sorted(state.outstanding.items()):
        turn.request(asked.request)
    if turn.outstanding(FetchAccount) is None:
        turn.ask(FetchAccount(request_id=turn.new_id("FETCH_ACCOUNT")))
    if turn.outstanding(FetchBroker) is None:
        turn.ask(FetchBroker(request_id=turn.new_id("FETCH_BROKER")))
    orders.resume(turn)
    standing.ask_to_watch(turn)


def on_bar(turn: Turn, payload: dict[str, Any]) -> None:
    """Keep the close of a held underlying's newest bar: a mark where there is no fresh quote."""
    ended = payload["bar_t"] + MINUTE_US
    if ended > turn.soon:
        return turn.drop(AccountDrop.FROM_THE_FUTURE)
    return fills.see_trade(turn, payload["symbol"], payload["close"], ended)


def on_row(turn: Turn, payload: dict[str, Any]) -> None:
    """Keep one row of the broker's lists for the comparison that follows.

    Somebody else's order is EXTERNAL: while it works, nothing opens in its symbol. A row that cannot be
    understood blocks its symbol as long as it is listed, or until the next comparison if a trade update
    brought it. It is dropped once, with its bytes.
    """
    state = turn.state
    symbol = describe(payload["instrument"]).underlying or EVERY_SYMBOL
    if payload["error"] is None:
        state.external[payload["client_order_id"]] = symbol
        return
    row = sha256(payload["raw"].encode()).hexdigest()[:32]
    known = row in state.unread
    state.unread[row] = Unread(symbol=symbol, listed=payload["listed"] != TRADE_UPDATES)
    if not known:
        where = "any symbol" if symbol == EVERY_SYMBOL else symbol
        turn.refuse(
            AccountDrop.UNRECOGNISED_ROW,
            f"the broker's {payload['listed']} hold a row that is not understood: {payload['error']}",
            f"see it at the broker; nothing is opened in {where} while it is listed: close or cancel it"
            " there, or upgrade to a release that knows it",
        )


def on_broker(turn: Turn, payload: dict[str, Any]) -> None:
    """Compare positions and open orders with the broker's; a difference blocks openings of its symbol."""
    state = turn.state
    asked = state.outstanding.pop(payload["request_id"], None)
    if payload["request_id"] and asked is None:
        return turn.drop(AccountDrop.UNASKED_ANSWER)
    if payload["error"] is not None:
        if payload["request_id"] == state.verifying:
            state.verifying = None  # a halt is not flat because nobody could say so
        return None
    differences = recon.compare(turn, payload)
    listed = set(payload["open_orders"])
    for client_order_id in sorted(listed):
        order = state.orders.get(client_order_id)
        if order is None:
            # without its row nobody knows which symbol the external order is in
            differences.add(state.external.get(client_order_id, EVERY_SYMBOL))
        elif order.terminal:
            differences.add(order.underlying)
    for client_order_id, order in sorted(state.orders.items()):
        if order.state in orders.WORKING and client_order_id not in listed:
            differences.add(order.underlying)
            if order.asking_after_s is None:
                orders.ask_about(turn, order, 0)
    state.external = {i: symbol for i, symbol in state.external.items() if i in listed}
    state.unread = {i: replace(row, listed=False) for i, row in state.unread.items() if row.listed}
    state.reconciled, state.differences = True, sorted(differences)
    return None


def needs_reconcile(turn: Turn, symbol: str) -> bool:
    """True where openings in ``symbol`` wait for a comparison with the broker that finds no difference."""
    state = turn.state
    blocked = {*state.differences, *(row.symbol for row in state.unread.values()), *recon.under_review(turn)}
    return not state.reconciled or symbol in blocked or EVERY_SYMBOL in blocked
