"""Seeded sessions of the simulated dispatchers against an exchange that misbehaves, and a judge of them.

A session is a few windows of a synthetic day. Its signals are drawn by the seed, many and wild, in place of
those of the market stages: what is judged is what the accounts do with them. The judge trusts the exchange's
own log alone, and compares the accounts with it when nothing moves any more.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tapedeck.connectors.dispatch.simulated import SimDispatcher
from tapedeck.connectors.paper.book import Book
from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.faults import Fault, Faults
from tapedeck.connectors.paper.tempers import Profile, temper
from tapedeck.streams.config.accounts import Account
from tapedeck.streams.config.document import Config
from tapedeck.streams.identity import event_id, signal_id
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import iso_utc
from tapedeck.streams.sim.crash import Fuse, Point
from tapedeck.streams.stages.account.rules.orders import ID_PREFIX, Side
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.sim.simulation import Simulation
from tests.support.paths import CONFIG, at_broker, bodies, cut, held
from tests.support.sim_tapes import small_tape

WINDOWS = (slice(40, 60), slice(363, 368), slice(380, 400))
"""Minutes of the tape: openings, the broker's own closing of expiring contracts, and the end of the day."""
LAST_SIGNAL = 60
CALM_FROM = 391
"""The minute of the tape at which the exchange calms down, so that what is pending can end."""
BUSY = 3_000
"""Effects of a dispatcher at one moment that no account needs."""
ZERO = Decimal(0)
_ACTIONS = ("BUY_CALL", "BUY_CALL", "BUY_PUT", "BUY_PUT", "BUY_STOCK", "SELL_STOCK")
_BULL = ("BUY_CALL", "BUY_STOCK")
_MOST_SIGNALS = 5
_LOOKED_FOR = 4


class RoughSession(Simulation):
    """One session. ``play`` it, let it ``rest``, then ``judge`` it. ``seed`` draws signals and faults."""

    def __init__(self, seed: int, profile: Profile = Profile.ROUGH, config: Config = CONFIG) -> None:
        self.faults = Faults(temper(profile, seed))
        super().__init__(TOPOLOGY, cut(small_tape(), *WINDOWS), config, seed=seed, faults=self.faults)
        self._rng = random.Random(f"signals|{seed}")
        self._closes = {
            minute.label: {bar["symbol"]: bar for bar in minute.bars} for minute in self.tape.minutes
        }
        minutes = small_tape().minutes
        self._last_signal, self._calm_at = minutes[LAST_SIGNAL].label, minutes[CALM_FROM].label
        self.signals = 0
        self.watch = Watch(self.exchange, config.accounts)

    def _run_stages(self) -> None:
        """Signals are drawn, not computed."""

    def _follow(self, label: int) -> None:
        if label >= self._calm_at:
            self.faults.temper = None
        writer = self.log.writer()
        for body in self._drawn(label) if label < self._last_signal else ():
            writer.send("signals", body)
            self.signals += 1
        writer.watermark("signals", label)
        for dispatcher in self.dispatchers:
            self._work(dispatcher)

    def _work(self, dispatcher: SimDispatcher) -> None:
        """As ever, and an account that asks without a pause fails instead of never ending."""
        dispatcher.fuse = _Guard(BUSY)
        super()._work(dispatcher)

    def _drawn(self, label: int) -> list[dict[str, Any]]:
        """The signals of a minute: none in half of them, up to five in the others."""
        bars = self._closes.get(label, {})
        if self._rng.random() < 0.5 or not bars:
            return []
        chosen = self._rng.sample(sorted(bars), self._rng.randint(1, min(_MOST_SIGNALS, len(bars))))
        return [
            a_signal(bars[symbol], self._rng.choice(_ACTIONS), round(self._rng.uniform(0.4, 0.95), 6))
            for symbol in chosen
        ]


