"""How an account stands: a halt's steps, the daily loss, what a person should look at, what the shell
watches.
"""

from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.streams.stages.account import fills, outlook, parents, recon
from tapedeck.streams.stages.account.order_state import Order
from tapedeck.streams.stages.account.rules.gate_types import Identity, KillState
from tapedeck.streams.stages.account.rules.orders import OrderReason, OrderState, Purpose
from tapedeck.streams.stages.account.rules.positions import describe
from tapedeck.streams.stages.account.rules.requests import FetchAccount, FetchBroker, FetchQuote, Watch
from tapedeck.streams.stages.account.state import Watching
from tapedeck.streams.stages.account.turn import Turn

UNKNOWN_US = MINUTE_US
TICK_S, WORKING_TICK_S = 10, 1
OLD_S = 5
"""A tick asks for a new mark where the known one is older: a working order has a tick each second."""
HALT_STEPS = CANCELLING, FLATTENING, VERIFYING, FLAT = ("CANCELLING", "FLATTENING", "VERIFYING", "FLAT")


def hold_back(turn: Turn) -> None:
    """With the kill switch not ACTIVE no opening goes on: its working order is cancelled."""
    if turn.kill_state() in (KillState.REDUCING, KillState.HALTED):
        parents.stop_openings(turn, OrderReason.CANCELLED_BY_KILL)


def watch_loss(turn: Turn) -> None:
    """A daily loss that is reached lets the account only reduce, until the next session.

    A result that nobody knows hides no loss that is known.
    """
    if turn.state.loss_session == turn.session or not fills.open_positions(turn):
        return
    found = fills.pnl(turn, known=True)
    if found is not None and found <= -turn.account.max_daily_loss:
        turn.state.loss_session = turn.session
        hold_back(turn)
        turn.account_changed = True


def tell(turn: Turn) -> None:
    """Publish the account if it has changed, what it warns of and the step of its halt included."""
    found, step = _warnings(turn), _halt_step(turn)
    if turn.account_changed or found != turn.state.warnings or step != turn.state.halt_step:
        turn.state.warnings, turn.state.halt_step = found, step
        turn.publish_account(fills.pnl(turn, shown=True))


def _halt_step(turn: Turn) -> str | None:
    """How far a halt has come. It is FLAT when a comparison with the broker, asked for since, says so."""
    state = turn.state
    if turn.kill_state() is not KillState.HALTED:
        state.verifying = None
        return None
    if any(each.purpose is Purpose.OPEN for each in state.parents.values()):
        return CANCELLING
    if turn.config.kill.flatten_on_halt and fills.open_positions(turn):
        return FLATTENING
    if state.halt_step == FLAT:
        return FLAT
    if state.verifying is None:
        state.verifying = recon.follow(turn, "halt")
        return VERIFYING
    if state.verifying in state.outstanding:
        return VERIFYING
    state.verifying = None
    return FLAT if not state.differences and state.reconciled else VERIFYING


def _warnings(turn: Turn) -> list[str]:
    state, found = turn.state, set()
    for client_order_id, order in _doubted(turn):
        since = turn.now if order.since is None else order.since
        if turn.now - since > UNKNOWN_US:
            found.add(f"ORDER_UNKNOWN:{client_order_id}")
    for each in state.parents.values():
        if parents.stuck(turn, each):
            found.add(f"CLOSE_STUCK:{each.position_id}")
    regular = turn.regular
    for instrument, position in fills.open_positions(turn):
        if abs(position.qty) < 1:
            found.add(f"DUST:{instrument}")
        if (
            regular
            and fills.mark_of(turn, instrument) is None
            and not fills.expired_before(turn, instrument)
            and turn.outstanding(FetchQuote, instrument) is None
        ):
            found.add(f"MARK_MISSING:{instrument}")
    found |= outlook.warnings(turn)
    found |= {f"NEEDS_REVIEW:{each.instrument}" for each in state.reviews.values()}
    return sorted(found)


def _doubted(turn: Turn) -> list[tuple[str, Order]]:
    if turn.folds.doubted is None:
        every = turn.state.orders.items()
        turn.folds.doubted = [(i, order) for i, order in every if order.state is OrderState.UNKNOWN]
    return turn.folds.doubted


def ask_again(turn: Turn) -> None:
    """Ask whose account it is, and what it holds, where the questions of a start have failed.

    Until the first is known nothing is sent, not even a close; until the second is, nothing opens.
    """
    state = turn.state
    if state.identity is Identity.ACCOUNT_UNVERIFIED and turn.outstanding(FetchAccount) is None:
        turn.ask(FetchAccount(request_id=turn.new_id("FETCH_ACCOUNT")))
    if not state.reconciled and turn.outstanding(FetchBroker) is None:
        turn.ask(FetchBroker(request_id=turn.new_id("FETCH_BROKER")))


def ask_marks(turn: Turn, older_s: int) -> None:
    """Ask for the quote of everything held whose mark is older, in session, unless it is asked for."""
    if not turn.regular:
        return
    for instrument, _ in fills.open_positions(turn):
        mark = turn.state.marks.get(instrument)
        fresh = mark is not None and turn.now - mark.at <= older_s * SECOND_US
        if (
            fresh
            or fills.expired_before(turn, instrument)
            or turn.outstanding(FetchQuote, instrument) is not None
        ):
            continue
        if turn.now - turn.state.unquoted.get(instrument, 0) < min(older_s, TICK_S) * SECOND_US:
            continue  # there was none a moment ago
        identity = turn.new_id("FETCH_QUOTE", f"mark of {instrument}")
        underlying = describe(instrument).underlying
        turn.ask(FetchQuote(request_id=identity, instrument=instrument, underlying=underlying))


def watch(turn: Turn) -> None:
    """Tell the shell what to watch, if that has changed."""
    wanted = _wanted(turn)
    if wanted != (turn.state.watching or Watching()):
        turn.state.watching = wanted
        ask_to_watch(turn)


def ask_to_watch(turn: Turn) -> None:
    """Tell the shell what to watch."""
    known = turn.state.watching or Watching()
    turn.request(Watch(symbols=tuple(known.symbols), every_s=known.every_s))


def _wanted(turn: Turn) -> Watching:
    held = [instrument for instrument, _ in fills.open_positions(turn)]
    symbols = sorted({describe(instrument).underlying for instrument in held})
    working = turn.regular and any(not p.virtual for p in turn.state.parents.values())
    waiting = bool(held or turn.state.mismatches or turn.state.halt_step == VERIFYING)
    return Watching(symbols=symbols, every_s=WORKING_TICK_S if working else TICK_S if waiting else 0)
