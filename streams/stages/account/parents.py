"""Parent orders: one decision, worked by one order after the other (docs/domain.md#orders).

An order works ``order.step_s`` at its price. Then it is cancelled, and only when it has ended and all that it
executed is folded does the next one go out, for what remains, on a quote that is read anew. An opening ends
after its last step. A close goes on until its position is flat: nothing but executions ends it.
"""

from decimal import Decimal

from tapedeck.streams.config.accounts import Mode
from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.streams.stages.account import fills, orders
from tapedeck.streams.stages.account.order_state import Order, Parent, Quoted
from tapedeck.streams.stages.account.recheck import recheck
from tapedeck.streams.stages.account.rules.exits import MARKET_LAST
from tapedeck.streams.stages.account.rules.gate_types import Identity
from tapedeck.streams.stages.account.rules.money import ZERO, usable
from tapedeck.streams.stages.account.rules.orders import OrderReason, OrderState, Purpose, client_order_id
from tapedeck.streams.stages.account.rules.positions import Kind
from tapedeck.streams.stages.account.rules.pricing import ladder
from tapedeck.streams.stages.account.rules.requests import Clear, FetchQuote
from tapedeck.streams.stages.account.state import ANSWER_TIMEOUT_US
from tapedeck.streams.stages.account.turn import Turn

INSTRUMENT, UNDERLYING = "instrument", "underlying"
STREAM_PATIENCE_US = MINUTE_US
MOST_ATTEMPTS = 100
"""An order's id has two digits for its attempt."""
_UNCONFIRMED = frozenset(
    {OrderState.INTENT, OrderState.SUBMITTED, OrderState.UNKNOWN, OrderState.UNRECOGNISED}
)
_KEPT_FROM_BROKER = frozenset({OrderState.REJECTED, OrderState.NOT_SENT})


def begin(turn: Turn, parent: Parent, limit: Decimal | None) -> None:
    """Take a parent order up.

    With ``limit`` its first order goes out at once; without, when it has a quote.
    """
    turn.state.parents[parent.source] = parent
    if limit is not None:
        _send(turn, parent, parent.qty, limit)


def advance(turn: Turn) -> None:
    """Do what is due of every parent order, by source."""
    for source in sorted(turn.state.parents):
        parent = turn.state.parents.get(source)
        if parent is not None and not parent.virtual:
            _advance(turn, parent)


def stop_openings(turn: Turn, reason: OrderReason, instrument: str | None = None) -> bool:
    """Let no further order follow in openings, of ``instrument`` or of all; True while one still lives."""
    living = [
        parent
        for _, parent in sorted(turn.state.parents.items())
        if parent.purpose is Purpose.OPEN and instrument in (None, parent.instrument)
    ]
    for parent in living:
        parent.stop = parent.stop or reason
        if parent.virtual:
            del turn.state.parents[parent.source]
    return any(not parent.virtual for parent in living)


def take_quote(turn: Turn, request_id: str, quote: Quoted | None) -> None:
    """Hand a quote to the parent orders that asked for it; None: the question failed."""
    for parent in turn.state.parents.values():
        for slot, asked in list(parent.asked.items()):
            if asked == request_id:
                del parent.asked[slot]
                if quote is not None:
                    parent.quotes[slot] = quote


def stuck(turn: Turn, parent: Parent) -> bool:
    """True for a close that was tried ``exit.max_attempts`` times."""
    return parent.purpose is Purpose.CLOSE and parent.attempts >= turn.config.exit.max_attempts


def to_close(turn: Turn, parent: Parent) -> Decimal:
    """Whole units of the position that a close may still trade."""
    return min(Decimal(int(parent.remaining)), _whole_units(turn, parent))


def _whole_units(turn: Turn, parent: Parent) -> Decimal:
    position = fills.folded(turn, parent.instrument).open
    if position is None or position.position_id != parent.position_id:
        return ZERO
    return Decimal(int(abs(position.qty)))


def _advance(turn: Turn, parent: Parent) -> None:
    child = turn.state.orders.get(parent.child or "")
    if child is not None and not child.terminal:
        return _watch(turn, parent, child)
    if child is not None and child.remaining > 0:
        return _await_executions(turn, child)
    if parent.purpose is Purpose.OPEN:
        return _next_opening(turn, parent, child)
    return _next_close(turn, parent, child)


