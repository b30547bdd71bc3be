"""One account's dispatcher in memory: what the live one does, without Kafka, threads or a wall clock.

Its time is the paper exchange's, and a broker call takes some of it. It may die at any effect: what it
held in memory is gone then, the log, the table, the acknowledged positions and the broker are not.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any, TypeVar, assert_never

from tapedeck.connectors.dead_letters import dead_letter
from tapedeck.connectors.dispatch import steps
from tapedeck.connectors.dispatch.causes import Causes
from tapedeck.connectors.dispatch.dispatcher import Dispatcher
from tapedeck.connectors.dispatch.freshness import FOLLOWED, NewestSeen
from tapedeck.connectors.dispatch.hearing import Hearing, Requests
from tapedeck.connectors.dispatch.inbox import INBOX
from tapedeck.connectors.dispatch.inputs import CONTROLS, MARKET_EVENTS, routed
from tapedeck.connectors.dispatch.lease import (
    STALE_CALL,
    STALE_WRITE,
    Lease,
    LeaseHeld,
    LeaseLost,
    LeaseStore,
)
from tapedeck.connectors.dispatch.once import Once
from tapedeck.connectors.dispatch.router import MinuteRouter
from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.inprocess import InProcessBroker
from tapedeck.streams.config.document import Config
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import SECOND_US, Message
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.shell import Produced
from tapedeck.streams.sim.crash import Fuse, Point
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.task import SimTask
from tapedeck.streams.topology import Topology, make
from tapedeck.streams.wire import record_wire
from tapedeck.topics.catalogue import topic

CALL_US = 1_000
_POLL = 1000
Body = dict[str, Any]
T = TypeVar("T")


class SimDispatcher:
    """The dispatcher of one account over ``log`` and ``exchange``.

    ``newest``: who knows of bars and features that are not in ``log``.

    ``work`` does everything that can be done now. Where ``fuse`` burns through it raises Crash: then
    ``restart``, and ``work`` again.
    """

    def __init__(
        self,
        log: MemoryLog,
        config: Config,
        topology: Topology,
        account_id: str,
        exchange: PaperExchange,
        *,
        calendar: Calendar,
        leases: LeaseStore,
        newest: NewestSeen | None = None,
    ) -> None:
        self.account_id = account_id
        self.fuse = Fuse()
        self._log, self._config, self._calendar = log, config, calendar
        self._account = config.account(account_id)
        self._exchange, self._leases, self._known = exchange, leases, newest
        self._home = home = log.layout.partition(INBOX, {"account_id": account_id})
        spec, self._signals = topology.account, topology.signal_topics
        stage = make(spec, config, calendar, account_id)
        key = account_id.encode()
        self.task = SimTask(spec, stage, log, (home,), only_key=key, source="dispatch")
        self._broker = self._reached()
        self._connected = True
        self._broker.updates(
            lambda update: self._hear(lambda: self._hearing.on_update(update)),
            self._on_health,
            lambda: self._hear(self._hearing.on_empty),
        )
        self._acked: dict[Part, int] = {
            (name, p): 0 for name in routed(topology) for p in range(log.layout.partitions(name))
        }
        self.starts = 0
        self._forget()

    def _reached(self) -> InProcessBroker:
        """The account at its broker."""
        return InProcessBroker(self._exchange, self._account.broker_account_id, self._account.base_url)

    def _forget(self) -> None:
        """A process that has not started yet."""
        self._up = False
        self._once = Once(self.account_id)
        self._lease = Lease(
            self._leases, self.account_id, f"process {self.starts + 1}", monotonic=self._uptime
        )
        self._desk = Dispatcher(
            self._config,
            self._account,
            self._broker,
            _ExchangeClock(self._exchange),
            lease=self._lease,
            calendar=self._calendar,
        )
        self._router = MinuteRouter({name: self._log.layout.partitions(name) for name in self._signals})
        self._routed = dict(self._acked)
        self._newest = self._known or NewestSeen()
        self._looked = {part: 0 for part in self._newest_parts()}
        self._causes = Causes()
        self._arrived: deque[tuple[Body, Message | None]] = deque()
        self._heard: deque[Body] = deque()
        self._later: list[tuple[int, int, Produced]] = []
        self._planned: list[tuple[int, int, Requests]] = []
        self._hearing = Hearing(self._desk, self._heard.extend, self._plan, monotonic=self._uptime)
        self._numbers = count()
        self._routine = steps.Routine(
            self.account_id,
            self._desk,
            self._newest,
            now=lambda: self._exchange.now,
            calendar=self._calendar,
            manner=steps.SIMULATED,
        )

    def restart(self, *, empty_disk: bool = False, rewind: int = 0) -> None:
        """Come back after a crash, on the same disk or an empty one; ``rewind`` redelivers signals too."""
        self.task.restart(empty_disk=empty_disk, rewind=rewind)
        for part, offset in self._acked.items():
            self._acked[part] = max(0, offset - rewind)
        self._forget()

    @property
    def now(self) -> int:
        """The exchange's time, UTC microseconds."""
        return self._exchange.now

    @property
    def next_due(self) -> int | None:
        """When the next delayed request, or the next tick of an order that is worked, is due, UTC
        microseconds.
        """
        moments = [at for at, _, _ in (*self._later[:1], *self._planned[:1])]
        tick = self._desk.watching.next_due(self._config.order.step_s)
        return min(moments if tick is None else [*moments, tick], default=None)

    def work(self) -> None:
        """Start if need be, then do what is due until nothing is left to do at this moment."""
        if not self._up:
            self._start()
        self._settle()
        tick = self._desk.watching.next_due(self._config.order.step_s)
        if tick is not None and tick <= self._exchange.now:  # behind what was heard until now
            self._append(self._desk.ticks())
            self._settle()
        self._read_beside()
        self._follow()
        for part in self._routed:
            if part[0] in self._signals:
                for message in self._log.read(*part, self._routed[part]):
                    self._routed[part] = message.offset + 1
                    self._router.put(message)
        for minute in self._router.minutes():
            self._follow_steps(self._routine.minute(minute))

    def _start(self) -> None:
        while True:
            try:
                epoch = self._lease.acquire()
                break
            except LeaseHeld:
                self._pass_time(SECOND_US)
        self.starts += 1
        self._once.learn(self._log.read(INBOX, self._home, 0))
        self._up = True  # from here on the stream is heard
        self._follow_steps(self._routine.start(epoch))

    def _follow_steps(self, ordered: Iterable[steps.Step]) -> None:
        for step in ordered:
            self._do(step)

    def _do(self, step: steps.Step) -> None:
        """Perform one step. The exchange's time is the clock, and whatever is read waits for the start."""
        match step:
            case steps.Reach() | steps.AwaitStart() | steps.Report():
                pass
            case steps.SelfTest():
                self._desk.self_test()
            case steps.Append(bodies, passed):
                self._append(bodies, passed=passed)
            case steps.Snapshot():
                self._append(self._desk.snapshot())
            case steps.Open(epoch):
                if self._connected:
                    self._append([self._desk.stream(True, f"connection {epoch}")])
            case steps.Call(request, takes_time):
                self._call(request, takes=CALL_US if takes_time else 0)
            case steps.Settle():
                self._settle()
            case steps.Bury(dead):
                for message, error in dead:
                    self._log.append(dead_letter(self._log.layout, message, "dispatch", error))
            case steps.Ack(messages):
                self._ack(messages)
            case _:
                assert_never(step)

    def _read_beside(self) -> None:
        handlers = {CONTROLS: self._routine.control, MARKET_EVENTS: self._routine.market_event}
        for part in self._acked:
            if part[0] in handlers:
                for message in self._log.read(*part, self._acked[part]):
                    self._follow_steps(handlers[part[0]](message))
        self._settle()

    def _ack(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.fuse.burn()
            part = (message.topic, message.partition)
            self._acked[part] = max(self._acked[part], message.offset + 1)

    def _settle(self) -> None:
        """Until everything appended is folded and everything asked for that is due is answered."""
        while True:
            for body, cause in self._drained(self._arrived):
                self._append([body], answered=cause)
            self._append(self._drained(self._heard))
            while not self.task.idle():
                self.task.poll(_POLL)
            if self.task.step(_POLL, _Leased(self)):
                for request in self.task.take_requests():
                    due = self._exchange.now + self._desk.delay_s(request.out.body) * SECOND_US
                    heapq.heappush(self._later, (due, next(self._numbers), request))
            elif self._later and self._later[0][0] <= self._exchange.now:
                asked = heapq.heappop(self._later)[2]
                self._call(asked.out.body, asked.cause)
            elif self._planned and self._planned[0][0] <= self._exchange.now:
                for body in heapq.heappop(self._planned)[2]():
                    self._call(body)
            else:
                return

    def _call(self, request: Body, cause: Message | None = None, *, takes: int = CALL_US) -> None:
        """One broker call: a crash may come before it, and after it but before its answer is kept.

        The comparison that nobody asked for takes no time, so that nothing else happens later for it.
        """
        self.fuse.burn()
        self.renew(STALE_CALL)
        self._causes.asked(request, cause)
        answers = self._desk.perform(request)
        self._pass_time(takes)
        self.fuse.burn()
        self._arrived.extend((body, cause) for body in answers)
        if request["kind"] == "SUBMIT":
            self._hearing.sent(request["client_order_id"])
            self._desk.watching.ticked(self._exchange.now)  # the next tick is when its step is over

    def _append(
        self, bodies: Iterable[Body], answered: Message | None = None, passed: Sequence[Message] = ()
    ) -> None:
        for body in self._once.fresh(bodies):
            self.fuse.burn()
            self.renew(STALE_WRITE)
            caused = self._causes.headers(body, passed, answered)
            key, headers = topic(INBOX).record_key(body), [("ce_id", body["event_id"].encode()), *caused]
            self._log.append(record_wire(INBOX, key, body, self._log.layout, headers))

    def renew(self, held_back: str) -> None:
        """As the live one does every few seconds. Raises LeaseLost if another process has the account."""
        try:
            self._lease.renew()
        except LeaseLost:
            self._lease.stopped[held_back] += 1
            raise

    def _hear(self, told: Callable[[], None]) -> None:
        if self._up:
            told()

    def _on_health(self, healthy: bool, detail: str) -> None:
        """The connection is the exchange's to cut: a process that starts meanwhile is deaf, too."""
        self._connected = healthy
        self._hear(lambda: self._hearing.on_health(healthy, detail))

    def _plan(self, delay_s: float, requests: Requests) -> None:
        due = self._exchange.now + round(delay_s * SECOND_US)
        heapq.heappush(self._planned, (due, next(self._numbers), requests))

    @staticmethod
    def _drained(queue: deque[T]) -> list[T]:
        held = list(queue)
        queue.clear()
        return held

    def _pass_time(self, micros: int) -> None:
        self._exchange.advance(self._exchange.now + micros)

    def _uptime(self) -> float:
        return self._exchange.now / SECOND_US

    def _newest_parts(self) -> Iterable[Part]:
        return ((name, p) for name in FOLLOWED for p in range(self._log.layout.partitions(name)))

    def _follow(self) -> None:
        for part in self._looked:
            for message in self._log.read(*part, self._looked[part]):
                self._looked[part] = message.offset + 1
                self._newest.see(message)


class _Leased(Fuse):
    """The fuse of a dispatcher for its account stage, which writes only while the lease is its own."""

    def __init__(self, dispatcher: SimDispatcher) -> None:
        super().__init__()
        self._dispatcher = dispatcher

    def burn(self, point: Point = Point.EFFECT) -> None:
        self._dispatcher.fuse.burn(point)
        if point in (Point.OUTPUT, Point.CHANGELOG):
            self._dispatcher.renew(STALE_WRITE)


class _ExchangeClock:
    """The exchange's time as the dispatcher's."""

    def __init__(self, exchange: PaperExchange) -> None:
        self._exchange = exchange

    def now(self) -> int:
        return self._exchange.now
