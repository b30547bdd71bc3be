"""signals, controls, halts, broker -> account_inbox -> account -> proposals, orders, executions, positions.

One process per account: it joins nothing before it holds the account's lease, so a second one takes no
partition from the first. What reaches the account is appended to its inbox first; the account stage folds
the inbox; what it asks for is performed and the answer appended. The clock is the tape's: it stands at
the last minute that every topic of signals has ended, and every inbox record carries it.
"""

import asyncio
import atexit
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar, assert_never

from tapedeck.agents.app import StageApp
from tapedeck.agents.arrivals import as_message
from tapedeck.agents.covered import covered
from tapedeck.agents.ending import Ending
from tapedeck.agents.newest import NewestView
from tapedeck.agents.precedence import Precedence
from tapedeck.agents.settings import Settings
from tapedeck.agents.signal_router import SignalRouter
from tapedeck.agents.waiting import Waiting
from tapedeck.connectors.alpaca.trading import AlpacaBroker
from tapedeck.connectors.alpaca.updates import TradeUpdates
from tapedeck.connectors.clock import SystemClock, TapeClock
from tapedeck.connectors.controls import EVERY_ACCOUNT
from tapedeck.connectors.credentials import Keys
from tapedeck.connectors.dead_letters import dead_letter
from tapedeck.connectors.dispatch import steps
from tapedeck.connectors.dispatch.budget import CallKind, call_kind
from tapedeck.connectors.dispatch.causes import Causes
from tapedeck.connectors.dispatch.dispatcher import Dispatcher
from tapedeck.connectors.dispatch.hearing import Hearing, Requests
from tapedeck.connectors.dispatch.inbox import INBOX
from tapedeck.connectors.dispatch.inputs import CONTROLS, MARKET_EVENTS, beside
from tapedeck.connectors.dispatch.lease import Lease, LeaseLost, LeaseShort, PostgresLeases, new_holder
from tapedeck.connectors.dispatch.once import READ_BACK_US, Once
from tapedeck.connectors.dispatch.router import Minute
from tapedeck.connectors.kafka.scan import read_since, read_topic
from tapedeck.schemas.errors import DeadLetter, Retry
from tapedeck.streams.protocol import Message
from tapedeck.streams.shell import Effects, Produced
from tapedeck.streams.topology import Topology, make
from tapedeck.streams.wire import Headers, Wire, record_wire
from tapedeck.topics.catalogue import topic

log = logging.getLogger("tapedeck.dispatch")
lease_log = logging.getLogger("tapedeck.lease")

RENEW_S = 3.0
TICK_S = 1.0
SETTLE_S = 0.005
LONG_S = 30.0
"""A minute that is not settled by then is told of, with what it waits for."""
ARMED_S = 5.0
Body = dict[str, Any]
T = TypeVar("T")


def _faust_acks(messages: Iterable[Message]) -> None:
    """Faust acks such a record when the next one is taken."""