def _watch(turn: Turn, parent: Parent, child: Order) -> None:
    """Cancel a working order whose time is over, whose parent stops, or that is larger than its position."""
    since = turn.now if child.since is None else child.since
    if child.state is OrderState.CANCEL_PENDING:
        if turn.now - since > turn.config.order.doubt_s[-1] * SECOND_US:
            orders.doubt(turn, child, "the cancel is pending for long")
        return
    if child.state in _UNCONFIRMED or not turn.regular:
        return
    if parent.stop is not None:
        orders.cancel(turn, child, parent.stop)
    elif parent.purpose is Purpose.CLOSE and child.remaining > to_close(turn, parent):
        orders.cancel(turn, child, OrderReason.CANCELLED_REDUCED)
    elif _worked_us(turn, child) >= _works_s(turn, parent, child) * SECOND_US:
        last = parent.purpose is Purpose.OPEN and parent.attempts >= len(turn.config.order.open_steps)
        orders.cancel(turn, child, OrderReason.REPRICE_EXHAUSTED if last else OrderReason.REPRICED)
    elif child.limit_price is None:
        _look_up(turn, child)  # nothing else would show a fill that the stream has lost


def _worked_us(turn: Turn, child: Order) -> int:
    return 0 if child.accepted_at is None else turn.now - child.accepted_at


def _works_s(turn: Turn, parent: Parent, child: Order) -> int:
    rules = turn.config.order
    if child.limit_price is None:
        return rules.doubt_s[-1]  # what is not filled by then goes to the market once more
    if stuck(turn, parent):
        return 60
    repeats = parent.purpose is Purpose.CLOSE and parent.attempts >= len(rules.close_steps)
    return rules.close_repeat_s if repeats else rules.step_s


def _await_executions(turn: Turn, child: Order) -> None:
    """More is filled than executions show: activities are read again, until a comparison ends the wait."""
    if _look_up(turn, child) and child.due_since is None:
        child.due_since = turn.now


def _look_up(turn: Turn, child: Order) -> bool:
    """Ask about an order, once each ``order.step_s``; True if it was asked now."""
    since = turn.now if child.since is None else child.since
    if child.asking_after_s is not None or turn.now - since < turn.config.order.step_s * SECOND_US:
        return False
    child.since = turn.now
    orders.ask_about(turn, child, 0)
    return True


def _next_opening(turn: Turn, parent: Parent, child: Order | None) -> None:
    """The next step of an opening, if everything still holds; else it ends here."""
    assert child is not None  # an opening begins with its first order
    repriced = child.state is OrderState.CANCELED and child.cancelling is OrderReason.REPRICED
    if not repriced or parent.remaining == 0 or parent.stop is not None:
        return _finish(turn, parent, child, parent.stop)
    if not turn.state.stream_healthy:
        if turn.now - (child.since or 0) > STREAM_PATIENCE_US:
            _finish(turn, parent, child, OrderReason.CANCELLED_STREAM_DOWN)
        return None
    if not _quoted(turn, parent):
        return None
    failed = recheck(turn, parent)
    if failed is not None:
        return _finish(turn, parent, child, failed)
    limit = _limit(turn, parent)
    if limit is None:
        return _finish(turn, parent, child, OrderReason.CANCELLED_STALE_QUOTE)
    kept = min(limit, parent.worst_price) if parent.lowest is None else max(limit, parent.lowest)
    return _send(turn, parent, parent.remaining, kept)


def _next_close(turn: Turn, parent: Parent, child: Order | None) -> None:
    """The next attempt of a close, as soon as the market is open and nothing opposite works."""
    if parent.attempts == 0:
        parent.qty = _whole_units(turn, parent)  # what came in while it waited is closed, too
    left = to_close(turn, parent)
    if left == 0 or (parent.attempts >= MOST_ATTEMPTS):
        return _finish(turn, parent, child, None)
    if child is not None and _ended_by_others(child) and parent.resume_at is None:
        _after_refusal(turn, parent, child)
    if not turn.regular or turn.state.identity is not Identity.VERIFIED:
        return None
    if parent.resume_at is not None and turn.now < parent.resume_at:
        return None
    if stop_openings(turn, OrderReason.CANCELLED_FOR_CLOSE, parent.instrument):
        return None
    market = parent.rule in MARKET_LAST and parent.attempts >= len(turn.config.order.close_steps)
    if market:
        return _send(turn, parent, left, None)
    if not _quoted(turn, parent):
        return None
    limit = _limit(turn, parent)
    if limit is not None:
        return _send(turn, parent, left, limit)
    if parent.rule in MARKET_LAST:
        return _send(turn, parent, left, None)
    _wait(turn, parent, turn.config.order.close_repeat_s)  # no quote, no price: ask again
    return None


