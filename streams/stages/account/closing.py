"""Which rules want a position closed now, and the parent order that does it (docs/domain.md#exits)."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.stages.account import fills, outlook, parents
from tapedeck.streams.stages.account.order_state import Parent
from tapedeck.streams.stages.account.rules.exits import (
    MARKET_LAST,
    ExitCase,
    ExitRule,
    Overnight,
    RegimeName,
    Trigger,
    over_limit,
    triggers,
    window,
)
from tapedeck.streams.stages.account.rules.gate_types import KillState
from tapedeck.streams.stages.account.rules.money import ZERO, money
from tapedeck.streams.stages.account.rules.orders import PositionIntent, Purpose, Side
from tapedeck.streams.stages.account.rules.positions import Instrument, Kind, Position, describe
from tapedeck.streams.stages.account.rules.requests import FetchQuote
from tapedeck.streams.stages.account.state import AccountDrop, Watch
from tapedeck.streams.stages.account.turn import Turn

_AGGREGATE_WINDOW = 2


class Judged(NamedTuple):
    """An open position as the rules see it. ``gain`` is its P&L as a fraction, in the session or not."""

    instrument: str
    position: Position
    watch: Watch
    mark: Decimal | None
    gain: Decimal | None
    case: ExitCase


class _Moment(NamedTuple):
    """What is the same for every position of a moment: see ExitCase, whose fields these become."""

    session: int
    regular: bool
    to_close: float | None
    from_open: float | None
    flatten: bool
    equity: Decimal | None
    regime: RegimeName

    @classmethod
    def of(cls, turn: Turn) -> "_Moment":
        """That of the record that is being folded."""
        hours, regular, snapshot = turn.hours(), turn.regular, turn.state.snapshot
        left = (hours.close - turn.now) / MINUTE_US if regular and hours.close is not None else None
        since = (turn.now - hours.open) / MINUTE_US if regular and hours.open is not None else None
        return cls(
            turn.session,
            regular,
            left,
            since,
            turn.config.kill.flatten_on_halt and turn.kill_state() is KillState.HALTED,
            snapshot.equity if snapshot else None,
            outlook.regime_name(turn),
        )


def judged(turn: Turn) -> list[Judged]:
    """Every open position that has a market, by instrument."""
    return _held(turn, waits=False)


def evaluate(turn: Turn) -> None:
    """Judge every open position; publish what newly wants one closed, and see to it that it is."""
    held = _held(turn)
    found = {each.instrument: triggers(each.case, turn.config) for each in held}
    extra = _over_limit(turn, held, found)
    for each in held:
        fired = found[each.instrument]
        if each.instrument in extra:
            fired = triggers(each.case._replace(over_limit=True), turn.config)
        if fired:
            _close(turn, each, fired)


def command(turn: Turn, position_id: str, person: str) -> None:
    """A person's command to close a position."""
    for instrument, position in fills.open_positions(turn):
        if position.position_id == position_id:
            _watch_of(turn, instrument, position).person = person
            return
    turn.refuse(
        AccountDrop.NO_SUCH_TARGET,
        f"no open position {position_id!r}",
        "see `tape positions`: it may be closed already",
    )


def of_signal(turn: Turn, instrument: str, signal_id: str, limit: Decimal, cause: str) -> None:
    """An approved SELL_STOCK closes the long, at ``limit`` first."""
    held = next(each for each in judged(turn) if each.instrument == instrument)
    fired = triggers(held.case._replace(signal_close=True), turn.config)
    exit_ = _publish(turn, held, fired, cause)
    _begin(turn, held, fired[0].rule, exit_, signal_id=signal_id, limit=limit)


def next_source(turn: Turn, instrument: str, position: Position) -> str:
    """The source of a position's next close: its id and how many were begun before."""
    return f"{position.position_id}{turn.state.books[instrument].exits.get(position.position_id, 0)}"


