"""Executions folded into positions, and what follows from them: marks, session P&L, what is held."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.stages.account.rules.gate_types import Holding
from tapedeck.streams.stages.account.rules.money import ZERO, bar_price, mid, money, usable
from tapedeck.streams.stages.account.rules.orders import Purpose, Side
from tapedeck.streams.stages.account.rules.positions import (
    Execution,
    ExecutionReason,
    Fold,
    Kind,
    Marked,
    Owner,
    Position,
    PositionState,
    describe,
    fold,
    session_pnl,
)
from tapedeck.streams.stages.account.state import AccountDrop, Book, LastBar, Mark, Spent
from tapedeck.streams.stages.account.turn import Done, Today, Turn

DAY_US = 86_400 * SECOND_US
EXECUTION_IDS_DAYS = 30
SEEN_DAYS = 7
AHEAD_DAYS = 3
"""How far ahead of the account's clock an execution may be: an activity's time is the end of its date."""
UNEXPECTED_SHORT = "UNEXPECTED_SHORT"


def folded(turn: Turn, instrument: str) -> Fold:
    """The positions of one instrument, folded from its executions. Not to be changed."""
    known = turn.folds.by_instrument.get(instrument)
    if known is None:
        book = turn.state.books.get(instrument)
        known = fold(turn.account.account_id, instrument, book.executions) if book else Fold()
        turn.folds.by_instrument[instrument] = known
    return known


def open_positions(turn: Turn) -> list[tuple[str, Position]]:
    """(instrument, position) of every position that is not flat, by instrument. Not to be changed."""
    if turn.folds.opened is None:
        found = ((name, folded(turn, name).open) for name in sorted(turn.state.books))
        turn.folds.opened = [(name, position) for name, position in found if position is not None]
    return turn.folds.opened


def holdings(turn: Turn) -> tuple[Holding, ...]:
    """The open positions as gates read them. One that came without a price counts at its mark."""
    out = []
    for instrument, position in open_positions(turn):
        known = describe(instrument)
        price = money(position.average_cost) if position.costed else mark_of(turn, instrument)
        out.append(Holding(instrument, known.underlying, known.kind, position.qty, known.multiplier, price))
    return tuple(out)


def see_quote(
    turn: Turn,
    instrument: str,
    bid: Decimal | None,
    ask: Decimal | None,
    *,
    at: int | None,
    theta: float | None = None,
) -> None:
    """Keep the mid of a quote as the instrument's mark, unless a newer one is known.

    One of the future would stay the newest for ever. A theta that comes without a usable quote is kept with
    the mark that is known; a quote without one leaves the session's last.
    """
    known = turn.state.marks.get(instrument)
    if at is None or at > turn.soon or bid is None or ask is None or not usable(bid, ask):
        if known is not None and theta is not None:
            turn.state.marks[instrument] = replace(known, theta=theta)
        return
    if known is None or known.at <= at:
        theta = known.theta if theta is None and known is not None else theta
        turn.state.marks[instrument] = Mark(mid=money(mid(bid, ask)), at=at, theta=theta)


def fresh_mark(turn: Turn, instrument: str) -> Decimal | None:
    """The mid of an instrument's quote, None if that is older than ``exit.mark_s``."""
    mark = turn.state.marks.get(instrument)
    return (
        mark.mid if mark is not None and turn.now - mark.at <= turn.config.exit.mark_s * SECOND_US else None
    )


def see_trade(turn: Turn, instrument: str, price: float, at: int) -> None:
    """Keep the price of an instrument's last trade, or its last bar's close, unless a newer one is known.

    One of the future would stay the newest for ever.
    """
    if at > turn.soon:
        return
    known = turn.state.bars.get(instrument)
    if known is None or known.at <= at:
        turn.state.bars[instrument] = LastBar(close=price, at=at)


def mark_of(turn: Turn, instrument: str) -> Decimal | None:
    """What an instrument is worth: its fresh mark, else its last trade or its last bar's close, None if that
    is older than ``exit.trade_s``.
    """
    mark = fresh_mark(turn, instrument)
    if mark is not None:
        return mark
    bar = turn.state.bars.get(instrument)
    if bar is None or turn.now - bar.at > turn.config.exit.trade_s * SECOND_US:
        return None
    return bar_price(bar.close)