def a_signal(bar: dict[str, Any], action: str, confidence: float) -> dict[str, Any]:
    """A signal of a bar, as a market stage would write it."""
    identity = signal_id(bar["symbol"], iso_utc(bar["t"]))
    return {
        "event_id": event_id("signals", (identity,)),
        "event_time": bar["t"] + MINUTE_US,
        "config_digest": CONFIG.digest,
        "rules_version": "rules-1",
        "inputs": [bar["event_id"]],
        "signal_id": identity,
        "symbol": bar["symbol"],
        "feed": bar["feed"],
        "bar_t": bar["t"],
        "bar_revision": bar["revision"],
        "as_of": bar["t"] + MINUTE_US,
        "action": action,
        "strategy": "day_trade",
        "reason": "DRAWN",
        "confidence": confidence,
        "direction": "BULL" if action in _BULL else "BEAR",
        "factors": dict.fromkeys(("base", "sentiment", "volume", "move", "momentum")),
        "close": bar["close"],
        **dict.fromkeys(("distance_sma20", "trend_state", "vol_ratio", "volume_ratio")),
        "sentiment_n": 0,
        "sentiment_avg": 0.0,
        **dict.fromkeys(("watchlist_rank", "watchlist_flag", "universe_version")),
    }


class _Guard(Fuse):
    """Burns at each effect of a dispatcher, and fails a test in which there are too many."""

    def __init__(self, effects: int) -> None:
        super().__init__()
        self._effects = effects

    def burn(self, point: Point = Point.EFFECT) -> None:
        self._effects -= 1
        assert self._effects > 0, "a dispatcher does not come to rest: it asks without a pause"
        super().burn(point)


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


def judge(run: RoughSession) -> list[str]:
    """What is wrong with a session that has come to rest; empty if nothing is."""
    wrong = [*run.watch.broken, *_sent_again(run.exchange)]
    wrong += [f"{number} called {n} times too early" for number, n in run.exchange.door.early.items()]
    for account in run.config.accounts:
        ours, theirs = held(run.log, account.account_id), at_broker(run, account.account_id)
        if ours != theirs:
            wrong.append(f"{account.account_id} holds {ours}, and the exchange says {theirs}")
        wrong += _unsettled(run, account)
    return wrong


def _sent_again(exchange: PaperExchange) -> list[str]:
    """Client ids that were sent more than once without being asked about, or were accepted twice.

    The same id may be sent again only after the exchange has said four times that there is no such order, or
    when it refused the call for its rate.
    """
    wrong = []
    absent: Counter[tuple[str, str]] = Counter()
    sent: dict[tuple[str, str], Fault | None] = {}
    accepted: Counter[tuple[str, str]] = Counter()
    for entry in exchange.door.journal:
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


def _unsettled(run: RoughSession, account: Account) -> list[str]:
    """Orders of ours whose newest state is not the exchange's."""
    known = run.exchange.books[account.broker_account_id].by_client_id
    newest = {
        order["client_order_id"]: order["state"]
        for order in bodies(run.log, "orders")
        if order["account_id"] == account.account_id
    }
    ours = {name for name in known if name.startswith(ID_PREFIX)}
    wrong = [f"{name} is at the exchange, and not ours" for name in sorted(ours - set(newest))]
    for name, state in sorted(newest.items()):
        order = known.get(name)
        if state in ("INTENT", "SUBMITTED", "UNKNOWN", "UNRECOGNISED"):
            wrong.append(f"{name} is {state}, and the exchange says {order.status if order else 'nothing'}")
        elif order is not None and order.is_open and state not in ("ACCEPTED", "PARTIAL", "CANCEL_PENDING"):
            wrong.append(f"{name} is {state}, and works at the exchange")
    return wrong


def held_at_the_close(run: RoughSession) -> dict[str, list[str]]:
    """What each account still holds at the exchange; nothing, where every position is a day trade."""
    return {
        account.account_id: sorted(run.exchange.books[account.broker_account_id].ledger.positions)
        for account in run.config.accounts
    }


def told(counts: Iterable[Counter[Fault]]) -> str:
    """How often each fault happened over several sessions, one line per kind."""
    total: Counter[Fault] = sum(counts, Counter())
    return "\n".join(f"{fault:26} {n:6}" for fault, n in sorted(total.items()))
