"""A judge of sessions at the paper exchange: it trusts the exchange's own log, and compares accounts with it.

``Watch`` looks at the limits at every trade update. ``judge`` looks at a session that has come to rest.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from tapedeck.connectors.paper.book import Book
from tapedeck.connectors.paper.door import Entry
from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.faults import Fault
from tapedeck.streams.config.accounts import Account
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.stages.account.rules.orders import ID_PREFIX, Side
from tests.support.paths import bodies, held

ZERO = Decimal(0)
DOUBT_US = 60 * SECOND_US
LATEST_ALARM_US = 15 * SECOND_US
"""How long after that the alarm may come: an account looks at itself with the next record of its inbox."""
_LOOKED_FOR = 4
_IN_DOUBT = ("INTENT", "SUBMITTED", "UNKNOWN", "UNRECOGNISED")
_WORKING = ("ACCEPTED", "PARTIAL", "CANCEL_PENDING")


class Door(Protocol):
    """Every call about an order, and how many came before a refused rate allowed one, by account number."""

    journal: deque[Entry]
    early: Counter[str]


class Exchange(Protocol):
    """What is kept of an exchange."""

    @property
    def books(self) -> Mapping[str, Book]: ...

    @property
    def door(self) -> Door: ...


class Judged(Protocol):
    """A session: its configuration, its log, its exchange, and what passed a limit meanwhile."""

    config: Config
    log: MemoryLog
    exchange: Exchange

    @property
    def passed(self) -> Iterable[str]: ...


@dataclass
class Watch:
    """Looks at each account at every trade update: what it holds and what may still be bought.

    ``highest`` has the largest of each limited number, by account; ``broken`` what passed its limit.
    """

    exchange: PaperExchange
    accounts: tuple[Account, ...]
    highest: dict[tuple[str, str], Decimal] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._by_number = {account.broker_account_id: account for account in self.accounts}
        self.exchange.listen(self._look)

    def _look(self, number: str, update: dict[str, Any]) -> None:
        account, book = self._by_number[number], self.exchange.books[number]
        for name, value in numbers(book).items():
            limit = Decimal(getattr(account, name))
            key = account.account_id, name
            self.highest[key] = max(self.highest.get(key, ZERO), value)
            if value > limit:
                self.broken.append(f"{account.account_id}: {name} {value} > {limit} at {self.exchange.now}")


def numbers(book: Book) -> dict[str, Decimal]:
    """The numbers of an account that have a limit, each with what working buys may still add."""
    buys = [order for order in book.working() if order.side is Side.BUY]
    contracts: dict[str, Decimal] = defaultdict(Decimal)
    exposure, instruments = ZERO, set(book.ledger.positions)
    for at in book.ledger.positions.values():
        exposure += abs(at.cost)
        if at.listing.is_option:
            contracts[at.listing.underlying] += abs(at.qty)
    for order in buys:
        instruments.add(order.listing.symbol)
        exposure += order.remaining * (order.limit_price or ZERO) * order.listing.multiplier
        if order.listing.is_option:
            contracts[order.listing.underlying] += order.remaining
    return {
        "max_positions": Decimal(len(instruments)),
        "max_pending_orders": Decimal(len(buys)),
        "max_contracts": max(contracts.values(), default=ZERO),
        "max_exposure": exposure,
    }


def judge(run: Judged) -> list[str]:
    """What is wrong with a session that has come to rest after a close; empty if nothing is."""
    wrong = [*run.passed, *sent_again(run.exchange.door.journal)]
    wrong += [f"{number} called {n} times too early" for number, n in run.exchange.door.early.items()]
    for account in run.config.accounts:
        name, book = account.account_id, run.exchange.books[account.broker_account_id]
        ours, theirs = held(run.log, name), {at: each.qty for at, each in book.ledger.positions.items()}
        if ours != theirs:
            wrong.append(f"{name} holds {ours}, and the exchange says {theirs}")
        if theirs:
            wrong.append(f"{name} holds {theirs} over the close, and all of it was traded for the day")
        wrong += misattributed(run.log, name, book)
        wrong += unsettled(run.log, name, book)
        wrong += silent_doubts(run.log, name)
    return wrong


def sent_again(journal: Iterable[Entry]) -> list[str]:
    """Client ids that were sent more than once without being asked about, or were accepted twice.

    The same id may be sent again only after the exchange has said four times that there is no such order, or
    when it refused the call for its rate.
    """
    wrong = []
    absent: Counter[tuple[str, str]] = Counter()
    sent: dict[tuple[str, str], Fault | None] = {}
    accepted: Counter[tuple[str, str]] = Counter()
    for entry in journal:
        key = entry.number, entry.subject
        if entry.operation == "order" and entry.outcome == 404 and entry.told is None:
            absent[key] += 1
        elif entry.operation == "submit":
            limited = sent.get(key) is Fault.RATE_LIMIT
            if key in sent and absent[key] < _LOOKED_FOR and not limited:
                wrong.append(f"{key} was sent again after {absent[key]} questions")
            sent[key], absent[key] = entry.told, 0
            accepted[key] += entry.outcome == 200
    return [*wrong, *(f"{key} was accepted {n} times" for key, n in accepted.items() if n > 1)]


def misattributed(log: MemoryLog, account: str, book: Book) -> list[str]:
    """Executions that are not booked once, under what was sent: what replaced an order of ours is ours."""
    booked: dict[str, list[str]] = defaultdict(list)
    for each in _of(log, "executions", account):
        booked[each["execution_id"]].append(each["client_order_id"])
    wrong = []
    for execution in book.executions:
        order = book.orders[execution.order_id]
        while order.replaces is not None:
            order = book.orders[order.replaces]
        found = booked.pop(execution.execution_id, [])
        if found != [order.client_order_id]:
            wrong.append(f"{account} books {execution.execution_id} of {order.client_order_id} under {found}")
    return wrong + [
        f"{account} books {each} of {under}, which is not the exchange's" for each, under in booked.items()
    ]


def unsettled(log: MemoryLog, account: str, book: Book) -> list[str]:
    """Orders of ours whose newest state is not the exchange's."""
    known = book.by_client_id
    newest = {each["client_order_id"]: each["state"] for each in _of(log, "orders", account)}
    ours = {name for name in known if name.startswith(ID_PREFIX)}
    wrong = [f"{name} is at the exchange, and not ours" for name in sorted(ours - set(newest))]
    for name, state in sorted(newest.items()):
        order = known.get(name)
        if state in _IN_DOUBT:
            wrong.append(f"{name} is {state}, and the exchange says {order.status if order else 'nothing'}")
        elif order is not None and order.is_open and state not in _WORKING:
            wrong.append(f"{name} is {state}, and works at the exchange")
        elif state in _WORKING and not (order is not None and order.is_open):
            wrong.append(f"{name} is {state}, and the exchange says {order.status if order else 'nothing'}")
    return wrong


