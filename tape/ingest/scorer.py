"""``tape scorer``: the parts of the scorer from a process's settings, its lease and its heartbeat."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

from tapedeck.agents.settings import Settings
from tapedeck.connectors.beats import BEAT_S, About, about, beat, touch
from tapedeck.connectors.clock import Clock, SystemClock
from tapedeck.connectors.dispatch.lease import Lease, LeaseLost, LeaseShort
from tapedeck.connectors.kafka.acls import demand_rights
from tapedeck.connectors.kafka.admin import check
from tapedeck.connectors.kafka.identity import cluster_id_of
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.kafka.principals import scorer as rights
from tapedeck.connectors.scoring.live import KafkaScoringLog
from tapedeck.connectors.scoring.loop import STAGE, ScoringLoop
from tapedeck.connectors.sentiment.engines import scorer_of
from tapedeck.connectors.sentiment.scorer import Scorer
from tapedeck.schemas.errors import Retry
from tapedeck.streams.metrics import Buckets
from tapedeck.streams.wire import Wire
from tapedeck.tape.ingest.leases import Beside, acquired, kept, lease_of

log = logging.getLogger("tapedeck.scorer")

CHECK_TOPICS_S = 30.0
_POLL_S = 0.1
_PAUSE_S = 2.0
_TRY_AGAIN_S = 0.5
_MOST = {"light": 256, "lexicon": 256}
_MOST_OF_MODEL = 32
"""Texts of a call: a model takes seconds for so many, and a beat waits for them."""


def run(
    settings: Settings,
    model: str,
    stop: threading.Event,
    *,
    started: Callable[[], None],
    version: str,
    clock: Clock | None = None,
    seconds: Buckets | None = None,
) -> None:
    """Score until ``stop``, whenever no other process does. ``started`` is called when it works or waits.

    ``seconds`` counts how long each round of scoring takes.
    ``model``: as for ``tape score``. Raises Fatal for a model that cannot be loaded, missing rights or
    topics. A broker that is away is waited for.
    """
    cluster, chosen = settings.cluster, settings.config.sentiment
    cluster_id_of(cluster)
    demand_rights(cluster, rights(cluster.layout))
    check(cluster)
    engine = scorer_of(chosen, model or settings.config.deployment.sentiment_model)
    log.info("scores with %s, model %s, digest %s", *engine.model)
    lease = lease_of(settings, STAGE)
    started()
    while not stop.is_set():
        if lease is not None and not acquired(lease, stop):
            return
        try:
            with ExitStack() as ending:
                beside = kept(lease, ending)
                _Term(
                    settings, engine=engine, stop=stop, lease=lease, clock=clock or SystemClock(),
                    seconds=seconds or Buckets(), about=about(version, settings.config.digest), ending=ending,
                ).work(beside)  # fmt: skip
        except (LeaseLost, LeaseShort) as error:
            log.error("another process may have taken over, and this one waits: %s", error)
        except Retry as error:
            log.warning("the scorer pauses for %.0f s: %s", _PAUSE_S, error)
            touch()
            stop.wait(_PAUSE_S)


class _Term:
    """The time for which this process is the one that scores."""

    def __init__(
        self,
        settings: Settings,
        *,
        engine: Scorer,
        stop: threading.Event,
        lease: Lease | None,
        clock: Clock,
        seconds: Buckets,
        about: About,
        ending: ExitStack,
    ) -> None:
        origin = settings.origin(STAGE)
        self._clock, self._stop, self._about = clock, stop, about
        self._writer = ending.enter_context(KafkaLogWriter(settings.cluster, origin))
        still_ours = lease.check if lease is not None else lambda: None
        self._log = KafkaScoringLog(settings.cluster, self._writer, still_ours)
        ending.callback(self._log.close)
        self._loop = ScoringLoop(
            self._log,
            lambda: engine,
            origin,
            most=_MOST.get(engine.model.engine, _MOST_OF_MODEL),
            now_us=clock.now,
            took=seconds.observe,
            pause=lambda: stop.wait(_TRY_AGAIN_S),
        )

    def work(self, beside: tuple[Beside, ...]) -> None:
        """Score until the process is to stop. Raises what ended it."""
        moved, beat_at, check_at = False, 0.0, time.monotonic() + CHECK_TOPICS_S
        while not self._stop.is_set():
            now = time.monotonic()
            moved = self._loop.step(now, 0.0 if moved else _POLL_S)
            for each in beside:
                if each.failed is not None:
                    raise each.failed
            if now >= check_at:
                check_at = now + CHECK_TOPICS_S
                self._log.refuse_changed()
            if now >= beat_at:
                beat_at = now + BEAT_S
                self._log.write([self._beat()])
        self._log.write([self._beat()])

    def _beat(self) -> Wire:
        now = self._clock.now()
        counts = dict(self._loop.counts) | {f"BY:{name}": n for name, n in self._loop.by_model.items()}
        return beat(
            STAGE,
            now,
            marked=self._loop.marked,
            lag=self._log.lag + self._loop.waiting,
            records=counts.get("IN", 0),
            counts=counts,
            about=self._about,
        )
