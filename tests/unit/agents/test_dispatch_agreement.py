"""The live dispatcher and the simulated one perform the same steps; one that leaves a step out is found."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tapedeck.agents.account import DispatchApp
from tapedeck.connectors.dispatch import steps
from tapedeck.connectors.dispatch.causes import Causes
from tapedeck.connectors.dispatch.inbox import Newest
from tapedeck.connectors.dispatch.router import Minute
from tapedeck.connectors.dispatch.simulated import SimDispatcher
from tapedeck.connectors.dispatch.watching import Watching
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.crash import Fuse
from tapedeck.topics.catalogue import Layout
from tests.support.paper import TEN

DEAD = Message("signals", 0, 1, 0, b"NVDA", b"?", ())
SIGNAL = Message("signals", 0, 2, 0, b"NVDA", b"read already", ())
CONTROL = Message("controls", 0, 5, 0, b"large", b"?", ())
OPENING = ["append stream", "settle"]
"""What the simulated start has at its end: see ``Manner`` and ``Open``."""


Follow = Callable[[steps.Routine], Iterable[steps.Step]]
LeftOut = type[Any] | tuple[()]
"""The kind of step that a driver does not perform."""


class Desk:
    """Stands for the dispatcher's core over a broker: notes each call. One order works."""

    working, tested = True, True

    def __init__(self, done: list[str]) -> None:
        self._done = done
        self.watching = Watching(xnys())

    def self_test(self) -> list[Any]:
        self._done.append("self-test")
        return []

    def snapshot(self) -> list[str]:
        self._done.append("ask for a snapshot")
        return ["snapshot"]

    def perform(self, request: dict[str, Any]) -> list[str]:
        self._done.append(f"call {request['kind']}")
        return []

    def started(self, epoch: int) -> str:
        return f"started {epoch}"

    def collect(self, signals: Iterable[str], newest: object) -> list[str]:
        return [f"signal {cast(Any, each)['symbol']}" for each in signals]

    def ticks(self) -> list[str]:
        return ["tick"]

    def bars(self, newest: object) -> list[str]:
        return ["bar"]

    def outlook(self, known: object) -> list[str]:
        return ["index"]

    def stream(self, healthy: bool, detail: str) -> str:
        return "stream"


class Clock:
    def __init__(self) -> None:
        self._now = TEN

    def now(self) -> int:
        return self._now

    def advance(self, label: int) -> None:
        self._now = label + MINUTE_US


class Driver:
    """A dispatcher without its log and its broker: what it does, word by word, into ``done``."""

    def __init__(self, manner: steps.Manner) -> None:
        self.done: list[str] = []
        self.clock = Clock()
        self.desk = cast(Any, Desk(self.done))
        newest = SimpleNamespace(
            of=lambda symbol, known_t: Newest(known_t, known_t),
            bars=lambda symbols: {},
            known=lambda now, symbols: None,
        )
        self.routine = steps.Routine(
            "large", self.desk, newest, now=self.clock.now, calendar=xnys(), manner=manner
        )

    def append(self, bodies: Iterable[Any], answered: object = None, passed: object = ()) -> None:
        self.done.extend(f"append {each}" for each in bodies)

    def settle(self) -> None:
        self.done.append("settle")

    def ack(self, messages: Iterable[Message]) -> None:
        self.done.extend(f"ack {each.offset}" for each in messages)

    def bury(self, wires: Iterable[Any]) -> None:
        self.done.extend(f"bury in {each.topic}" for each in wires)


def live_app(driver: Driver, left_out: LeftOut = ()) -> Any:
    """A live dispatcher that performs its steps through ``driver``. It has not started."""
    app = cast(Any, DispatchApp.__new__(DispatchApp))

    async def append(bodies: Iterable[Any], answered: object = None, passed: object = ()) -> None:
        driver.append(bodies)

    async def settled() -> None:
        driver.settle()

    async def on_broker(call: Callable[[], Any], rank: int = 0) -> Any:
        return call()

    async def written(wires: Iterable[Any]) -> None:
        driver.bury(wires)

    async def beat(tasks: list[Any]) -> None:
        pass

    async def do(step: steps.Step, ack: Any) -> None:
        if not isinstance(step, left_out):
            await DispatchApp._do(app, step, ack)

    app.clock, app.dispatcher, app._layout = driver.clock, driver.desk, Layout()
    app.append, app._settled, app._on_broker, app._do = append, settled, on_broker, do
    runner = SimpleNamespace(written=written, tasks={})
    app.stage_app = SimpleNamespace(runner=runner, heartbeat=SimpleNamespace(watermark=0, beat=beat))
    app._started, app._causes = asyncio.Event(), Causes()
    return app


