"""The incremental job: what is new on Reddit, and what became of it, as versions of posts.

Discussion threads are found by their titles and read with their comments; beside them the day's top posts
are kept. What was seen is looked at again for ``revisit_h`` hours, by name where no page shows it any more,
so that a deletion is noticed.
"""

import random
import time
from collections.abc import Callable
from pathlib import Path

from tapedeck.connectors.clock import Clock
from tapedeck.connectors.reddit.lease import JobLease
from tapedeck.connectors.reddit.pace import Client, Gate, Pace
from tapedeck.connectors.reddit.posts import Authors
from tapedeck.connectors.reddit.run import Report, Run, Sink
from tapedeck.connectors.reddit.saved import load, save
from tapedeck.connectors.reddit.states import RedditState, Refused
from tapedeck.streams.config.text_groups import Reddit
from tapedeck.streams.protocol import MINUTE_US, SECOND_US

NAME = "reddit.incremental"
"""The job's name: what its lease is called."""


class Job:
    """One job over one state file. ``connect`` makes a client that asks the gate it is given."""

    def __init__(
        self,
        config: Reddit,
        connect: Callable[[Gate], Client],
        sink: Sink,
        authors: Authors,
        path: Path,
        *,
        lease: JobLease,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        chance: random.Random | None = None,
    ) -> None:
        self._config, self._connect, self._sink, self._authors = config, connect, sink, authors
        self._path, self._lease, self._clock = path, lease, clock
        self._monotonic, self._sleep = monotonic, sleep
        self._chance = chance or random.Random()
        self._due: int | None = None

    def due_at(self) -> int:
        """When the next run begins, UTC microseconds; 0 before the first."""
        if self._due is None:
            saved = load(self._path)
            self._due = max(saved.next_due, saved.not_before)
        return self._due

    def run(self) -> Report:
        """One run. Raises LeaseHeld while another one has the lease, and what the sink raises."""
        self._lease.acquire()
        try:
            return self._run()
        finally:
            self._lease.release()

    def _run(self) -> Report:
        config, now = self._config, self._clock.now()
        saved = load(self._path)
        pace = Pace(
            per_minute=config.requests_per_min,
            budget_s=config.budget_min * 60.0,
            monotonic=self._monotonic,
            sleep=self._sleep,
            check=self._lease.check,
        )
        run = Run(config, saved, self._path, sink=self._sink, authors=self._authors, clock=self._clock)
        run.flush()
        saved.next_due = now + config.period_min * MINUTE_US
        if saved.not_before > now:
            wait_s = (saved.not_before - now) / SECOND_US
            run.refuse(Refused(RedditState.RATE_LIMITED, "Reddit asked to be left alone", wait_s=wait_s))
        else:
            run.read(self._connect, pace, self._chance)
        run.prune()
        save(self._path, saved)
        report = run.report(pace.requests)
        self._due = report.next_due
        return report