def unpriced(turn: Turn) -> set[str]:
    """The underlyings in which an execution of this session has a result that nobody knows."""
    return {
        describe(instrument).underlying
        for instrument, book in turn.state.books.items()
        if _done_today(turn, instrument, book, folded(turn, instrument)).unpriced
    }


def pnl(turn: Turn, *, shown: bool = False, known: bool = False) -> Decimal | None:
    """The session's P&L in USD, fees included. ``shown``: to a person, with the last mark, however old.

    None if an open position has no mark or no reference, and in a session with an execution whose result
    nobody knows. ``known``: what all others add up to; such an execution adds only its fee, and a position
    that came in by one adds nothing.
    """
    if not known and unpriced(turn):
        return None
    done, marked = _done(turn), []
    for instrument, position in open_positions(turn):
        if expired_before(turn, instrument):
            continue
        opened_today = turn.calendar.session_date(position.opened_at) == turn.session
        if opened_today and not position.costed:
            continue
        reference = position.average_cost if opened_today else turn.state.books[instrument].prior_mark
        mark, last = mark_of(turn, instrument), turn.state.marks.get(instrument)
        if shown and mark is None and last is not None:
            mark = last.mid
        marked.append(Marked(position.qty, describe(instrument).multiplier, mark, reference))
    return session_pnl(done.realised, done.fees, marked)


def _done(turn: Turn) -> Done:
    """What the session's executions come to."""
    known = turn.folds.done
    if known is None or known.session != turn.session:
        realised, fees = ZERO, ZERO
        for instrument, book in turn.state.books.items():
            each = _done_today(turn, instrument, book, folded(turn, instrument))
            realised, fees = realised + each.realised, fees + each.fees
        known = turn.folds.done = Done(turn.session, realised, fees)
    return known


def _done_today(turn: Turn, instrument: str, book: Book, result: Fold) -> Today:
    known = turn.folds.today.get(instrument)
    if known is None or known.session != turn.session:
        on = turn.calendar.session_date
        done = [each for each in book.executions if on(each.executed_at) == turn.session]
        realised = sum((result.realised[each.execution_id] for each in done), ZERO)
        fees = sum((each.fee for each in done), ZERO)
        unknown = any(each.execution_id in result.unpriced for each in done)
        known = turn.folds.today[instrument] = Today(turn.session, realised, fees, unknown)
    return known


def expired_before(turn: Turn, instrument: str) -> bool:
    """True for a contract of an earlier session: it has no market, and its end belongs to that session."""
    expiry = describe(instrument).expiry
    return expiry is not None and expiry < turn.session


def publish_position(turn: Turn, instrument: str, position: Position, cause: str) -> None:
    """One ``positions`` record: the next of its position."""
    book, known = turn.state.books[instrument], describe(instrument)
    watch = book.watches.get(position.position_id)
    seq = book.seqs.get(position.position_id, -1) + 1
    book.seqs[position.position_id] = seq
    if position.qty == 0:
        state = PositionState.CLOSED
    else:
        state = PositionState.CLOSING if position.position_id in book.closing else PositionState.OPEN
    fields = {
        "position_id": position.position_id,
        "instrument": instrument,
        "underlying": known.underlying,
        "kind": known.kind.value,
        "strategy": position.strategy,
        "owner": position.owner.value,
        "seq": seq,
        "qty": position.qty,
        "average_cost": position.average_cost,
        "realised": position.realised,
        "multiplier": known.multiplier,
        "state": state.value,
        "opened_at": position.opened_at,
        "signal_id": position.signal_id,
        "exit_reason": watch.rule.value if watch and watch.rule else None,
        "peak": watch.peak if watch else None,
        "worst": watch.worst if watch else None,
        "needs_review": position.needs_review,
    }
    turn.emit("positions", fields, [cause])


