"""Puts the questions of the core to REST, one after the other, in a thread of its own."""

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import NamedTuple

from tapedeck.connectors.alpaca.market.history import History, Row
from tapedeck.connectors.alpaca.market.steps import Ask, Why
from tapedeck.connectors.broker import BrokerError
from tapedeck.connectors.clock import Clock
from tapedeck.streams.protocol import SECOND_US

log = logging.getLogger("tapedeck.ingest.rest")


class Answer(NamedTuple):
    """What REST has; None where it gave no answer."""

    ask: Ask
    rows: list[Row] | None


class _Ended(Exception):
    pass


class Asker:
    """``ask`` never waits; ``answers`` gives what has come since the last call.

    ``history`` makes the client from a function that sleeps: the sleep ends when the asker is closed.
    """

    def __init__(self, history: Callable[[Callable[[float], None]], History], clock: Clock) -> None:
        self._ended = threading.Event()
        self._history, self._clock = history(self._sleep), clock
        self._asked: SimpleQueue[Ask | None] = SimpleQueue()
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="rest", daemon=True)
        self.failures = 0
        self.failed: Exception | None = None

    @property
    def recent_s(self) -> float:
        """For how long REST refuses a minute after its end."""
        return self._history.recent_s

    def probe(self) -> str:
        """Ask what the plan has, before the thread starts; gives why it is not known, empty where it is."""
        try:
            self._history.probe()
        except BrokerError as error:
            return str(error)
        return ""

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def ask(self, ask: Ask) -> None:
        """Put a question at the end."""
        self._asked.put(ask)

    def answers(self) -> list[Answer]:
        """The answers that are there."""
        return [self._answers.get() for _ in range(self._answers.qsize())]

    @property
    def waiting(self) -> int:
        """Questions that were not begun."""
        return self._asked.qsize()

    def close(self) -> None:
        """End the thread; a question under way is dropped."""
        self._ended.set()
        self._asked.put(None)
        if self._thread.is_alive():
            self._thread.join(1.0)

    def _run(self) -> None:
        while (ask := self._asked.get()) is not None and not self._ended.is_set():
            try:
                self._answers.put(Answer(ask, self._rows(ask)))
            except _Ended:
                return
            except Exception as error:
                self.failed = error
                return

    def _rows(self, ask: Ask) -> list[Row] | None:
        try:
            rows = self._history.bars(ask.symbols, ask.first, ask.last)
        except BrokerError as error:
            self.failures += 1
            log.warning("REST did not answer %s of %s: %s", ask.why, ", ".join(ask.symbols[:3]), error)
            return None
        refused_since = self._clock.now() - round(self.recent_s * SECOND_US)
        if self.recent_s and ask.why is not Why.BACKFILL and ask.last > refused_since:
            return None  # nothing was asked: that says nothing about the minute
        return rows

    def _sleep(self, seconds: float) -> None:
        if self._ended.wait(seconds):
            raise _Ended