def live(follow: Follow, left_out: LeftOut = ()) -> list[str]:
    """What the live dispatcher does in the steps that ``follow`` gives of a routine."""
    driver = Driver(steps.LIVE)

    async def work() -> None:
        app = live_app(driver, left_out)
        app._started.set()
        await app._follow_steps(follow(driver.routine), driver.ack)

    asyncio.run(work())
    return driver.done


def simulated(follow: Follow, left_out: LeftOut = ()) -> list[str]:
    """What the simulated dispatcher does in the same steps. Its exchange is at the minute's end already."""
    driver, sim = Driver(steps.SIMULATED), cast(Any, SimDispatcher.__new__(SimDispatcher))

    def do(step: steps.Step) -> None:
        if not isinstance(step, left_out):
            SimDispatcher._do(sim, step)

    driver.clock.advance(TEN)
    sim.fuse, sim._desk, sim._arrived, sim._do = Fuse(), driver.desk, deque(), do
    sim._exchange = SimpleNamespace(now=driver.clock.now(), advance=lambda until: None)
    sim._connected = True
    sim._lease, sim._causes = SimpleNamespace(renew=lambda: None), Causes()
    sim._log = SimpleNamespace(layout=Layout(), append=lambda wire: driver.bury([wire]))
    sim._append, sim._settle, sim._ack = driver.append, driver.settle, driver.ack
    sim._follow_steps(follow(driver.routine))
    return driver.done


def start(routine: steps.Routine) -> Iterable[steps.Step]:
    return routine.start(3)


def minute(routine: steps.Routine) -> Iterable[steps.Step]:
    """A minute in which everything is due: a message that nobody can read, a signal, a tick, a look."""
    error = DeadLetter("cannot be read", value="?", remedy="none", reason="MALFORMED")
    signals = [{"symbol": "NVDA", "bar_t": TEN}]
    return routine.minute(Minute(TEN, signals, [(DEAD, error)], [DEAD, SIGNAL]))


def control(routine: steps.Routine) -> Iterable[steps.Step]:
    return routine.control(CONTROL)


def test_both_perform_the_same_minute_in_the_same_order() -> None:
    expected = [
        "bury in dead_letters",
        "append index",
        "append signal NVDA",
        "append bar",
        "append tick",
        "call FETCH_ACCOUNT",
        "settle",
        "call FETCH_BROKER",
        "settle",
        "ack 1",
        "ack 2",
    ]
    assert live(minute) == simulated(minute) == expected


def test_both_perform_the_same_start_but_for_the_stream_and_the_settling() -> None:
    expected = ["self-test", "append started 3", "ask for a snapshot", "append snapshot"]
    assert live(start) == expected
    assert simulated(start) == expected + OPENING


def test_both_bury_a_control_that_cannot_be_read() -> None:
    assert live(control) == simulated(control) == ["bury in dead_letters", "ack 5"]


def test_a_live_minute_that_comes_before_the_start_is_over_waits_for_it() -> None:
    async def work() -> None:
        app = live_app(driver)
        early = asyncio.create_task(app._follow_steps(minute(driver.routine), driver.ack))
        await asyncio.sleep(0)
        assert driver.clock.now() == TEN + MINUTE_US and not driver.done
        await app._follow_steps(start(driver.routine))
        await early

    driver = Driver(steps.LIVE)
    asyncio.run(work())
    begun = driver.done.index("append snapshot")
    assert driver.done[begun + 1 : begun + 3] == ["bury in dead_letters", "append index"]
    assert driver.done[-1] == "ack 2"


IN_A_MINUTE = (steps.Bury, steps.Append, steps.Call, steps.Settle, steps.Ack)
AT_THE_START = (steps.SelfTest, steps.Append, steps.Snapshot)


@pytest.mark.parametrize("step", IN_A_MINUTE)
def test_a_driver_that_leaves_a_step_of_a_minute_out_does_not_agree(step: type[Any]) -> None:
    assert live(minute, step) != simulated(minute)
    assert live(minute) != simulated(minute, step)


@pytest.mark.parametrize("step", AT_THE_START)
def test_a_driver_that_leaves_a_step_of_the_start_out_does_not_agree(step: type[Any]) -> None:
    assert live(start, step) + OPENING != simulated(start)
    assert live(start) + OPENING != simulated(start, step)
