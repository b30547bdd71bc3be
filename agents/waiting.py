"""Logs what a process waits for: once, then every minute, and when the wait is over."""

import asyncio
import logging
import time
from collections.abc import Callable

from tapedeck.agents.runner import StageRunner
from tapedeck.schemas.readable import iso_time
from tapedeck.streams.merge import Part
from tapedeck.streams.stages.watchlist.reasons import WatchlistDrop
from tapedeck.topics.catalogue import topic

LOOK_S = 2.0
PATIENCE_S = 10.0
"""How long a watermark may be missing without a message: an earlier stage may be working."""
AGAIN_S = 60.0
log = logging.getLogger("tapedeck.waiting")

_SOURCE_OWNER = "play"


class Waiting:
    """One wait of one process. Call it as often as you check; it logs every AGAIN_S."""

    def __init__(
        self, log: logging.Logger, who: str, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._log, self._who, self._monotonic = log, who, monotonic
        self._next: float | None = None

    def say(self, what: str) -> None:
        """The process waits for ``what``."""
        now = self._monotonic()
        if self._next is None or now >= self._next:
            self._next = now + AGAIN_S
            self._log.warning("%s waits: %s", self._who, what)

    def over(self) -> None:
        """The wait is over; logged if the wait was."""
        if self._next is not None:
            self._next = None
            self._log.info("%s no longer waits", self._who)


class Unmarked:
    """Checks what one stage's merge waits for: watermarks that do not come."""

    def __init__(
        self,
        runner: StageRunner,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runner, self._monotonic = runner, monotonic
        self._waiting = Waiting(log, runner.spec.name, monotonic=monotonic)
        self._without = Waiting(log, runner.spec.name, monotonic=monotonic)
        self._boundaries = 0
        self._lacking: dict[Part, int | None] = {}
        self._since = monotonic()

    async def run(self) -> None:
        """Run forever."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.look()

    def look(self) -> None:
        """Check once: log the first topic whose watermark has been missing for PATIENCE_S."""
        lacking = {
            part: task.merge.label(part)
            for task in self._runner.tasks.values()
            for part in task.merge.lacking()
        }
        now = self._monotonic()
        self._look_for_universe()
        if not lacking:
            self._waiting.over()
        if not lacking or lacking != self._lacking:
            self._lacking, self._since = lacking, now
        elif now - self._since >= PATIENCE_S:
            (name, partition), label = next(iter(lacking.items()))
            self._waiting.say(_in_words(name, partition, label) + self._without_openings(name))

    def _without_openings(self, name: str) -> str:
        """An addition for optional inputs: an opening declares absent what is behind."""
        spec = self._runner.spec
        optional = [join.topic for join in spec.joins if join.optional]
        if name in optional:
            return f"; {spec.trigger} did not declare it absent for this minute, so it is waited for"
        if name != spec.trigger or not optional:
            return ""
        return (
            f"; or its opening, which declares {' and '.join(optional)} absent while silent: the "
            f"writer of the source writes it, and the stages between forward it"
        )

    def _look_for_universe(self) -> None:
        """Without a universe, the watchlist takes every minute and lists nobody."""
        missed = sum(task.counts[WatchlistDrop.NO_UNIVERSE] for task in self._runner.tasks.values())
        if missed > self._boundaries:
            self._without.say(
                "there is no universe (NO_UNIVERSE), so the watchlist is empty: `tape universe` writes the "
                "configured one, `tape play` that of a tape"
            )
        self._boundaries = missed


def _in_words(name: str, partition: int, label: int | None) -> str:
    owner = topic(name).owner
    writer = "the stage " + owner
    if owner == _SOURCE_OWNER:
        writer = "`tape play`, or `tape watermark` for a producer of bars,"
    if label is None:
        return f"{name}/{partition} has no watermark yet; {writer} writes the first"
    return f"{name}/{partition} has none after {iso_time(label)}, which others have; {writer} writes it"
