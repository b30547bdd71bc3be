"""The account part: one dispatcher beside its own paper exchange, session after session."""

from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import sha256
from tempfile import TemporaryFile
from typing import Any, NamedTuple

from tapedeck.connectors.controls import EVERY_ACCOUNT, control, write_control
from tapedeck.connectors.dispatch.inbox import INBOX
from tapedeck.connectors.dispatch.lease import MemoryLeases
from tapedeck.connectors.dispatch.simulated import SimDispatcher
from tapedeck.connectors.paper.book import TIER_CASH, PaperAccount
from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.fills import Fees
from tapedeck.schemas.codec import PREFIX, decode
from tapedeck.streams.columnar.rows import Rows
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.sim.task import SimTask
from tapedeck.streams.stages.account.rules.gate_types import KillState
from tapedeck.streams.topology import Topology
from tapedeck.streams.wire import event_id_in, watermark_wires
from tapedeck.tape.backtest.fed import Fed, minutes_of, with_signal
from tapedeck.tape.backtest.held import HeldStage, made
from tapedeck.tape.backtest.log import RollingLog
from tapedeck.tape.backtest.newest import NewestOfDay
from tapedeck.topics.catalogue import WATERMARK_KEY, Layout

Body = dict[str, Any]
SAMPLE_US = 5 * MINUTE_US
_HEAR_MINUTES = 12
ZERO = Decimal(0)


class Sample(NamedTuple):
    """The account at one moment: equity and what its positions are worth at mid, long and short added, USD.
    ``closes``: the last of its session."""

    at: int
    date: int
    equity: Decimal
    exposure: Decimal
    closes: bool


