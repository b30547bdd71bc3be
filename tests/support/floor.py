"""One account's dispatcher beside a paper exchange that misbehaves, moved by seconds.

Everything between a signal and a position is the shipped code: router, dispatcher, account stage, exchange.
Time is the exchange's. After each script ``check`` holds what must hold whatever went wrong.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal as D
from typing import Any

from tapedeck.connectors.controls import EVERY_ACCOUNT, control, write_control
from tapedeck.connectors.dispatch.lease import MemoryLeases
from tapedeck.connectors.dispatch.simulated import SimDispatcher
from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.faults import Fault, Faults
from tapedeck.connectors.tapes.market import ContractQuote, StockQuote
from tapedeck.streams import frame
from tapedeck.streams.config.document import Config
from tapedeck.streams.digests import of_messages, of_state
from tapedeck.streams.identity import event_id
from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.streams.sessions import Calendar, xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.task import drain
from tapedeck.streams.stages.account.rules.gate_types import KillState
from tapedeck.streams.stages.account.rules.orders import TERMINAL, OrderState
from tapedeck.streams.stages.account.state import AccountState, unpack
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.wire import record_wire, watermark_wires
from tapedeck.topics.catalogue import Layout, topic
from tests.support.paper import LARGE, TEN, TINY, TinyMarket, exchange, order
from tests.support.paths import CONFIG, INBOX, OUTPUTS, account_task, bodies, copied, held

ACCOUNT = "large"
NUMBER = CONFIG.account(ACCOUNT).broker_account_id
DAY_CALL = "NVDA260218C00152500"
"""What a day_trade BUY_CALL of NVDA chooses: it expires tomorrow."""
SWING_CALL = "NVDA260306C00150000"


class FloorMarket(TinyMarket):
    """NVDA and AMD with contracts that the rules would choose, at 1.98 / 2.02.

    ``age_s``: how old a quote is. Each contract is changed by ``every``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.age_s = 1
        self.every: dict[str, Any] = {}
        for name in (DAY_CALL, SWING_CALL, "AMD260306C00100000"):
            self.price(name, "1.98", "2.02")

    def stock_quote(self, symbol: str, now: int) -> StockQuote | None:
        found = super().stock_quote(symbol, now)
        return found and replace(found, time=now - self.age_s * SECOND_US)

    def _contract(self, name: str, now: int) -> ContractQuote:
        return replace(super()._contract(name, now), time=now - self.age_s * SECOND_US, **self.every)