class DispatchApp:
    """The dispatcher of one account: a stage app on its inbox, a router of signals, a broker.

    Made when the account's lease is taken: waits as long as another process holds it, and says so.
    """

    def __init__(self, settings: Settings, topology: Topology, account_id: str) -> None:
        account, spec = settings.unlocked(account_id), topology.account
        self._settings, self._account_id = settings, account_id
        self._layout = settings.layout
        self.clock = TapeClock(None)
        home = self._layout.partition(INBOX, {"account_id": account_id})
        self._home = home
        self.stage_app = StageApp(
            settings,
            spec,
            make(spec, settings.config, settings.calendar, account_id),
            group=f"dispatch-{account_id}",
            only_key=account_id.encode(),
            home=home,
            after=self._after,
            linger_ms=0.0,  # an order takes several writes of one or two records, each after the other
        )
        self.stage_app.beside = beside(topology)
        self._outbox = self.stage_app.outbox
        self._keys = Keys(account.key_ref, account.secret_ref)
        self._base_url = settings.address_of(account.base_url)
        self._mode = account.mode
        self._broker = AlpacaBroker(
            self._base_url, self._keys, known_as=account.base_url, mode=account.mode,
            option_feed=account.option_feed,
        )  # fmt: skip
        self._lease = Lease(PostgresLeases(settings.database(), settings.prefix), account_id, new_holder())
        self._epoch = self._take_lease()
        self.stage_app.runner.writing.permit = partial(covered, self._lease, account_id)
        self.dispatcher = Dispatcher(
            settings.config, account, self._broker, self.clock, lease=self._lease, calendar=settings.calendar
        )
        self._newest = NewestView(settings.cluster)
        self._routine = steps.Routine(
            account_id,
            self.dispatcher,
            self._newest,
            now=self.clock.now,
            calendar=settings.calendar,
            manner=steps.LIVE,
        )
        self._once = Once(account_id)
        self._arrived: asyncio.Queue[list[Body]] = asyncio.Queue()
        self._hearing = Hearing(self.dispatcher, self._arrived.put_nowait, self._later)
        self._causes = Causes()
        self.stage_app.heartbeat.standing = lambda: {
            **self._hearing.standing(self._broker.answered), **self._lease.stopped
        }  # fmt: skip
        self._calls = ThreadPoolExecutor(max_workers=1, thread_name_prefix="broker")
        self._turns = Precedence()
        self._appending = asyncio.Lock()
        self._started = asyncio.Event()
        self._ending = Ending()
        self._outstanding = 0
        self._inbox_end = -1
        app = self.stage_app.app
        self._router = SignalRouter(app, settings, topology.signal_topics, self._minute)
        self._router.declare()
        self._read(CONTROLS, self._routine.control)
        self._read(MARKET_EVENTS, self._routine.market_event)
        app.while_recovering.append(self._renew)
        for service in (self._start, self._armed, self._tick, self._updates):
            app.task(service)

    # what reaches the account -------------------------------------------------------------------------

    async def append(
        self, bodies: Iterable[Body], answered: Message | None = None, passed: Sequence[Message] = ()
    ) -> None:
        """Append inbox records in order and wait for the broker to have them."""
        async with self._appending:
            fresh = self._once.fresh(bodies)
            wires = [self._wire(body, self._causes.headers(body, passed, answered)) for body in fresh]
            if not wires:
                return
            batch = await self.stage_app.runner.written(wires)
            offset = batch.offsets[self._layout.wire_name(INBOX), self._home]
            self._inbox_end = max(self._inbox_end, offset)

    def _wire(self, body: Body, caused: Headers) -> Wire:
        headers: Headers = [
            *self._settings.origin("dispatch").static(),
            ("tape-ingest-time", str(SystemClock().now()).encode()),
            ("ce_id", body["event_id"].encode()),
            *caused,
        ]
        return record_wire(INBOX, topic(INBOX).record_key(body), body, self._layout, headers)

    async def _minute(self, minute: Minute) -> None:
        """A minute of signals is complete."""
        await self._follow_steps(self._routine.minute(minute), self._router.ack)

    async def _follow_steps(
        self, ordered: Iterable[steps.Step], ack: Callable[[Iterable[Message]], None] = _faust_acks
    ) -> None:
        for step in ordered:
            await self._do(step, ack)

    async def _do(self, step: steps.Step, ack: Callable[[Iterable[Message]], None]) -> None:
        """Perform one step. The tape's clock reaches the end of a minute with its signals."""
        match step:
            case steps.Reach(label):
                self.clock.advance(label)
            case steps.AwaitStart():
                await self._started.wait()
            case steps.SelfTest(starting):
                await self._test(starting=starting)
            case steps.Append(bodies, passed):
                await self.append(bodies, passed=passed)
            case steps.Snapshot():
                await self.append(await self._on_broker(self.dispatcher.snapshot))
            case steps.Open():
                self._started.set()
            case steps.Call(request):
                await self._call(request)
            case steps.Settle():
                await self._settled()
            case steps.Bury(dead):
                await self._bury(dead)
            case steps.Report(label):
                self.stage_app.heartbeat.watermark = label
                await self.stage_app.heartbeat.beat(list(self.stage_app.runner.tasks.values()))
            case steps.Ack(messages):
                ack(messages)
            case _:
                assert_never(step)

    async def _settled(self) -> None:
        """Until everything appended is folded and everything asked for is answered."""
        runner, part, began = self.stage_app.runner, (INBOX, self._home), time.monotonic()
        waiting = Waiting(log, self._account_id)
        while self._outstanding or runner.reached(part) <= self._inbox_end:
            await asyncio.sleep(SETTLE_S)
            if time.monotonic() - began > LONG_S:
                waiting.say(
                    f"{self._outstanding} requests have no answer of the broker, and its inbox is folded "
                    f"up to offset {runner.reached(part)} of {self._inbox_end + 1}"
                )
        waiting.over()

    async def _bury(self, dead: Iterable[tuple[Message, DeadLetter]]) -> None:
        """Keep what can never be read."""
        wires = [dead_letter(self._layout, message, "dispatch", error) for message, error in dead]
        if wires:
            await self.stage_app.runner.written(wires)

    def _read(self, name: str, ordered: Callable[[Message], Iterable[steps.Step]]) -> None:
        """Make the agent that takes the steps of each record of topic ``name``."""

        async def follow(stream: Any) -> None:
            await self._ending.guard()
            async for event in stream.events():
                try:
                    await self._follow_steps(ordered(as_message(event, self._layout)))
                except Exception as error:  # Faust would take the event for done
                    await self._ending.give_up(self.stage_app.app, error)

        channel = self.stage_app.app.topic(
            self._layout.wire_name(name), key_type=bytes, value_type=bytes,
            key_serializer="raw", value_serializer="raw",
        )  # fmt: skip
        self.stage_app.app.agent(channel, name=name, concurrency=1)(follow)

    # what the account asks for ------------------------------------------------------------------------

    async def _after(self, effects: Effects) -> None:
        for request in effects.requests:
            self._outstanding += not self.dispatcher.delay_s(request.out.body)
            self.stage_app.app.add_future(self._perform(request))

    async def _perform(self, request: Produced) -> None:
        delay = self.dispatcher.delay_s(request.out.body)
        await asyncio.sleep(delay)
        try:
            await self._call(request.out.body, request.cause)
        finally:
            self._outstanding -= not delay

    async def _call(self, request: Body, cause: Message | None = None) -> None:
        """Perform one request and append the answers."""
        self._causes.asked(request, cause)
        call, rank = partial(self.dispatcher.perform, request), call_kind(request).rank
        await self.append(await self._on_broker(call, rank), answered=cause)
        if request["kind"] == "SUBMIT":
            self._hearing.sent(request["client_order_id"])

    async def _on_broker(self, call: Callable[[], T], rank: int = CallKind.READ.rank) -> T:
        """``call`` on the broker's thread, in its turn, and again while the lease is too short for it."""
        loop, waiting = asyncio.get_running_loop(), Waiting(log, self._account_id)
        while True:
            try:
                async with self._turns.turn(rank):
                    return await loop.run_in_executor(self._calls, call)
            except LeaseShort as error:
                waiting.say(str(error))
                await asyncio.sleep(TICK_S)

    # what runs beside it ------------------------------------------------------------------------------

    async def _start(self) -> None:
        """Test, and tell the account that it begins. Waits for the tape's first minute."""
        waiting = Waiting(log, self._account_id)
        while not self.clock.now():
            label = self._newest.label()
            if label is not None:
                self.clock.advance(label)
            else:
                waiting.say("bars has no watermark yet, and its clock follows the watermarks of bars")
            await asyncio.sleep(0.02)
        waiting.over()
        await self._recall(waiting)
        await self._follow_steps(self._routine.start(self._epoch))

    async def _recall(self, waiting: Waiting) -> None:
        """Learn what the inbox has: the process before may have written it a moment ago."""
        while True:
            try:
                await asyncio.to_thread(self._read_back)
                return
            except Retry as error:
                waiting.say(str(error))
                await asyncio.sleep(TICK_S)

    def _read_back(self) -> None:
        since = self.clock.now() - READ_BACK_US
        for messages in read_since(self._settings.cluster, (INBOX, self._home), since):
            self._once.learn(messages)

    async def _armed(self) -> None:
        """Say that nothing can open while no control was ever written for all accounts: gate 2 fails then."""
        waiting = Waiting(log, self._account_id)
        while True:
            with contextlib.suppress(Retry):
                written = await asyncio.to_thread(read_topic, self._settings.cluster, "controls")
                if any(message.key == EVERY_ACCOUNT.encode() for message in written):
                    break
                waiting.say(
                    "no control lets the accounts open (KILL_SWITCH_UNKNOWN): proposals are refused until "
                    "`tape init`, or `tape release all --person NAME --reason WHY`"
                )
            await asyncio.sleep(ARMED_S)
        waiting.over()

    async def _test(self, *, starting: bool) -> None:
        """Run the self-test and say what came of it. Before the first quote a market may have none yet."""
        for check in await self._on_broker(self.dispatcher.self_test):
            if check.passed:
                log.info("self-test %s passed: %s", check.name, check.detail)
            elif starting and check.early:
                log.info(
                    "self-test %s waits: %s; no position is opened until it passes", check.name, check.detail
                )
            else:
                log.error(
                    "self-test %s failed at %s: %s; no position is opened until it passes",
                    check.name, self._base_url, check.detail,
                )  # fmt: skip

    def _take_lease(self) -> int:
        waiting = Waiting(lease_log, self._account_id)
        while True:
            try:
                epoch = self._lease.acquire()
                break
            except Retry as error:
                waiting.say(str(error))
                time.sleep(TICK_S)
        waiting.over()
        atexit.register(self._let_go)
        return epoch

    def _let_go(self) -> None:
        """The next process need not wait for the lease to run out."""
        with contextlib.suppress(Retry):
            self._lease.release()

    async def _renew(self) -> None:
        """From the first moment on: a recovery may last longer than the lease."""
        while True:
            try:
                await asyncio.to_thread(self._lease.renew)
            except LeaseLost as error:
                lease_log.error("%s has another dispatcher: %s", self._account_id, self._lease.told())
                await self.stage_app.app.crash(error)
                raise
            except Retry as error:
                lease_log.warning(
                    "%s cannot renew its lease, so it makes no calls: %s", self._account_id, error
                )
            await asyncio.sleep(RENEW_S)

    async def _tick(self) -> None:
        """One inbox record a second while an order works, one in ten seconds while something is held."""
        while True:
            await asyncio.sleep(TICK_S)
            if self._started.is_set():
                await self.append(self.dispatcher.ticks())

    async def _updates(self) -> None:
        await self._started.wait()

        async def forward() -> None:
            while True:
                await self.append(await self._arrived.get())

        self.stage_app.app.add_future(forward())
        updates = TradeUpdates(
            self._base_url, self._keys, self._hearing.on_update, self._hearing.on_health,
            on_empty=self._hearing.on_empty, working=lambda: self.dispatcher.working, mode=self._mode,
        )  # fmt: skip
        await updates.run()

    def _later(self, delay_s: float, requests: Requests) -> None:
        async def perform() -> None:
            await asyncio.sleep(delay_s)
            for request in requests():
                await self._call(request)

        self.stage_app.app.add_future(perform())


def agent(settings: Settings, topology: Topology, account_id: str) -> DispatchApp:
    """The dispatcher of one configured account."""
    return DispatchApp(settings, topology, account_id)
