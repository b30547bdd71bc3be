"""The doctor that looks for ever, sends what changes, and says by its health that it still looks."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from tapedeck.agents.settings import code_version, tell_ready
from tapedeck.connectors.beats import about
from tapedeck.connectors.health.server import serve
from tapedeck.connectors.health.vitals import Vitals
from tapedeck.streams.metrics import Sample
from tapedeck.tape.doctor.findings import Diagnosis

log = logging.getLogger("tapedeck.doctor")

NAME = "doctor"
LEAST_S = 5
"""A look takes up to ten seconds; more often says no more."""
LOOK_MOST_S = 120.0
"""A look and its notices take less, whatever does not answer: longer means that it hangs."""


class Stopped(BaseException):
    """A stop signal came between two looks or while one was under way."""


class Stop:
    """SIGTERM, SIGINT and SIGHUP end the watch: at once, or after the notices that are being sent."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._is_held = False

    def listen(self) -> None:
        """Take the signals from now on."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on)

    def _on(self, number: int, frame: FrameType | None) -> None:
        self._asked.set()
        if not self._is_held:
            raise Stopped

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let a stop wait for what is done meanwhile. Raises Stopped after it."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
        if self._asked.is_set():
            raise Stopped


class Pulse:
    """The health of the watch: it is ready after its first look, and lives while looks end in time."""

    def __init__(self, every_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._every_s, self._monotonic = every_s, monotonic
        self._looked = self._began = monotonic()
        self._has_looked = False

    def beat(self) -> None:
        """A look has ended."""
        self._looked, self._has_looked = self._monotonic(), True

    def missing(self) -> Mapping[str, str]:
        """What keeps it from being ready."""
        return {} if self._has_looked else {NAME: "has not looked yet"}

    def stuck(self) -> Mapping[str, str]:
        """Why it does not live."""
        silent = self._monotonic() - self._looked
        late = silent > self._every_s + LOOK_MOST_S
        return {NAME: f"has not ended a look for {silent:.0f} s"} if late else {}

    def samples(self) -> Iterable[Sample]:
        """It has no metrics of its own."""
        return ()


def watch(
    look: Callable[[Stop], Diagnosis],
    every_s: float,
    *,
    digest: str = "",
    stop: Stop | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Call ``look`` every ``every_s`` seconds until a stop signal. It holds the stop while it sends.

    A look that fails is logged and tried again: the process's health tells of one that always fails.
    Raises Fatal if the health's port is taken.
    """
    stop = stop or Stop()
    pulse = Pulse(every_s)
    vitals = Vitals(NAME, about(code_version(), digest))
    vitals.parts.append(pulse)
    serve(vitals)
    vitals.started = True
    said = ""
    try:
        stop.listen()
        log.info("the doctor looks every %g s", every_s)
        while True:
            began = time.monotonic()
            try:
                found = look(stop)
            except Exception as error:
                log.exception("a look failed: %s", type(error).__name__)
            else:
                if found.headline != said:
                    said = found.headline
                    log.info("%s", said)
                pulse.beat()
                tell_ready()
            wait(max(0.0, every_s - (time.monotonic() - began)))
    except Stopped:
        log.info("the doctor stops")