class Floor:
    """One account, its exchange and the log between them. ``options`` are the exchange's.

    ``before`` happens at the exchange before the dispatcher starts. ``calendar`` is the dispatcher's. Unless
    ``armed``, nobody has said that the account may open. ``shorts``: it may sell short.
    """

    def __init__(
        self,
        *,
        now: int = TEN,
        market: FloorMarket | None = None,
        before: Callable[[PaperExchange], None] = lambda paper: None,
        config: Config = CONFIG,
        calendar: Calendar | None = None,
        armed: bool = True,
        shorts: bool = False,
        **options: Any,
    ) -> None:
        if shorts:
            options["accounts"] = [LARGE._replace(margin=True), TINY]
            may = [each.model_copy(update={"allow_shorting": True}) for each in config.accounts]
            config = config.model_copy(update={"accounts": tuple(may)})
        self.config, self.shorts, self.market = config, shorts, market or FloorMarket()
        self.faults = Faults()
        self.paper: PaperExchange = exchange(self.market, now=now, faults=self.faults, **options)
        before(self.paper)
        self.log = MemoryLog(Layout())
        if armed:
            self.control()
        self.dispatcher = SimDispatcher(
            self.log, config, TOPOLOGY, ACCOUNT, self.paper, calendar=calendar or xnys(),
            leases=MemoryLeases(lambda: self.paper.now / 1e6),
        )  # fmt: skip
        self.dispatcher.work()
        self._signals = 0

    # what the test does ---------------------------------------------------------------------------------

    def arm(self, fault: Fault, operation: str | None = None, **options: Any) -> None:
        self.faults.arm(fault, operation=operation, account=NUMBER, **options)

    def move(self, seconds: float) -> "Floor":
        """Let time pass, stopping wherever the dispatcher has something to do and at every minute's end."""
        end = self.paper.now + round(seconds * SECOND_US)
        while self.paper.now < end:
            minute = (self.paper.now // MINUTE_US + 1) * MINUTE_US
            due = self.dispatcher.next_due
            stop = end if due is None else min(end, max(due, self.paper.now + 1))
            self.paper.advance(min(stop, minute))
            if self.paper.now >= minute:
                for wire in watermark_wires("signals", minute - MINUTE_US, range(4)):
                    self.log.append(wire)
            self.dispatcher.work()
        return self

    def until(self, when: int) -> "Floor":
        return self.move((when - self.paper.now) / SECOND_US)

    def jump(self, when: int) -> "Floor":
        """Over a night: nothing is looked at on the way."""
        self.paper.advance(when)
        for wire in watermark_wires("signals", when // MINUTE_US * MINUTE_US - MINUTE_US, range(4)):
            self.log.append(wire)
        self.dispatcher.work()
        return self

    def minute(self) -> "Floor":
        """Up to the end of this minute."""
        return self.until((self.paper.now // MINUTE_US + 1) * MINUTE_US)

    def wait_for(self, what: Callable[[], Any], seconds: int = 120) -> "Floor":
        """Move second by second until ``what`` holds; fails if it does not within ``seconds``."""
        for _ in range(seconds):
            if what():
                return self
            self.move(1)
        assert what(), f"not within {seconds} s"
        return self

    def compare(self) -> "Floor":
        """Up to the next comparison with the broker, which comes every five minutes."""
        before = len(self.comparisons())
        return self.wait_for(lambda: len(self.comparisons()) > before, 360)

    def signal(self, symbol: str = "NVDA", action: str = "BUY_CALL", **changes: Any) -> "Floor":
        """A signal of the minute that runs, and the end of that minute."""
        self.write_signal(symbol, action, **changes)
        return self.minute()

    def write_signal(self, symbol: str = "NVDA", action: str = "BUY_CALL", **changes: Any) -> None:
        """A signal of the minute that runs."""
        self._signals += 1
        bar_t = self.paper.now // MINUTE_US * MINUTE_US
        bid, ask = (side or D(0) for side in self.market.prices[symbol])
        body = {
            "event_id": event_id("signals", (symbol, bar_t, self._signals)),
            "event_time": bar_t + MINUTE_US,
            "config_digest": CONFIG.digest,
            "rules_version": "test",
            "inputs": [],
            "signal_id": f"sg_{self._signals:024x}",
            "symbol": symbol,
            "feed": "iex",
            "bar_t": bar_t,
            "bar_revision": 0,
            "as_of": bar_t + MINUTE_US,
            "action": action,
            "strategy": "day_trade",
            "reason": "OPTION_DAY_TRADE",
            "confidence": 0.8,
            "direction": "BULL",
            "factors": dict.fromkeys(("base", "sentiment", "volume", "move", "momentum")),
            "close": float((bid + ask) / 2),
            "sentiment_n": 0,
            "sentiment_avg": 0.0,
        } | changes
        self.log.append(record_wire("signals", topic("signals").record_key(body), body, self.log.layout, ()))

    def end_early(self, label: int) -> "Floor":
        """The minute ``label`` ends for the dispatcher now, whatever the exchange's time is."""
        for wire in watermark_wires("signals", label, range(4)):
            self.log.append(wire)
        self.dispatcher.work()
        return self

    def control(
        self, state: KillState = KillState.ACTIVE, scope: str = EVERY_ACCOUNT, **command: Any
    ) -> None:
        now = self.paper.now
        body = control(scope, state, person="ann", reason="test", now=now)
        write_control(self.log.writer(), body | command)

    def close(self, instrument: str) -> "Floor":
        """A person closes the position of ``instrument``."""
        position = self.position(instrument)["position_id"]
        self.control(scope=ACCOUNT, command="CLOSE_POSITION", target=position)
        self.dispatcher.work()
        return self

    def by_hand(self, name: str = "by-hand", **changes: Any) -> dict[str, Any]:
        """A person's order in this account, past the dispatcher."""
        placed = self.paper.submit(NUMBER, order(name, **changes))
        self.dispatcher.work()
        return placed

    def opened(self, symbol: str = "NVDA", action: str = "BUY_CALL", **changes: Any) -> str:
        """Signal, and wait until it is filled; returns the instrument."""
        self.signal(symbol, action, **changes)
        self.wait_for(lambda: not self.state.parents and self.executions())
        return str(self.orders()[-1]["instrument"])

    # what came of it ------------------------------------------------------------------------------------

    @property
    def state(self) -> AccountState:
        kept = dict(self.dispatcher.task.disk.items())[ACCOUNT.encode()]
        return unpack(frame.unpack(kept).body)

    def of(self, name: str) -> list[dict[str, Any]]:
        return [each for each in bodies(self.log, name) if each["account_id"] == ACCOUNT]

    def proposals(self) -> list[tuple[str, str]]:
        return [(each["verdict"], each["primary_reason"]) for each in self.of("proposals")]

    def orders(self) -> list[dict[str, Any]]:
        """The newest record of each order, in the order of their INTENTs."""
        newest: dict[str, dict[str, Any]] = {}
        for each in self.of("orders"):
            newest[each["client_order_id"]] = each
        return list(newest.values())

    def closes(self) -> list[dict[str, Any]]:
        return [each for each in self.orders() if each["purpose"] == "CLOSE"]

    def states(self, client_order_id: str) -> list[str]:
        return [each["state"] for each in self.of("orders") if each["client_order_id"] == client_order_id]

    def executions(self) -> list[dict[str, Any]]:
        return self.of("executions")

    def sold(self) -> D:
        return sum((each["qty"] for each in self.executions() if each["side"] == "SELL"), D(0))

    def comparisons(self) -> list[dict[str, Any]]:
        inbox = (each["payload"] for each in self.of(INBOX))
        return [payload for kind, payload in inbox if kind == "tapedeck.InboxBroker"]

    def position(self, instrument: str) -> dict[str, Any]:
        return [each for each in self.of("positions") if each["instrument"] == instrument][-1]

    def account(self) -> dict[str, Any]:
        return self.of("accounts")[-1]

    def held(self) -> dict[str, D]:
        return held(self.log, ACCOUNT)

    def at_broker(self) -> dict[str, D]:
        return {symbol: at.qty for symbol, at in self.paper.books[NUMBER].ledger.positions.items() if at.qty}

    def sent(self) -> list[str]:
        """The client ids of what the exchange took of ours, in order; one twice would be two orders."""
        return [
            entry.subject for entry in self.paper.door.journal
            if entry.operation == "submit" and entry.number == NUMBER and entry.outcome == 200
        ]  # fmt: skip

    def calls(self, operation: str) -> int:
        return sum(entry.operation == operation for entry in self.paper.door.journal)

    def check(self, *, quiet: bool = True) -> None:
        """What holds whatever has happened; ``quiet``: nothing is on its way any more."""
        sent, known = Counter(self.sent()), {each["client_order_id"] for each in self.orders()}
        assert set(sent.values()) <= {1}, "an order twice"
        assert set(sent) <= known, "sent without an INTENT"
        check_bounds(self)
        if quiet:
            assert self.held() == self.at_broker()
            assert {OrderState(each["state"]) for each in self.orders()} <= TERMINAL
        assert not self.calls("replace"), "nothing here replaces an order"
        assert not list(self.log.messages("dead_letters"))
        for name in OUTPUTS:
            assert not of_messages(name, self.log.messages(name)).conflicts, name
        check_rebuilt(self)


def check_bounds(floor: Floor) -> None:
    """No signal buys more than was approved, and no close sells more than its position had."""
    approved = {each["signal_id"]: each["quantity"] for each in floor.of("proposals")}
    owner = {each["client_order_id"]: each for each in floor.orders()}
    bought: Counter[str] = Counter()
    quantity: Counter[str] = Counter()
    for each in floor.executions():
        mine = owner.get(each["client_order_id"])
        if mine is not None and mine["purpose"] == "OPEN":
            bought[mine["signal_id"]] += each["qty"]
        quantity[each["instrument"]] += each["qty"] if each["side"] == "BUY" else -each["qty"]
        assert floor.shorts or quantity[each["instrument"]] >= 0, "sold what was not held"
    assert all(qty <= approved[signal] for signal, qty in bought.items())


def check_rebuilt(floor: Floor) -> None:
    """The recorded inbox alone gives the same outputs and the same state."""
    log = copied(floor.log, INBOX)
    task = account_task(log, ACCOUNT, floor.config)
    drain([task])
    for name in OUTPUTS:
        mine = of_messages(name, floor.log.messages(name)).hexdigest()
        assert of_messages(name, log.messages(name)).hexdigest() == mine, name
    assert of_state(dict(task.disk.items())) == of_state(dict(floor.dispatcher.task.disk.items()))
