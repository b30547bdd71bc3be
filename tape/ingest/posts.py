"""``tape ingest posts``: Reddit's posts and comments into the topic ``posts``, with its watermarks.

It is the only writer of the topic. A thread runs the job on its schedule, because a run waits for Reddit for
minutes; this one ends minutes and tells how the job fares. A refusal is a state, never an end.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from tapedeck.connectors.beats import BEAT_S, About, beat
from tapedeck.connectors.clock import Clock
from tapedeck.connectors.dispatch.lease import LeaseHeld
from tapedeck.connectors.news.minutes import Minutes
from tapedeck.connectors.reddit.posts import TOPIC
from tapedeck.connectors.reddit.run import Report
from tapedeck.connectors.reddit.saved import Body, Letter
from tapedeck.connectors.reddit.sink import STAGE, LogSink, Writer
from tapedeck.connectors.reddit.states import RED, RedditState
from tapedeck.connectors.tapes.writers import FIRST_LOOK_S, LOOK_S
from tapedeck.schemas.errors import Retry
from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.streams.wire import Wire
from tapedeck.tape.ingest.leases import Beside
from tapedeck.topics.catalogue import Layout

log = logging.getLogger("tapedeck.ingest.posts")

_TICK_S = 0.2
_JOIN_S = 3.0
_HELD_S = 5.0
"""Seconds until a run is tried again that another process of this machine holds up."""


class Stopped(BaseException):
    """The process is to stop during a wait of the job. Whatever takes an error for Reddit's lets it pass."""


class PostsLog:
    """All that goes into the topic, one write after the other: posts, letters, watermarks, heartbeats.

    The job's thread and the main one share it. Each call returns when what it wrote is acknowledged.
    ``still_ours`` raises if this process has lost the right to write.
    """

    def __init__(
        self, writer: Writer, layout: Layout, clock: Clock, *, still_ours: Callable[[], object] = lambda: None
    ) -> None:
        self._writer, self._still_ours = writer, still_ours
        self._sink = LogSink(writer, layout, clock)
        self._one = threading.Lock()
        self._closed = False
        self.written = 0

    def write(self, bodies: Sequence[Body]) -> None:
        """Append versions of posts."""
        with self._one:
            self._check()
            self._sink.write(bodies)
            self.written += len(bodies)

    def refuse(self, letters: Sequence[Letter]) -> None:
        """Append a dead letter for each row."""
        with self._one:
            self._check()
            self._sink.refuse(letters)

    def watermark(self, label: int) -> None:
        """End the minute ``label``."""
        with self._one:
            self._check()
            self._writer.watermark(TOPIC, label)
            self._writer.flush()

    def wires(self, wires: Iterable[Wire]) -> None:
        """Write records as they are."""
        with self._one:
            self._check()
            self._writer.write(wires)
            self._writer.flush()

    def close(self) -> None:
        """Refuse what a run still writes that did not end in time: another process may be writing."""
        with self._one:
            self._closed = True

    def _check(self) -> None:
        if self._closed:
            raise Retry("this process no longer writes the topic")
        self._still_ours()


class Runs(Protocol):
    """What is run on a schedule; ``Job`` is one."""

    def due_at(self) -> int: ...

    def run(self) -> Report: ...


class Ended(threading.Event):
    """Whether the job is to end."""

    def pause(self, seconds: float) -> None:
        """The job's sleep. Raises Stopped when it is to end."""
        if self.wait(seconds):
            raise Stopped


