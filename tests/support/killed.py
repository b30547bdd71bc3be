"""Rough sessions of one account whose dispatcher is killed or frozen, at a named moment or at random ones.

A named moment is one in an order's life: one opening and one closing order of the session are struck. A
killed process starts again, on its disk or an empty one. A frozen one stands still in the middle of what it
does: its lease runs out, another process takes the account over, and it wakes much later.
"""

import random
import threading
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any

from tapedeck.connectors.dispatch.lease import LeaseLost, MemoryLeases
from tapedeck.connectors.dispatch.simulated import SimDispatcher
from tapedeck.connectors.paper.inprocess import InProcessBroker
from tapedeck.connectors.paper.tempers import Profile
from tapedeck.schemas.codec import decode
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.sim.crash import Crash, Fuse, Point
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.task import SimTask
from tapedeck.streams.wire import Wire
from tests.support.paths import CONFIG, INBOX
from tests.support.rough_exchange import BUSY, RoughSession

ACCOUNT = "large"
WINDOWS = (slice(40, 48), slice(384, 400))
LONGEST_FREEZE_S = 300
_EARLY = 20


class Moment(StrEnum):
    """Where a dispatcher dies in the life of an order."""

    INTENT = "before its INTENT is written"
    SEND = "after the INTENT, before it is sent"
    ANSWER = "after the broker has it, before the answer"
    FOLD = "after the answer is in the inbox, before it is folded"
    COMMIT = "after the answer is folded, before it is acknowledged"


class Strike:
    """What happens at ``moment`` of one opening and of one closing order; ``strike`` happens there.

    ``names`` are the orders that were struck, by purpose.
    """

    def __init__(self, moment: Moment, strike: Callable[[], None]) -> None:
        self._moment, self._strike = moment, strike
        self.names: dict[str, str] = {}
        self._folded = False

    def at(self, moment: Moment, name: str) -> None:
        """An order is at ``moment``. Raises what the strike raises."""
        purpose = "CLOSE" if name.startswith("td1-c") else "OPEN"
        if moment is self._moment and purpose not in self.names:
            self.names[purpose] = name
            if moment is Moment.COMMIT:
                self._folded = True  # at the next acknowledgement
            else:
                self._strike()

    def effect(self, point: Point) -> None:
        """A dispatcher is about to do something that others see. Raises what the strike raises."""
        if point is Point.ACK and self._folded:
            self._folded = False
            self._strike()


class RandomStrike(Strike):
    """Strikes at effects that ``rng`` chooses, one in ``mean``; at an early one first, so that a session in
    which little happens is struck, too. ``count``: how often it did.
    """

    def __init__(self, rng: random.Random, mean: int, strike: Callable[[], None]) -> None:
        super().__init__(Moment.SEND, strike)
        self._rng, self._most = rng, 2 * mean - 1
        self._left = rng.randint(1, _EARLY)
        self.count = 0

    def at(self, moment: Moment, name: str) -> None:
        """A moment is like any other."""

    def effect(self, point: Point) -> None:
        self._left -= 1
        if not self._left:
            self._left = self._rng.randint(1, self._most)
            self.count += 1
            self._strike()


class _StruckTask(SimTask):
    """An account stage that knows when it writes an INTENT, and when it has folded an answer."""

    strike: Strike | None = None

    def _perform(self, order: list[Any], fuse: Fuse) -> None:
        for _, effect in order:
            if self.strike is not None and isinstance(effect, Wire) and effect.topic == "orders":
                body = decode("orders", effect.value)
                moment = Moment.INTENT if body["state"] == "INTENT" else Moment.COMMIT
                self.strike.at(moment, body["client_order_id"])
        super()._perform(order, fuse)


class _StruckFuse(Fuse):
    """Burns at each effect of a dispatcher, and tells its strike."""

    def __init__(self, dispatcher: "StruckDispatcher") -> None:
        super().__init__()
        self._dispatcher, self._effects = dispatcher, BUSY

    def burn(self, point: Point = Point.EFFECT) -> None:
        self._effects -= 1
        assert self._effects > 0, "a dispatcher does not come to rest: it asks without a pause"
        if self._dispatcher.strike is not None:
            self._dispatcher.strike.effect(point)


class _StruckBroker(InProcessBroker):
    strike: Strike | None = None

    def submit(self, order: Any) -> Any:
        try:
            return super().submit(order)
        finally:
            if self.strike is not None:
                self.strike.at(Moment.ANSWER, order.client_order_id)


