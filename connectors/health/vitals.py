"""What a process knows of its own health: whether it is ready, whether it lives, and its metrics."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from tapedeck.connectors import beats, dead_letters
from tapedeck.connectors.clock import SystemClock
from tapedeck.streams import measured, metrics
from tapedeck.streams.metrics import Sample
from tapedeck.streams.sessions import Calendar, Phase

SILENT_S = 60.0
"""An edge looks at everything every second or so; a model's call takes some, so this long means it hangs."""


class Part(Protocol):
    """A part of a process that has a health of its own: a stage, or an edge."""

    def missing(self) -> Mapping[str, str]:
        """What keeps it from being ready, by place, such as ``features/2``."""
        ...

    def stuck(self) -> Mapping[str, str]:
        """What makes no progress although it should, by place."""
        ...

    def samples(self) -> Iterable[Sample]:
        """Its metrics now."""
        ...


class Vitals:
    """The health of one process. Read from the server's thread, so parts give copies."""

    def __init__(
        self, process: str, about: Mapping[str, object], *, calendar: Callable[[], Calendar] | None = None
    ) -> None:
        self.process, self._about, self._calendar = process, about, calendar
        self._clock = SystemClock()
        self.parts: list[Part] = []
        self.started = False
        """Whether the process has all its parts and works, or waits for its turn."""

    def missing(self) -> dict[str, str]:
        """What keeps the process from being ready; empty if it is."""
        found = {} if self.started else {self.process: "is starting"}
        for part in self.parts:
            found.update(part.missing())
        return found

    def stuck(self) -> dict[str, str]:
        """What makes no progress; empty if the process lives."""
        return {place: words for part in self.parts for place, words in part.stuck().items()}

    def samples(self) -> Iterator[Sample]:
        """Every metric of the process."""
        yield from measured.build_samples(self._about)
        yield Sample(metrics.READY, not self.missing())
        yield Sample(metrics.LIVE, not self.stuck())
        if self._calendar is not None:
            phase = self._calendar().phase(self._clock.now())
            yield Sample(metrics.SESSION, phase is Phase.REGULAR)
        for part in self.parts:
            yield from part.samples()


class Edge:
    """A process that is no stage: it lives while it looks around, and its heartbeats have its counts.

    ``connected``: what it lacks, in words; empty where nothing. ``more``: metrics beside its heartbeats'.
    """

    def __init__(
        self,
        name: str,
        *,
        connected: Callable[[], str] = str,
        more: Callable[[], Iterable[Sample]] = tuple,
        dead: bool = True,
    ) -> None:
        self._name, self._connected, self._more, self._dead = name, connected, more, dead
        self._clock = SystemClock()

    def missing(self) -> dict[str, str]:
        return {self._name: words} if (words := self._connected()) else {}

    def stuck(self) -> dict[str, str]:
        silent = time.monotonic() - beats.looked_at()
        return {self._name: f"has not looked around for {silent:.0f} s"} if silent > SILENT_S else {}

    def samples(self) -> Iterator[Sample]:
        for body in beats.latest():
            stage, counts = body["stage"], body["counts"]
            yield from measured.beat_samples(body, self._clock.now())
            yield from measured.lag_sample(stage, body["lag"])
            yield from measured.feed_samples(stage, counts)
            if self._dead:
                yield from measured.dead_samples(stage, dead_letters.made())
        yield from self._more()
