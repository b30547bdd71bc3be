"""Round trips: what each position cost and gave, from the executions of one account in log order."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.account.rules.positions import describe, position_id
from tapedeck.tape.backtest.account import AccountRecord

Body = dict[str, Any]
ZERO = Decimal(0)
EXPIRY, SIGNAL_CLOSE, EXTERNAL, STILL_OPEN = "EXPIRY", "SIGNAL_CLOSE", "EXTERNAL", "STILL_OPEN"
_ACTIVITIES = {"OPEXP": EXPIRY, "OPEXC": "EXERCISE", "OPASN": "ASSIGNMENT"}
UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Trade:
    """One position from its first execution to its last, or to the end of the run (STILL_OPEN).

    Times are UTC microseconds; ``entry`` and ``exit`` average prices; ``gross`` is realised and, where it is
    still open, unrealised at mid, USD; ``net`` is that after ``fees``. None where nobody knows a price.
    ``cost``: what the entries cost, always positive. ``peak`` and ``worst``: P&L while held, as fractions.
    ``priced_by``: the origin of the quote that it was opened on, empty if nobody asked for one.
    """

    account_id: str
    position_id: str
    symbol: str
    instrument: str
    kind: str
    strategy: str
    owner: str
    side: str
    qty: Decimal
    multiplier: int
    opened_at: int
    closed_at: int | None
    entry: Decimal | None
    exit: Decimal | None
    cost: Decimal
    gross: Decimal | None
    fees: Decimal
    net: Decimal | None
    exit_reason: str
    signal_id: str | None
    confidence: float | None
    peak: Decimal | None
    worst: Decimal | None
    priced_by: str

    @property
    def is_open(self) -> bool:
        return self.closed_at is None

    @property
    def held_min(self) -> float | None:
        """Minutes from the first execution to the last; None while it is open."""
        return None if self.closed_at is None else (self.closed_at - self.opened_at) / MINUTE_US

    @property
    def gain(self) -> float | None:
        """``net`` as a fraction of ``cost``."""
        return None if self.net is None or not self.cost else float(self.net / self.cost)


@dataclass
class _Leg:
    """One side of a position: units, their worth, and whether a price is missing."""

    qty: Decimal = ZERO
    worth: Decimal = ZERO
    known: bool = True

    def add(self, qty: Decimal, price: Decimal | None) -> None:
        self.qty += qty
        self.worth += qty * (price or ZERO)
        self.known = self.known and price is not None

    @property
    def price(self) -> Decimal | None:
        return self.worth / self.qty if self.qty and self.known else None


@dataclass
class _Open:
    """A position on its way."""

    identity: str
    opened_at: int
    sign: int
    first: Body
    entry: _Leg = field(default_factory=_Leg)
    exit: _Leg = field(default_factory=_Leg)
    fees: Decimal = ZERO
    last: Body | None = None

    @property
    def left(self) -> Decimal:
        return self.entry.qty - self.exit.qty


class _Known:
    """What the account's other records say of positions and orders."""

    def __init__(self, record: AccountRecord) -> None:
        records, self.marks = record.records, record.marks
        self.positions = {each["position_id"]: each for each in records["positions"]}
        self.exits = {each["position_id"]: each["chosen"] for each in records["exits"]}
        self.orders = {each["client_order_id"]: each for each in records["orders"]}
        self.proposals = {
            each["signal_id"]: (each["confidence"], (each["quote"] or {}).get("origin", ""))
            for each in records["proposals"]
        }

    def reason(self, position: str, last: Body) -> str:
        """Why a position ended."""
        told = self.positions.get(position, {}).get("exit_reason") or self.exits.get(position)
        order = self.orders.get(last["client_order_id"])
        told = told or (order or {}).get("exit_reason")
        if last["source"] == "ACTIVITY":
            return _ACTIVITIES.get(last["execution_id"].partition("|")[0], EXTERNAL)
        if told or last.get("reason"):
            return str(last.get("reason") or told)
        return SIGNAL_CLOSE if order is not None else EXTERNAL