class Kept(Collection[Body]):
    """Records of topic ``name`` in order. Kept as bytes, a fraction of a body: whoever reads decodes them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._values: list[bytes] = []

    def add(self, value: bytes) -> None:
        self._values.append(value)

    def __iter__(self) -> Iterator[Body]:
        return (decode(self._name, value) for value in self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, body: object) -> bool:
        return any(each == body for each in self)


@dataclass
class AccountRecord:
    """What one account did. ``records``: bodies by topic, ``orders`` and ``positions`` every state."""

    account_id: str
    tier: str
    cash: Decimal
    records: dict[str, Collection[Body]] = field(default_factory=lambda: defaultdict(list))
    samples: list[Sample] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    daily: dict[int, dict[str, str]] = field(default_factory=dict)
    marks: dict[str, Decimal] = field(default_factory=dict)
    """The mid of what is held at the end, by instrument."""


class AccountRun:
    """One account. Give it the sessions in order, then take its ``record``."""

    def __init__(
        self,
        topology: Topology,
        config: Config,
        account_id: str,
        calendar: Calendar,
        *,
        fees: Fees,
        cash: Decimal | None = None,
        seed: int = 0,
        layout: Layout | None = None,
        daily: bool = False,
        outlook: Sequence[tuple[str, Body]] = (),
    ) -> None:
        self._topology, self._config, self._calendar = topology, config, calendar
        self._account = account = config.account(account_id)
        self._fees, self._seed, self._is_daily = fees, seed, daily
        cash = Decimal(TIER_CASH[account.tier]) if cash is None else cash
        self._log = RollingLog(layout or Layout())
        self._outlook = deque(outlook)
        self._opened = PaperAccount(account.broker_account_id, "", "", cash, margin=account.allow_shorting)
        self._exchange: PaperExchange | None = None
        self._newest = NewestOfDay()
        self._outputs = topology.account.outputs
        self._rows = {name: Rows(TemporaryFile) for name in (INBOX, *self._outputs)}
        self._kept = {name: Kept(name) for name in self._outputs}
        self.record = AccountRecord(account_id, account.tier, cash, {**self._kept})

    def day(self, fed: Fed) -> None:
        """Live through one session."""
        first = fed.labels[0]
        if self._exchange is None:
            self._begin(fed)
        else:
            self._exchange.open_market(fed.market, first)
        self._announce(fed.labels[-1] + MINUTE_US)
        self._newest.begin(fed, with_signal(fed) | self._holds())
        waiting = list(minutes_of(fed))
        self._put(waiting, first - MINUTE_US)
        for label in fed.labels:
            self._until_end_of(label)
            self._put(waiting, label)
            self._newest.reach(label)
            self._dispatcher.work()
            self._sample(fed, label)
        self._keep(fed.date)

    def _announce(self, until: int) -> None:
        """Write what becomes available by ``until``: what comes later no session before it can see."""
        writer = self._log.writer()
        while self._outlook and self._outlook[0][1]["available_at"] <= until:
            writer.send(*self._outlook.popleft())

    def _put(self, waiting: Sequence[Mapping[int, Sequence[Message]]], label: int) -> None:
        for minutes in waiting:
            for message in minutes.get(label, ()):
                self._log.put(message)

    def _holds(self) -> set[str]:
        """The underlyings of what is held or ordered."""
        assert self._exchange is not None
        book = self._exchange.books[self._account.broker_account_id]
        held = {at.listing.underlying for at in book.ledger.positions.values()}
        return held | {order.listing.underlying for order in book.working()}

    def finish(self) -> AccountRecord:
        """Let pending work end in the minute after the last session, hear of its expiries, and sum up.

        The digests are as of the end of that minute.
        """
        self.settle()
        self.record.digests = {name: rows.hexdigest() for name, rows in self._rows.items()}
        if self._exchange is not None:
            for _ in range(_HEAR_MINUTES):
                self._pass_minute()
            self._keep(None)
            held = self._exchange.positions(self._account.broker_account_id)
            last = self.record.samples[-1]
            self.record.samples[-1] = self._sampled(last.at, last.date, last.closes)
            self.record.marks = {each["symbol"]: Decimal(each["current_price"]) for each in held}
            self.record.counts |= self._dispatcher.task.counts
        return self.record

    def settle(self) -> None:
        """Let pending work end in the minute after the last session."""
        if self._exchange is not None:
            self._until_end_of(self._exchange.now)
            self._keep(None)

    def _pass_minute(self) -> None:
        """A minute without a signal: every five of them the dispatcher asks what became of its contracts."""
        assert self._exchange is not None
        label = self._exchange.now // MINUTE_US * MINUTE_US
        self._until_end_of(label)
        for name in self._topology.signal_topics:
            for wire in watermark_wires(name, label, range(self._log.layout.partitions(name))):
                self._log.append(wire)
        self._dispatcher.work()

    def _begin(self, fed: Fed) -> None:
        first = fed.labels[0]
        self._exchange = exchange = PaperExchange(
            fed.market, self._calendar, [self._opened], now=first, seed=self._seed, fees=self._fees
        )
        self._dispatcher = SimDispatcher(
            self._log,
            self._config,
            self._topology,
            self._account.account_id,
            exchange,
            calendar=self._calendar,
            leases=MemoryLeases(lambda: exchange.now / 1e6),
            newest=self._newest,
        )
        spec, home = self._topology.account, self._dispatcher.task.home
        self._stage = made(spec, self._config, self._calendar, self._account.account_id)
        key = self._account.account_id.encode()
        self._dispatcher.task = SimTask(
            spec, self._stage, self._log, (home,), only_key=key, source="dispatch"
        )
        start = control(EVERY_ACCOUNT, KillState.ACTIVE, person="sim", reason="start", now=first)
        write_control(self._log.writer(), start)

    def _until_end_of(self, label: int) -> None:
        """Move the exchange to the end of the minute, through every moment at which a request is due."""
        exchange, dispatcher = self._exchange, self._dispatcher
        assert exchange is not None
        end = label + MINUTE_US
        while exchange.now < end:
            due = dispatcher.next_due
            exchange.advance(end if due is None else min(end, max(due, exchange.now + 1)))
            dispatcher.work()

    def _sample(self, fed: Fed, label: int) -> None:
        """Note equity and exposure every five minutes of the session, and at its end."""
        session = self._calendar.session_on(fed.date)
        end, closes = label + MINUTE_US, label == fed.labels[-1]
        inside = session is not None and session.open < end <= session.close
        if not closes and not (inside and end % SAMPLE_US == 0):
            return
        self.record.samples.append(self._sampled(end, fed.date, closes))

    def _sampled(self, at: int, date: int, closes: bool) -> Sample:
        assert self._exchange is not None
        number = self._account.broker_account_id
        held = self._exchange.positions(number)
        exposure = sum((abs(Decimal(each["market_value"])) for each in held), ZERO)
        return Sample(at, date, Decimal(self._exchange.account(number)["equity"]), exposure, closes)

    def _keep(self, date: int | None) -> None:
        """Take what the records of session ``date`` say, before the log forgets them."""
        daily = {name: sha256() for name in self._outputs} if self._is_daily and date is not None else {}
        for (name, _), messages in self._log.parts():
            if name not in self._rows:
                continue
            for message in messages:
                if message.value is None or message.key == WATERMARK_KEY:
                    continue
                identity = event_id_in(message.value)
                assert identity is not None  # the dispatcher and the stage write no other
                key = message.key or b""
                self._rows[name].add_one(key, identity, message.value[PREFIX.size :])
                if name in daily:
                    daily[name].update(message.value)
                if name != INBOX:
                    self._kept[name].add(message.value)
        self._log.forget()
        if date is not None:
            self.record.daily[date] = {name: total.hexdigest() for name, total in daily.items()}

    def state(self) -> bytes | None:
        """The account's state as the live stage would keep it; None for a stage of one's own."""
        return self._stage.packed() if isinstance(self._stage, HeldStage) else None