def _watch_of(turn: Turn, instrument: str, position: Position) -> Watch:
    watches = turn.state.books[instrument].watches
    known = watches.get(position.position_id)
    if known is None:
        known = watches[position.position_id] = Watch()
    return known


def _held(turn: Turn, *, waits: bool = True) -> list[Judged]:
    """Open positions that have a market, by instrument, with their P&L seen.

    With ``waits``, without those whose mark is on the way: an unknown P&L would close what may stay.
    """
    opened = fills.open_positions(turn)
    if not opened:
        return []
    found, moment = [], _Moment.of(turn)
    for instrument, position in opened:
        known, watch = describe(instrument), _watch_of(turn, instrument, position)
        expiry = known.expiry
        if expiry is not None and (
            expiry < moment.session or (expiry == moment.session and _after_close(turn))
        ):
            continue
        mark = fills.mark_of(turn, instrument)
        on_the_way = mark is None and turn.outstanding(FetchQuote, instrument) is not None
        if waits and on_the_way and not _commanded(turn, watch):
            continue
        pnl = _pnl(position, mark)
        if pnl is not None:
            watch.peak, watch.worst = max(watch.peak, pnl), min(watch.worst, pnl)
        case = _case(turn, moment, instrument, known, position, watch, mark, pnl)
        found.append(Judged(instrument, position, watch, mark, pnl, case))
    return found


def _commanded(turn: Turn, watch: Watch) -> bool:
    return watch.person is not None or turn.kill_state() is KillState.HALTED


def _after_close(turn: Turn) -> bool:
    hours = turn.hours()
    session = turn.calendar.session_on(turn.session) if hours.known else None
    return session is not None and turn.now >= session.close


def _pnl(position: Position, mark: Decimal | None) -> Decimal | None:
    """mark / average cost - 1, its sign turned for a short; None if one of them is unknown."""
    if mark is None or not position.costed or position.average_cost == 0:
        return None
    gain = money(mark / position.average_cost - 1)
    return gain if position.qty > 0 else -gain


def _case(  # noqa: PLR0917 - one position
    turn: Turn,
    moment: _Moment,
    instrument: str,
    known: Instrument,
    position: Position,
    watch: Watch,
    mark: Decimal | None,
    pnl: Decimal | None,
) -> ExitCase:
    option, equity = known.kind is not Kind.STOCK, moment.equity
    worth = None if mark is None else mark * abs(position.qty) * known.multiplier
    quoted = turn.state.marks.get(instrument)
    theta = None if quoted is None else quoted.theta
    return ExitCase(
        option=option,
        strategy=position.strategy or "day_trade",
        held_min=(turn.now - position.opened_at) / MINUTE_US,
        pnl=pnl if moment.regular else None,
        peak=watch.peak,
        dte=None if known.expiry is None else known.expiry - moment.session,
        min_to_close=moment.to_close,
        min_from_open=moment.from_open,
        session=_sessions(turn, position) if moment.regular else 0,
        eod_min_pnl=turn.account.overnight_pnl,
        theta_score=None if theta is None or not mark else abs(theta) / float(mark),
        notional_pct=None if worth is None or not equity else money(worth / equity),
        halted_flatten=moment.flatten,
        manual=watch.person is not None,
        regime=moment.regime,
        earnings=outlook.earnings_tonight(turn, known.underlying) if option else None,
    )


def _sessions(turn: Turn, position: Position) -> int:
    """The number of this session, counted from the entry's, which is 1."""
    first = turn.calendar.session_date(position.opened_at)
    if first == turn.session:
        return 1
    return len(turn.calendar.between(first, turn.session))


def _over_limit(turn: Turn, held: list[Judged], found: Mapping[str, list[Trigger]]) -> set[str]:
    """The swing options beyond what may stay overnight, of those that no rule closes."""
    kept = []
    for each in held:
        at = window(each.case, turn.config)
        if found[each.instrument] or not (each.case.option and each.case.swing):
            continue
        if at is not None and at >= _AGGREGATE_WINDOW:
            price = each.position.average_cost if each.mark is None else each.mark
            worth = price * abs(each.position.qty) * describe(each.instrument).multiplier
            kept.append(Overnight(each.instrument, worth, each.case.pnl))
    return over_limit(kept, turn.account.overnight_limit)