class JobThread:
    """Runs a job whenever it is due. ``failed``: what ended it, if it was not asked to end."""

    def __init__(self, job: Runs, clock: Clock, ended: Ended) -> None:
        self._job, self._clock, self._ended = job, clock, ended
        self._thread = threading.Thread(target=self._run, name="job", daemon=True)
        self.report: Report | None = None
        self.counts: Counter[str] = Counter()
        self.runs = 0
        self._running = False
        self.failed: Exception | None = None

    def start(self) -> None:
        """Begin to look at the schedule."""
        self._thread.start()

    def close(self) -> None:
        """End it; a run under way ends at its next wait."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)

    def turn(self) -> float:
        """Run the job if it is due; gives the seconds until the next look."""
        wait_s = (self._job.due_at() - self._clock.now()) / SECOND_US
        if wait_s > 0:
            return min(wait_s, 1.0)
        self._running = True
        try:
            report = self._job.run()
        except LeaseHeld as error:
            log.info("%s", error)
            return _HELD_S
        finally:
            self._running = False
        self.counts.update({reason.value: n for reason, n in report.counts.items()})
        self.report = report
        self.runs += 1
        return 0.0

    def late_minutes(self, now: int) -> int:
        """Whole minutes for which a run has been due and has not begun."""
        return 0 if self._running else max(0, now - self._job.due_at()) // MINUTE_US

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                self._ended.wait(self.turn())
        except Stopped:
            pass
        except Exception as error:
            self.failed = error


class PostsIngest:
    """Ends the minutes of ``log`` and tells how the job fares.

    ``alone`` gets the labels of all watermarks written here, and raises if another process writes some.
    ``about``: what a heartbeat says of this process beside its progress: code version, config digest.
    """

    def __init__(
        self,
        log: PostsLog,
        minutes: Minutes,
        clock: Clock,
        job: JobThread,
        *,
        about: About,
        alone: Callable[[Collection[int]], None] = lambda marked: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._minutes, self._clock, self._job = log, minutes, clock, job
        self._about, self._alone, self._monotonic = about, alone, monotonic
        began = monotonic()
        self._beat_at, self._alone_at = began - BEAT_S, began + FIRST_LOOK_S - LOOK_S
        self._marked: set[int] = set()
        self._states: dict[str, tuple[RedditState, float]] = {}

    def begin(self) -> None:
        """The watermarks that are due, before the first post: a new topic begins with one."""
        self._end_minutes()

    def run(self, stop: threading.Event, beside: Sequence[Beside] = ()) -> None:
        """Work until ``stop``. Raises what ended the job, or a thread ``beside``."""
        while not stop.is_set():
            self.tick()
            for each in (*beside, self._job):
                if each.failed is not None:
                    raise each.failed
            stop.wait(_TICK_S)

    def tick(self) -> None:
        """End the minutes that are over; a heartbeat each second."""
        self._end_minutes()
        now = self._monotonic()
        if now - self._beat_at >= BEAT_S:
            self._beat_at = now
            self._look(now)
            self._log.wires([self._beat(now)])
        if now - self._alone_at >= LOOK_S:
            self._alone_at = now
            self._alone(self._marked)

    def _end_minutes(self) -> None:
        for label in self._minutes.due(self._clock.now()):
            self._marked.add(label)
            self._log.watermark(label)

    def _look(self, now: float) -> None:
        """Keep each subreddit's state and since when it is in it; the log has each change."""
        report = self._job.report
        for name, (state, words) in (report.subreddits if report is not None else {}).items():
            before = self._states.get(name)
            if before is not None and before[0] is state:
                continue
            self._states[name] = (state, now)
            if before is not None or state is not RedditState.OK:
                level = logging.INFO if state is RedditState.OK else logging.WARNING
                level = logging.ERROR if state in RED else level
                log.log(level, "subreddit %s is %s%s", name, state, f": {words}" if words else "")

    def _beat(self, now: float) -> Wire:
        judged = self._job.counts
        counts = {
            "IN": sum(judged.values()),
            "OUT:posts": self._log.written,
            **judged,
            "RUNS": self._job.runs,
        }
        for name, (state, since) in self._states.items():
            counts[f"{state}:{name}"] = max(1, round(now - since))
        at = self._clock.now()
        return beat(
            STAGE,
            at,
            marked=self._minutes.last,
            lag=self._job.late_minutes(at),
            records=self._log.written,
            counts=counts,
            about=self._about,
        )