def trades_of(record: AccountRecord, calendar: Calendar) -> list[Trade]:
    """The account's trades by the time they were opened. What is still open is worth its last mid."""
    known, account_id = _Known(record), record.account_id
    by_instrument: dict[str, list[Body]] = defaultdict(list)
    for execution in _once(record.records["executions"]):
        by_instrument[execution["instrument"]].append(execution)
    found = [
        _trade(account_id, instrument, each, known, calendar)
        for instrument, executions in by_instrument.items()
        for each in _folded(account_id, instrument, executions)
    ]
    return sorted(found, key=lambda trade: (trade.opened_at, trade.position_id))


def _once(executions: Iterable[Body]) -> Iterable[Body]:
    return {each["execution_id"]: each for each in executions}.values()


def _folded(account_id: str, instrument: str, executions: Iterable[Body]) -> Iterator[_Open]:
    """The positions of one instrument. An execution beyond zero ends one and begins the opposite one."""
    now: _Open | None = None
    for each in executions:
        left, sign = each["qty"], 1 if each["side"] == "BUY" else -1
        fee, ends = each["fee"], _ends(each)
        while left:
            if now is None:
                if ends:
                    break  # an expiry that found nothing to close
                identity = position_id(account_id, instrument, each["execution_id"])
                now = _Open(identity, each["event_time"], sign, each)
            adds = sign == now.sign and not ends
            taken = left if adds else min(left, now.left)
            (now.entry if adds else now.exit).add(taken, each["price"])
            now.fees, now.last, fee = now.fees + fee, each, ZERO
            left -= taken
            if not now.left:
                yield now
                now = None
    if now is not None:
        yield now


def _ends(execution: Body) -> bool:
    """Whether an execution is the option's leg of an expiry: that closes, whatever its side."""
    return execution["source"] == "ACTIVITY" and execution["execution_id"].partition("|")[0] in _ACTIVITIES


def _ended_at(last: Body, expiry: int | None, calendar: Calendar) -> int:
    """When a position ended: an expired one at the close, however late the broker told."""
    session = calendar.session_on(expiry) if expiry is not None and _ends(last) else None
    told: int = last["event_time"]
    return told if session is None else min(session.close, told)


def _trade(account_id: str, instrument: str, found: _Open, known: _Known, calendar: Calendar) -> Trade:
    about, place, mark = (
        describe(instrument),
        known.positions.get(found.identity, {}),
        known.marks.get(instrument),
    )
    entry, left = found.entry.price, found.left
    out: Decimal | None = found.exit.worth
    if left:
        out = None if mark is None else found.exit.worth + left * mark
    gross = None
    if out is not None and entry is not None and found.exit.known:
        gross = (out - found.entry.worth) * about.multiplier * found.sign
    assert found.last is not None
    opened_by = known.orders.get(found.first["client_order_id"], {})
    signal = place.get("signal_id") or opened_by.get("signal_id")
    confidence, priced_by = known.proposals.get(signal or "", (None, ""))
    return Trade(
        account_id=account_id,
        position_id=found.identity,
        symbol=about.underlying,
        instrument=instrument,
        kind=about.kind.value,
        strategy=place.get("strategy") or UNKNOWN,
        owner=place.get("owner") or found.first["owner"],
        side="LONG" if found.sign > 0 else "SHORT",
        qty=found.entry.qty,
        multiplier=about.multiplier,
        opened_at=found.opened_at,
        closed_at=None if left else _ended_at(found.last, about.expiry, calendar),
        entry=entry,
        exit=None if left else found.exit.price,
        cost=found.entry.worth * about.multiplier,
        gross=gross,
        fees=found.fees,
        net=None if gross is None else gross - found.fees,
        exit_reason=STILL_OPEN if left else known.reason(found.identity, found.last),
        signal_id=signal,
        confidence=confidence,
        peak=place.get("peak"),
        worst=place.get("worst"),
        priced_by=priced_by,
    )