def silent_doubts(log: MemoryLog, account: str) -> list[str]:
    """Orders that were UNKNOWN for more than a minute, of which the account did not warn in time."""
    warned = [
        (each["event_time"], {text.partition(":")[2] for text in each["warnings"] if "ORDER_UNKNOWN" in text})
        for each in _of(log, "accounts", account)
    ]
    states: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for each in _of(log, "orders", account):
        states[each["client_order_id"]].append((each["event_time"], each["state"]))
    wrong = []
    for name, seen in sorted(states.items()):
        for n, (began, state) in enumerate(seen):
            if state != "UNKNOWN" or (n and seen[n - 1][1] == state):
                continue
            ended = next((at for at, later in seen[n:] if later != state), None)
            due = began + DOUBT_US + LATEST_ALARM_US
            if ended is not None and ended <= due:
                continue
            if not any(name in names and began < at <= due for at, names in warned):
                lasted = "to the end" if ended is None else f"for {(ended - began) / SECOND_US:.0f} s"
                wrong.append(f"{name} was UNKNOWN {lasted}, without an alarm")
    return wrong


def _of(log: MemoryLog, name: str, account: str) -> list[dict[str, Any]]:
    """What an account wrote, in order; an event that was written again after a crash is there once."""
    found: dict[str, dict[str, Any]] = {}
    for each in bodies(log, name):
        if each["account_id"] == account:
            found.setdefault(each["event_id"], each)
    return list(found.values())


def told(counts: Iterable[Counter[Fault]]) -> str:
    """How often each fault happened over several sessions, one line per kind."""
    total: Counter[Fault] = sum(counts, Counter())
    return "\n".join(f"{fault:26} {n:6}" for fault, n in sorted(total.items()))