def _ended_by_others(child: Order) -> bool:
    """Not taken by the broker, or canceled by somebody else, who may be about to sell."""
    return child.state in _KEPT_FROM_BROKER or (
        child.state is OrderState.CANCELED and child.cancelling is None
    )


def _after_refusal(turn: Turn, parent: Parent, child: Order) -> None:
    """The broker did not take a close, or did not keep it: others hold the quantity, or have closed it."""
    _wait(turn, parent, 60 if stuck(turn, parent) else turn.config.order.close_repeat_s)
    if child.state is OrderState.REJECTED and turn.outstanding(Clear) is None:
        turn.ask(Clear(request_id=turn.new_id("CLEAR", parent.source), instrument=parent.instrument))


def _wait(turn: Turn, parent: Parent, seconds: int) -> None:
    parent.resume_at = turn.now + seconds * SECOND_US
    parent.asked, parent.quotes, parent.asked_at = {}, {}, None


def _quoted(turn: Turn, parent: Parent) -> bool:
    """True when the quotes of the next attempt are in; asks for them."""
    if parent.asked_at is None or turn.now - parent.asked_at > ANSWER_TIMEOUT_US:
        for slot in _slots(parent):
            instrument = parent.instrument if slot == INSTRUMENT else parent.underlying
            identity = turn.new_id("FETCH_QUOTE", f"{instrument}|{parent.source}|{parent.attempts}")
            parent.asked[slot] = turn.ask(
                FetchQuote(request_id=identity, instrument=instrument, underlying=parent.underlying)
            )
        parent.asked_at, parent.quotes = turn.now, {}
    return not parent.asked


def _slots(parent: Parent) -> tuple[str, ...]:
    both = parent.purpose is Purpose.OPEN and parent.kind is not Kind.STOCK
    return (INSTRUMENT, UNDERLYING) if both else (INSTRUMENT,)


def _limit(turn: Turn, parent: Parent) -> Decimal | None:
    """The limit of the next attempt, None without a usable quote."""
    quote = parent.quotes.get(INSTRUMENT)
    if quote is None or quote.bid is None or quote.ask is None or not usable(quote.bid, quote.ask):
        return None
    limits = ladder(
        quote.bid,
        quote.ask,
        parent.side,
        parent.purpose,
        turn.config.order,
        stock=parent.kind is Kind.STOCK,
    )
    limit = limits[min(parent.attempts, len(limits) - 1)]
    return limit if limit > 0 else None


def _send(turn: Turn, parent: Parent, qty: Decimal, limit: Decimal | None) -> None:
    """The next order of a parent; without a limit it goes to market."""
    order = Order(
        client_order_id=client_order_id(
            turn.account.account_id, parent.source, parent.purpose, parent.attempts
        ),
        signal_id=parent.signal_id,
        instrument=parent.instrument,
        underlying=parent.underlying,
        kind=parent.kind,
        bullish=parent.bullish,
        strategy=parent.strategy,
        side=parent.side,
        intent=parent.intent,
        purpose=parent.purpose,
        attempt=parent.attempts,
        qty=qty,
        limit_price=limit,
        worst_price=parent.worst_price,
        multiplier=parent.multiplier,
        session=turn.session,
        parent=parent.source,
    )
    parent.child, parent.attempts, parent.resume_at = order.client_order_id, parent.attempts + 1, None
    parent.asked, parent.quotes, parent.asked_at = {}, {}, None
    parent.virtual = turn.account.mode is Mode.SHADOW
    orders.place(turn, order, parent.cause)


def _finish(turn: Turn, parent: Parent, child: Order | None, reason: OrderReason | None) -> None:
    """End a parent order. What it did not trade is a new decision's matter."""
    partly = parent.purpose is Purpose.OPEN and 0 < parent.executed < parent.qty
    detail = (
        f"UNDERSIZED: {parent.executed.normalize():f} of {parent.qty.normalize():f} filled"
        if partly
        else None
    )
    if child is not None and reason is None and partly:
        reason = OrderReason.REPRICE_EXHAUSTED
    if child is not None and reason is not None and (reason is not child.cancelling or partly):
        orders.note(turn, child, reason, detail)
    del turn.state.parents[parent.source]
