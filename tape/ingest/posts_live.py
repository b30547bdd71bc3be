"""Makes the parts of ``tape ingest posts`` from a process's settings, and runs them."""

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tapedeck.agents.settings import Settings
from tapedeck.connectors.beats import About, about
from tapedeck.connectors.clock import Clock, SystemClock
from tapedeck.connectors.dispatch.lease import Lease, LeaseLost, LeaseShort
from tapedeck.connectors.kafka.acls import demand_rights
from tapedeck.connectors.kafka.admin import check
from tapedeck.connectors.kafka.identity import cluster_id_of
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.kafka.principals import ingest
from tapedeck.connectors.news.minutes import Minutes
from tapedeck.connectors.reddit.client import App, PrawClient, app_of, authors_of, require_praw
from tapedeck.connectors.reddit.job import NAME, Job
from tapedeck.connectors.reddit.lease import FileLease
from tapedeck.connectors.reddit.pace import Gate
from tapedeck.connectors.reddit.posts import TOPIC, Authors
from tapedeck.connectors.reddit.sink import STAGE
from tapedeck.connectors.tapes.marks import reached
from tapedeck.connectors.tapes.writers import ForeignMarks
from tapedeck.schemas.errors import Fatal
from tapedeck.tape.ingest.leases import Beside, acquired, kept, lease_of
from tapedeck.tape.ingest.posts import Ended, JobThread, PostsIngest, PostsLog
from tapedeck.tape.topology import topology_in_use

log = logging.getLogger("tapedeck.ingest.posts")

FOLDER = "ingest-posts"
Connect = Callable[[Gate], PrawClient]


def run(
    settings: Settings,
    stop: threading.Event,
    *,
    started: Callable[[], None],
    version: str,
    clock: Clock | None = None,
    app: Callable[[], App] = app_of,
) -> None:
    """Ingest until ``stop``, whenever no other process does. ``started`` is called when it works or waits.

    ``app`` is asked before each run, so that a replaced secret takes effect. Raises Fatal without the extra
    `reddit`, a subreddit or the salt, for missing rights or topics; Retry if the broker does not answer.
    """
    cluster, clock = settings.cluster, clock or SystemClock()
    require_praw()
    if not settings.config.reddit.subreddits:
        raise Fatal(
            "there are no posts to bring in: no subreddit is configured",
            value=str(settings.config_path),
            remedy="name some in reddit.subreddits",
        )
    authors = authors_of()
    cluster_id_of(cluster)
    demand_rights(cluster, ingest(topology_in_use()))
    check(cluster)
    lease = lease_of(settings, STAGE)
    started()
    while not stop.is_set():
        if lease is not None and not acquired(lease, stop):
            return
        try:
            with ExitStack() as ending:
                beside = kept(lease, ending)
                term = _Term(settings, lease, clock, authors, lambda gate: PrawClient(app(), gate, clock))
                term.work(stop, beside, about(version, settings.config.digest), ending)
        except (LeaseLost, LeaseShort) as error:
            log.error("another process may have taken over, and this one waits: %s", error)


class _RunLease(FileLease):
    """One run at a time on this machine, for as long as this process is the one that ingests."""

    def __init__(self, path: Path, still_ours: Callable[[], object]) -> None:
        super().__init__(path, NAME)
        self._still_ours = still_ours

    def check(self) -> None:
        """Raises LeaseLost or LeaseShort once another process may have taken over."""
        self._still_ours()


class _Term:
    """The time for which this process is the one that ingests."""

    def __init__(
        self, settings: Settings, lease: Lease | None, clock: Clock, authors: Authors, connect: Connect
    ) -> None:
        self._settings, self._clock, self._authors, self._connect = settings, clock, authors, connect
        self._still_ours: Callable[[], object] = lease.check if lease is not None else lambda: None

    def work(
        self, stop: threading.Event, beside: tuple[Beside, ...], about: About, ending: ExitStack
    ) -> None:
        """Ingest until the process is to stop. Raises what ended it, LeaseLost and LeaseShort among that."""
        settings, clock, home = self._settings, self._clock, self._settings.home / FOLDER
        writer = ending.enter_context(KafkaLogWriter(settings.cluster, settings.origin(STAGE)))
        posts = PostsLog(writer, settings.layout, clock, still_ours=self._still_ours)
        ending.callback(posts.close)
        ended = Ended()
        job = Job(
            settings.config.reddit,
            self._connect,
            posts,
            self._authors,
            home / "reddit.json",
            lease=_RunLease(home / "reddit.lock", self._still_ours),
            clock=clock,
            sleep=ended.pause,
        )
        thread = JobThread(job, clock, ended)
        minutes = Minutes(reached(settings.cluster, TOPIC))
        alone = ForeignMarks(settings.cluster, (TOPIC,)).refuse
        process = PostsIngest(posts, minutes, clock, thread, about=about, alone=alone)
        process.begin()
        thread.start()
        ending.callback(thread.close)
        process.run(stop, beside)
