"""A rough session over sockets: the exchange is another process, its clients are those of a live dispatcher.

Calls go through alpaca-py over HTTP, trade updates come over a websocket, in a thread of their own and
whenever they come. Time is the exchange's, and moves only when nothing is left to do at a moment: a session
of 45 minutes takes seconds. The log is in memory.
"""

import asyncio
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from tapedeck.connectors.alpaca.trading import AlpacaBroker
from tapedeck.connectors.alpaca.updates import TradeUpdates
from tapedeck.connectors.credentials import Credentials
from tapedeck.connectors.dispatch.lease import MemoryLeases
from tapedeck.connectors.dispatch.simulated import SimDispatcher
from tapedeck.connectors.paper.tempers import Profile
from tapedeck.connectors.scoring.simulated import SimScorer
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.topics.catalogue import Layout
from tests.support.exchange_process import ExchangeProcess, Kept, key_of
from tests.support.paths import CONFIG, cut
from tests.support.rough_exchange import WINDOWS, RoughSession
from tests.support.sim_tapes import small_tape

CONNECTED_S = 20.0
HEARD_S = 0.002
"""How long is waited, with each step of time, for what a socket brings."""
Body = dict[str, Any]


class SocketBroker(AlpacaBroker):
    """The shipped client of one account, with its stream of trade updates in the loop ``loop``."""

    def __init__(self, url: str, account: Any, now: Callable[[], float], loop: asyncio.AbstractEventLoop):
        key, secret = key_of(account.account_id)
        self._credentials = Credentials(key=key, secret=secret)
        super().__init__(url, self._credentials, known_as=account.base_url)
        self._url, self._now, self._loop = url, now, loop
        self.working: Callable[[], bool] = lambda: False
        self.stream: TradeUpdates | None = None

    def updates(self, listener: Any, on_health: Any, on_empty: Any) -> None:
        """Read the stream until the loop ends. All three are called in the loop's thread."""
        self.stream = TradeUpdates(
            self._url, self._credentials, listener, on_health,
            on_empty=on_empty, working=self._works, monotonic=self._now,
        )  # fmt: skip
        self._reading = asyncio.run_coroutine_threadsafe(self.stream.run(), self._loop)

    def _works(self) -> bool:
        return self.working()

    def hang_up(self) -> None:
        """Read the stream no longer."""
        self._reading.cancel()


class SocketDispatcher(SimDispatcher):
    """The simulated dispatcher's sequence with the live one's broker."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, rng: random.Random, *args: Any, **options: Any
    ) -> None:
        self._loop, self._chance = loop, rng
        self._said: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.first_heard = 0
        super().__init__(*args, **options)
        self._connected = False
        self._broker.working = lambda: self._desk.working

    def _reached(self) -> Any:
        line = self._exchange
        return SocketBroker(line.url, self._account, lambda: line.now / 1e6, self._loop)

    def await_stream(self) -> None:
        """Until the stream of updates stands."""
        until = time.monotonic() + CONNECTED_S
        while not self._connected:
            assert time.monotonic() < until, "the stream of trade updates was never connected"
            time.sleep(HEARD_S)

    def _hear(self, told: Callable[[], None]) -> None:
        """In the stream's thread."""
        self._said.put(told)

    def _listen(self) -> None:
        """What the socket has brought, in order."""
        while True:
            try:
                told = self._said.get_nowait()
            except Empty:
                return
            super()._hear(told)

    def _settle(self) -> None:
        self._listen()
        super()._settle()

    def _call(self, request: Body, *args: Any, **options: Any) -> None:
        """As ever; and in half of the cases what was heard meanwhile comes before the answer."""
        super()._call(request, *args, **options)
        if self._chance.random() < 0.5:
            time.sleep(HEARD_S)
            self._listen()
            heard = self._drained(self._heard)
            self.first_heard += bool(heard)
            self._append(heard)


class SocketSession(RoughSession):
    """One session. ``play`` it, let it ``rest``, ``finish`` and ``judge`` it. ``close`` it in any case."""

    def __init__(self, folder: Path, seed: int, profile: Profile = Profile.ROUGH) -> None:
        self.topology, self.config, self.chaos = TOPOLOGY, CONFIG, None
        self.tape, self.log = cut(small_tape(), *WINDOWS), MemoryLog(Layout())
        self.line = ExchangeProcess(folder, seed=seed, profile=profile, first=self.tape.first_live)
        self.exchange: Any = self.line
        self.scorer, self.stages = SimScorer(self.log, CONFIG), []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="trade updates", daemon=True)
        self._thread.start()
        leases = MemoryLeases(lambda: self.line.now / 1e6)
        self.dispatchers = [
            SocketDispatcher(
                self._loop, random.Random(f"order|{seed}|{each.account_id}"), self.log, CONFIG, TOPOLOGY,
                each.account_id, self.line, calendar=xnys(), leases=leases,
            )
            for each in CONFIG.accounts
        ]  # fmt: skip
        self.kept: Kept | None = None
        self._begin(seed)
        self.line.cut_at("fill", 5)
        for dispatcher in self.dispatchers:
            dispatcher.await_stream()

    @property
    def passed(self) -> list[str]:
        assert self.kept is not None
        return self.kept.broken

    @property
    def connections(self) -> int:
        """How often the streams of all accounts were connected."""
        return sum(each._broker.stream.connections for each in self.dispatchers)

    def _calm(self) -> None:
        self.line.calm()

    def _work(self, dispatcher: SimDispatcher) -> None:
        time.sleep(HEARD_S)
        super()._work(dispatcher)

    def finish(self) -> "SocketSession":
        """End the exchange: what it kept takes its place."""
        self.exchange = self.kept = self.line.end()
        return self

    def close(self) -> None:
        for dispatcher in self.dispatchers:
            dispatcher._broker.hang_up()
        self.line.close()
        time.sleep(10 * HEARD_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