def publish_changes(turn: Turn, instrument: str, before: Fold, after: Fold, cause: str) -> None:
    """Publish what an execution changed. A late one may make a position begin earlier, under another id."""
    old = {p.position_id: p for p in before.positions}
    new = {p.position_id: p for p in after.positions}
    for identity, gone in sorted(old.items()):
        if identity not in new:
            flat = replace(gone, qty=ZERO, average_cost=ZERO, realised=ZERO)
            publish_position(turn, instrument, flat, cause)
    for position in after.positions:
        if old.get(position.position_id) != position:
            publish_position(turn, instrument, position, cause)


def _publish_execution(turn: Turn, instrument: str, execution: Execution, source: str) -> str:
    known = describe(instrument)
    fields = {
        "execution_id": execution.execution_id,
        "client_order_id": execution.client_order_id,
        "instrument": instrument,
        "underlying": known.underlying,
        "side": execution.side.value,
        "qty": execution.qty,
        "price": execution.price,
        "multiplier": known.multiplier,
        "fee": execution.fee,
        "source": source,
        "owner": execution.owner.value,
        "reason": execution.reason.value if execution.reason else None,
    }
    return turn.emit("executions", fields, [turn.event])


def on_execution(turn: Turn, payload: dict[str, Any]) -> None:
    """Fold one execution, once. One that belongs to no order of ours is adopted as EXTERNAL."""
    state, identity, instrument = turn.state, payload["execution_id"], payload["instrument"]
    if identity in state.executions:
        return turn.drop(AccountDrop.DUPLICATE_EXECUTION)
    if turn.now - payload["executed_at"] > EXECUTION_IDS_DAYS * DAY_US:
        return turn.drop(AccountDrop.EXECUTION_TOO_OLD)
    if payload["executed_at"] - turn.now > AHEAD_DAYS * DAY_US:
        return turn.drop(AccountDrop.FROM_THE_FUTURE)
    order = state.orders.get(payload["client_order_id"])
    execution = Execution(
        execution_id=identity,
        executed_at=payload["executed_at"],
        side=Side(payload["side"]),
        qty=payload["qty"],
        price=payload["price"],
        fee=payload["fee"],
        client_order_id=payload["client_order_id"],
        owner=Owner.TAPEDECK if order else Owner.EXTERNAL,
        strategy=order.strategy if order else None,
        signal_id=(order.signal_id or None) if order else None,
        reason=None if order else _external_reason(turn, instrument, Side(payload["side"])),
    )
    known = describe(instrument)
    state.executions[identity] = turn.session
    last = state.last_execution.get(known.underlying, execution.executed_at)
    state.last_execution[known.underlying] = max(last, execution.executed_at)
    if order is not None:
        turn.count_executed(order, execution.qty)
    shown = order is not None and order.accepted_at is not None and _seen_by_snapshot(turn, order.accepted_at)
    if not shown and not _reduces(turn, instrument, execution.side):
        cost = execution.qty * payload["price"] * known.multiplier
        state.spent.append(Spent(at=turn.now, amount=money(cost)))
    fold_in(turn, instrument, execution, payload["source"])
    return None


def _external_reason(turn: Turn, instrument: str, side: Side) -> ExecutionReason | None:
    """An execution of nobody's order that reduces a position: the broker's liquidation, or a person's."""
    return ExecutionReason.BROKER_LIQUIDATION if _reduces(turn, instrument, side) else None


def _reduces(turn: Turn, instrument: str, side: Side) -> bool:
    position = folded(turn, instrument).open
    return position is not None and (position.qty > 0) == (side is Side.SELL)


def fold_in(turn: Turn, instrument: str, execution: Execution, source: str) -> None:
    """Add a new execution to its instrument, and publish it and what it changed."""
    before = folded(turn, instrument)
    turn.folds.forget(instrument)
    turn.state.books.setdefault(instrument, Book()).executions.append(execution)
    cause = turn.state.books[instrument].told = _publish_execution(turn, instrument, execution, source)
    after = folded(turn, instrument)
    publish_changes(turn, instrument, before, after, cause)
    _forget_flat(turn, instrument, after)
    _watch_for_short(turn, describe(instrument).kind, after.open)


def _forget_flat(turn: Turn, instrument: str, after: Fold) -> None:
    """What exits remember of a position ends with it."""
    book, held = turn.state.books[instrument], after.open.position_id if after.open else ""
    book.watches = {identity: watch for identity, watch in book.watches.items() if identity == held}


