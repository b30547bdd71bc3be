"""How far the source of a worker's stages is: asked of the cluster when a scrape wants to know."""

import logging
import threading
import time
from collections.abc import Callable

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.tapes.marks import last_watermarks
from tapedeck.schemas.errors import TapeError

log = logging.getLogger("tapedeck.health")

KEPT_S = 5.0
"""A minute ends every 60 s, so a scrape every few seconds need not ask again."""


class SourceMarks:
    """The highest last watermark of a source topic; ``of`` may be called from any thread."""

    def __init__(self, cluster: Cluster, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._cluster, self._monotonic = cluster, monotonic
        self._known: dict[str, tuple[float, int | None]] = {}
        self._one = threading.Lock()

    def of(self, name: str) -> int | None:
        """Label of the last minute that the topic has ended; None if it has none or nobody answers."""
        with self._one:
            at, label = self._known.get(name, (-KEPT_S, None))
            if self._monotonic() - at < KEPT_S:
                return label
            try:
                found = last_watermarks(self._cluster, (name,)).values()
                label = max((each for each in found if each is not None), default=None)
            except TapeError as error:
                log.warning("how far %s is, is not known: %s", name, error)
                label = None
            self._known[name] = (self._monotonic(), label)
            return label