class StruckDispatcher(SimDispatcher):
    """A dispatcher with a strike of its own, or none."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.strike: Strike | None = None
        super().__init__(*args, **options)
        self.task.__class__ = _StruckTask

    def _reached(self) -> InProcessBroker:
        return _StruckBroker(self._exchange, self._account.broker_account_id, self._account.base_url)

    def under(self, strike: Strike | None) -> None:
        self.strike = self._broker.strike = self.task.strike = strike

    def _call(self, request: dict[str, Any], *args: Any, **options: Any) -> None:
        if self.strike is not None and request["kind"] == "SUBMIT":
            self.strike.at(Moment.SEND, request["client_order_id"])
        super()._call(request, *args, **options)

    def _append(self, bodies: Iterable[dict[str, Any]], *args: Any, **options: Any) -> None:
        bodies = list(bodies)
        super()._append(bodies, *args, **options)
        for body in bodies if self.strike is not None else ():
            kind, content = body["payload"]
            if kind == "tapedeck.InboxOrder" and content["source"] == "REST":
                self.strike.at(Moment.FOLD, content["client_order_id"])


class StruckSession(RoughSession):
    """A rough session of one account, struck at ``moment``, or at one of ``moment`` effects."""

    def __init__(self, seed: int, moment: Moment | int, profile: Profile = Profile.ROUGH) -> None:
        config = Config(accounts=(CONFIG.account(ACCOUNT),))
        super().__init__(seed, profile, config, windows=WINDOWS, accounts=())
        self.rng = random.Random(f"struck|{seed}|{moment}")
        if isinstance(moment, Moment):
            self.strike = Strike(moment, self._struck)
        else:
            self.strike = RandomStrike(random.Random(f"strikes|{seed}|{moment}"), moment, self._struck)
        self._leases = MemoryLeases(lambda: self.exchange.now / SECOND_US)
        self.dispatchers = [self._another()]

    def _another(self) -> StruckDispatcher:
        """A dispatcher of the account, which the strike can reach."""
        found = StruckDispatcher(
            self.log, self.config, self.topology, ACCOUNT, self.exchange,
            calendar=self.exchange.calendar, leases=self._leases,
        )  # fmt: skip
        found.under(self.strike)
        return found

    def _struck(self) -> None:
        raise NotImplementedError

    def _work(self, dispatcher: SimDispatcher) -> None:
        assert isinstance(dispatcher, StruckDispatcher)
        dispatcher.fuse = _StruckFuse(dispatcher)
        dispatcher.work()


class KilledSession(StruckSession):
    """Its dispatcher dies at the moment, and starts again on its disk or an empty one."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.kills = 0
        super().__init__(*args, **options)

    def _struck(self) -> None:
        raise Crash(Point.EFFECT)

    def _work(self, dispatcher: SimDispatcher) -> None:
        while True:
            try:
                return super()._work(dispatcher)
            except Crash:
                self.kills += 1
                dispatcher.restart(empty_disk=self.rng.random() < 0.5, rewind=self.rng.randint(0, 5))


class FrozenSession(StruckSession):
    """Its dispatcher stands still at the moment; another takes over, and the first wakes and dies of it.

    Each dispatcher works in a thread, and only one of them at a time.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._frozen: list[_Frozen] = []
        self._running: _Frozen | None = None
        self.stopped: list[dict[str, int]] = []
        """What each process that woke held back."""
        super().__init__(*args, **options)

    def _struck(self) -> None:
        assert self._running is not None
        self._running.stand_still()

    def _work(self, dispatcher: SimDispatcher) -> None:
        self._wake_those_due()
        self._run(_Frozen(lambda: super(FrozenSession, self)._work(dispatcher), dispatcher))

    def _run(self, work: "_Frozen") -> None:
        self._running = work
        stands = work.go_on()
        self._running = None
        if stands:
            work.wakes_at = self.exchange.now + self.rng.randint(11, LONGEST_FREEZE_S) * SECOND_US
            self._frozen.append(work)
            self.dispatchers = [self._successor(work.dispatcher)]
            self._work(self.dispatchers[0])  # it waits until the lease has run out
        elif work.error is not None:
            raise work.error

    def _successor(self, frozen: StruckDispatcher) -> StruckDispatcher:
        """Another process, on an empty disk; the group's positions are those of the first one."""
        found = self._another()
        found._acked = dict(frozen._acked)
        found.task.committed = dict(frozen.task.committed)
        found.starts = frozen.starts
        found.restart(empty_disk=True)
        return found

    def _wake_those_due(self) -> None:
        for work in [each for each in self._frozen if each.wakes_at <= self.exchange.now]:
            self._wake(work)

    def _wake(self, work: "_Frozen") -> None:
        """It goes on where it stood; what it does is refused, and it ends."""
        self._frozen.remove(work)
        work.dispatcher.under(None)
        assert not work.go_on()
        if work.error is None:  # it had nothing more to do at that moment; the next one is too late
            work = _Frozen(lambda: super(FrozenSession, self)._work(work.dispatcher), work.dispatcher)
            assert not work.go_on()
        assert isinstance(work.error, LeaseLost), work.error
        work.dispatcher._up = False  # its connection has ended with it
        self.stopped.append(dict(work.dispatcher._lease.stopped))

    def rest(self, minutes: int) -> "FrozenSession":
        super().rest(minutes)
        for work in list(self._frozen):
            self._wake(work)
        super().rest(1)
        return self


class _Frozen:
    """Work in a thread that may stand still in the middle."""

    def __init__(self, work: Callable[[], None], dispatcher: StruckDispatcher) -> None:
        self._work, self.dispatcher = work, dispatcher
        self._turn, self._mine = threading.Semaphore(0), threading.Semaphore(0)
        self._thread: threading.Thread | None = None
        self._stands = False
        self.error: BaseException | None = None
        self.wakes_at = 0

    def go_on(self) -> bool:
        """Begin, or go on; True if it stands still, False if it is over."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._body, daemon=True)
            self._thread.start()
        else:
            self._turn.release()
        self._mine.acquire()
        return self._stands

    def stand_still(self) -> None:
        """In the thread: wait until it may go on."""
        self._stands = True
        self._mine.release()
        self._turn.acquire()
        self._stands = False

    def _body(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.error = error
        self._mine.release()


def inbox_kinds(log: MemoryLog, kind: str) -> list[dict[str, Any]]:
    """The contents of the inbox records of one kind, in order."""
    payloads = (decode(INBOX, message.value)["payload"] for message in log.messages(INBOX))
    return [content for name, content in payloads if name == f"tapedeck.{kind}"]