def _watch_for_short(turn: Turn, kind: Kind, position: Position | None) -> None:
    """A short that is not allowed raises an alarm: the account only reduces until a person sets it ACTIVE."""
    allowed = kind is Kind.STOCK and turn.account.allow_shorting
    if position is not None and position.qty < 0 and not allowed and turn.state.alarm is None:
        turn.state.alarm = UNEXPECTED_SHORT
        turn.account_changed = True


def _seen_by_snapshot(turn: Turn, at: int) -> bool:
    snapshot = turn.state.snapshot
    return snapshot is not None and at < snapshot.requested_at


def unshown(turn: Turn) -> Decimal:
    """What openings and fills have used up that the broker's snapshot cannot show yet, USD."""
    total = sum((spent.amount for spent in turn.state.spent), ZERO)
    for each in turn.state.reserved:
        if each.purpose is not Purpose.OPEN:
            continue
        total += each.remaining * each.worst_price * each.multiplier
        order = each.order
        if order is not None and order.accepted_at is not None and _seen_by_snapshot(turn, order.accepted_at):
            limit = each.worst_price if order.limit_price is None else order.limit_price
            total -= min(order.remaining, each.remaining) * limit * each.multiplier
    return total


def sellable(turn: Turn, symbol: str) -> Decimal:
    """Shares of a long position that no working sell order has claimed yet."""
    position = folded(turn, symbol).open
    working = (o for o in turn.state.reserved if o.instrument == symbol and o.side is Side.SELL)
    return max((position.qty if position else ZERO) - sum((o.remaining for o in working), ZERO), ZERO)


def quantities(turn: Turn) -> dict[str, Decimal]:
    """Signed quantity per instrument, flat ones left out."""
    return {name: position.qty for name, position in open_positions(turn)}


def _expect_shares(turn: Turn, held: set[str]) -> None:
    """Keep the closing mark of an expired contract's underlying: its shares may come in late."""
    for instrument in sorted(held):
        mark = turn.state.marks.get(describe(instrument).underlying)
        if expired_before(turn, instrument) and mark is not None:
            book = turn.state.books.setdefault(describe(instrument).underlying, Book())
            book.prior_mark = mark.mid


def turn_session(turn: Turn) -> None:
    """At the first record of a new session: closing marks become references, finished state is dropped."""
    state, today = turn.state, turn.session
    if state.session is not None and today > state.session:
        held = {instrument for instrument, _ in open_positions(turn)}
        for instrument in held:
            mark, bar = state.marks.get(instrument), state.bars.get(instrument)
            traded = bar_price(bar.close) if bar else None
            state.books[instrument].prior_mark = mark.mid if mark else traded
        kept_books = held | {each.instrument for each in state.reviews.values()}
        state.books = {name: book for name, book in state.books.items() if name in kept_books}
        turn.folds.forget_all()
        underlyings = {describe(instrument).underlying for instrument in held}
        # A theta of an earlier session is no longer known: it grows every night.
        state.marks = {
            name: replace(mark, theta=None)
            for name, mark in state.marks.items()
            if name in held | underlyings
        }
        state.bars = {name: bar for name, bar in state.bars.items() if name in held | underlyings}
        _expect_shares(turn, held)
        state.unquoted = {}
        state.parents = {i: each for i, each in state.parents.items() if not each.virtual}
        kept = {each.child for each in state.parents.values()}
        state.orders = {
            i: o for i, o in state.orders.items() if o.reserved or i in kept or today - o.session <= SEEN_DAYS
        }
        state.seen = {i: day for i, day in state.seen.items() if today - day <= SEEN_DAYS}
        state.executions = {i: d for i, d in state.executions.items() if today - d <= EXECUTION_IDS_DAYS}
        state.reports = {symbol: each for symbol, each in state.reports.items() if symbol in underlyings}
        state.halts = {symbol: halt for symbol, halt in state.halts.items() if halt.halted}
        state.last_execution = {s: t for s, t in state.last_execution.items() if turn.now - t <= DAY_US}
    state.session = max(today, state.session or today)
