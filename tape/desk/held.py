"""Why a position was not closed: at one moment, what each exit rule lacked, and where its close stood."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from tapedeck.schemas.errors import Fatal
from tapedeck.schemas.readable import iso_time
from tapedeck.streams.blocks import Source
from tapedeck.streams.config.document import Config
from tapedeck.streams.misses import number
from tapedeck.streams.protocol import SECOND_US, Row
from tapedeck.streams.sessions import Calendar, xnys
from tapedeck.streams.stages.account import closing, fills, signals
from tapedeck.streams.stages.account.order_state import Parent
from tapedeck.streams.stages.account.rules.positions import describe
from tapedeck.streams.stages.account.rules.requests import FetchQuote
from tapedeck.streams.stages.account.rules.unclosed import Standing, standings
from tapedeck.streams.stages.account.stage import after_decisions
from tapedeck.streams.stages.account.state import AccountState
from tapedeck.streams.stages.account.turn import Turn
from tapedeck.streams.telling import new_york
from tapedeck.tape.whatif.accounts import AccountFold
from tapedeck.tape.whatif.inbox import Inbox


@dataclass(frozen=True, kw_only=True)
class Close:
    """The close that works on a position, if one does.

    ``order``: its newest client order id, ``state`` that order's state since ``state_s`` seconds.
    ``wait_s``: seconds until the next order may go out.
    """

    rule: str
    qty: str
    order: str | None
    state: str | None
    state_s: int | None
    attempts: int
    wait_s: int | None

    def text(self) -> str:
        """On one line."""
        if self.order is None:
            way = "no order was sent yet"
        else:
            way = f"order {self.order}, number {self.attempts}, is {self.state} since {self.state_s} s"
        later = "" if self.wait_s is None else f"; the next one waits {self.wait_s} s"
        return f"{self.rule} is closing {self.qty}: {way}{later}"


@dataclass(frozen=True, kw_only=True)
class Held:
    """One position at the moment. P&L and highest P&L are fractions of the average cost, None: unknown."""

    account: str
    position: str
    instrument: str
    strategy: str | None
    qty: str
    average_cost: str | None
    mark: str | None
    pnl: float | None
    peak: float
    held_min: float
    rules: tuple[Standing, ...]
    close: Close | None
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """As lines of text."""
        gain = "unknown" if self.pnl is None else f"{self.pnl:+.1%}"
        found = [
            f"{self.account}: {self.qty} {self.instrument} ({self.strategy or 'no strategy'}) bought at "
            f"{self.average_cost or 'an unknown price'}, held {self.held_min:.0f} min, id {self.position}",
            f"  mark {self.mark or 'unknown'}, P&L {gain}, highest {self.peak:+.1%}",
        ]
        found += [f"  {note}" for note in self.notes]
        if self.close is not None:
            found.append(f"  {self.close.text()}")
        found += [f"  {each.rule:<22} {each.text()}" for each in self.rules]
        return found


@dataclass(frozen=True, kw_only=True)
class WhyHeld:
    """Why what is held of ``symbol`` was not closed at ``at``, UTC microseconds."""

    symbol: str
    at: int
    positions: tuple[Held, ...]

    def text(self) -> str:
        """As text."""
        when = f"at {new_york(self.at)} New York"
        if not self.positions:
            return f"no account held anything of {self.symbol} {when}"
        head = f"{self.symbol} {when}: {len(self.positions)} held"
        return "\n".join([head, *(line for each in self.positions for line in each.lines())])

    def __repr__(self) -> str:
        return self.text()

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "symbol": self.symbol,
            "at": iso_time(self.at),
            "positions": [_as_dict(each) for each in self.positions],
        }


def _as_dict(held: Held) -> dict[str, Any]:
    rules = [
        {
            "rule": each.rule.value,
            "priority": each.priority,
            "fires": each.fires,
            "words": each.text(),
            "miss": None if each.miss is None else asdict(each.miss) | {"gap": each.miss.gap},
        }
        for each in held.rules
    ]
    return asdict(held) | {"rules": rules, "close": None if held.close is None else asdict(held.close)}


def why_held(
    source: Source,
    config: Config,
    symbol: str,
    *,
    at: int | None = None,
    account: str | None = None,
    calendar: Calendar | None = None,
) -> WhyHeld:
    """What is held of ``symbol`` and why it was not closed at ``at`` (UTC micros), or at the newest record.

    ``symbol`` is an underlying, an instrument or a position id. Each account's inbox is folded from its
    beginning. Raises Fatal for an account that is not configured and for inboxes without a record until then.
    """
    accounts = [each.account_id for each in config.accounts]
    if account is not None:
        accounts = [config.account(account).account_id]
    calendar, found, newest = calendar or xnys(), list[Held](), list[int]()
    turns = [(name, _folded(config, name, calendar, Inbox(source, name), at)) for name in accounts]
    for _, turn in turns:
        newest += [] if turn is None else [turn.now]
    if not newest:
        raise Fatal(
            "no account's inbox has a record until then",
            value=", ".join(accounts),
            remedy="name a later time with --at, or see in `tape accounts` whether the dispatchers run",
        )
    moment = max(newest) if at is None else at
    for name, turn in turns:
        if turn is not None:
            turn.now = moment
            found += _of(turn, name, symbol, config)
    return WhyHeld(symbol=symbol, at=moment, positions=tuple(found))


def _folded(
    config: Config, account: str, calendar: Calendar, rows: Iterable[Row], at: int | None
) -> Turn | None:
    """The account after its records up to ``at``; None if it has none."""
    fold, state, turn = AccountFold(config, account, calendar), AccountState(), None
    for row in rows:
        if at is not None and row.now > at:
            break
        taken = fold.take(state, row)
        if taken is not None:
            signals.advance(taken)
            after_decisions(taken)
            turn = taken
    return turn


def _of(turn: Turn, account: str, symbol: str, config: Config) -> Iterator[Held]:
    judged = {each.position.position_id: each for each in closing.judged(turn)}
    for instrument, position in fills.open_positions(turn):
        names = {position.position_id, instrument, describe(instrument).underlying}
        if symbol not in names and symbol.upper() not in names:
            continue
        each, parent = judged.get(position.position_id), closing.working_on(turn, position.position_id)
        yield Held(
            account=account,
            position=position.position_id,
            instrument=instrument,
            strategy=position.strategy,
            qty=number(position.qty),
            average_cost=number(position.average_cost) if position.costed else None,
            mark=None if each is None or each.mark is None else number(each.mark),
            pnl=None if each is None or each.gain is None else float(each.gain),
            peak=0.0 if each is None else float(each.watch.peak),
            held_min=(turn.now - position.opened_at) / (60 * SECOND_US),
            rules=() if each is None else tuple(standings(each.case, config)),
            close=None if parent is None else _close_of(turn, parent),
            notes=tuple(_notes(turn, each)),
        )


def _notes(turn: Turn, each: "closing.Judged | None") -> Iterator[str]:
    if each is None:
        yield "the contract is expired: the broker's settlement ends it"
        return
    if not turn.regular:
        yield "the market is closed: only a halt and a person's command close anything, at the next open"
    elif each.mark is None and turn.outstanding(FetchQuote, each.instrument) is not None:
        yield "its quote was asked for and is on the way: it is judged when that is here"
    elif each.mark is None:
        yield "no fresh mark: stop, target and trailing stop are not judged (`tape doctor` names the feed)"
    elif each.case.pnl is None:
        yield "its cost is unknown: stop, target and trailing stop are not judged (`tape reconcile`)"
    left = each.case.min_to_close
    first = turn.config.eod.windows_min[0]
    if each.case.option and left is not None and left > first:
        yield f"the rules of the day's end begin {first:g} min before the close, in {left - first:.0f} min"


def _close_of(turn: Turn, parent: Parent) -> Close:
    child = turn.state.orders.get(parent.child or "")
    waits = parent.resume_at is not None and parent.resume_at > turn.now
    return Close(
        rule="a signal" if parent.rule is None else parent.rule.value,
        qty=number(parent.remaining),
        order=None if child is None else child.client_order_id,
        state=None if child is None else child.state.value,
        state_s=None if child is None else _seconds(turn, child.since or child.accepted_at),
        attempts=parent.attempts,
        wait_s=-_seconds(turn, parent.resume_at) if waits and parent.resume_at is not None else None,
    )


def _seconds(turn: Turn, since: int | None) -> int:
    return 0 if since is None else (turn.now - since) // SECOND_US