def _close(turn: Turn, judged: Judged, fired: list[Trigger]) -> None:
    """Publish what is new, and have a close that works. A more urgent rule takes a working one over."""
    cause = turn.event
    if [trigger.rule for trigger in fired] != judged.watch.rules:
        cause = _publish(turn, judged, fired, turn.event)
    rule = fired[0].rule
    working = working_on(turn, judged.position.position_id)
    if working is None:
        if abs(judged.position.qty) >= 1:
            _begin(turn, judged, rule, cause)
    elif working.rule is not rule and working.rule not in MARKET_LAST:
        working.rule = judged.watch.rule = rule


def working_on(turn: Turn, position_id: str) -> Parent | None:
    """The close of a position that is under way."""
    return next((p for _, p in sorted(turn.state.parents.items()) if p.position_id == position_id), None)


def _begin(
    turn: Turn,
    judged: Judged,
    rule: ExitRule,
    cause: str,
    *,
    signal_id: str = "",
    limit: Decimal | None = None,
) -> None:
    """Mark the position CLOSING, until executions bring it to 0, and take up the order that does it."""
    instrument, position = judged.instrument, judged.position
    book, known = turn.state.books[instrument], describe(instrument)
    source = next_source(turn, instrument, position)
    book.exits[position.position_id] = book.exits.get(position.position_id, 0) + 1
    judged.watch.rule = rule
    if position.position_id not in book.closing:
        book.closing.append(position.position_id)
    fills.publish_position(turn, instrument, position, cause)
    long = position.qty > 0
    parent = Parent(
        source=source,
        signal_id=signal_id,
        instrument=instrument,
        underlying=known.underlying,
        kind=known.kind,
        bullish=(known.kind is Kind.PUT) == long,
        strategy=position.strategy or "",
        side=Side.SELL if long else Side.BUY,
        intent=PositionIntent.SELL_TO_CLOSE if long else PositionIntent.BUY,
        purpose=Purpose.CLOSE,
        qty=Decimal(int(abs(position.qty))),
        multiplier=known.multiplier,
        worst_price=ZERO,
        session=turn.session,
        cause=cause,
        position_id=position.position_id,
        rule=rule,
    )
    parents.begin(turn, parent, limit)


def _publish(turn: Turn, judged: Judged, fired: list[Trigger], cause: str) -> str:
    """One ``exits`` record, of ``cause``, the position's newest execution and, of an option, what is known of
    the regime and of earnings; returns its event_id.
    """
    watch, case, known = judged.watch, judged.case, describe(judged.instrument)
    at = window(case, turn.config)
    fields: dict[str, Any] = {
        "position_id": judged.position.position_id,
        "instrument": judged.instrument,
        "underlying": known.underlying,
        "kind": known.kind.value,
        "strategy": judged.position.strategy,
        "seq": watch.seq,
        "triggers": [{"rule": each.rule.value, "priority": each.priority} for each in fired],
        "chosen": fired[0].rule.value,
        "qty": judged.position.qty,
        "mark": judged.mark,
        "pnl": case.pnl,
        "peak": watch.peak,
        "worst": watch.worst,
        "held_min": round(case.held_min, 6),
        "dte": case.dte,
        "eod_window": None if at is None else f"W{at}",
        "person": watch.person,
    }
    watch.seq += 1
    watch.rules = [trigger.rule for trigger in fired]
    told = turn.state.books[judged.instrument].told
    causes = [cause] if told is None else [cause, told]
    if judged.case.option:
        causes += outlook.inputs(turn, known.underlying)
    return turn.emit("exits", fields, list(dict.fromkeys(causes)))
