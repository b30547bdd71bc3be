"""Only one process writes the watermarks of the source topics: how each of them notices another one."""

from collections.abc import Collection
from typing import NamedTuple

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.scan import ends_of, read_parts
from tapedeck.connectors.tapes.player import SOURCES
from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter, Fatal
from tapedeck.schemas.readable import iso_time
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.watermarks import readable_label

LIVE = "ingest-bars"
"""The name under which `tape ingest bars` reports, and of its process in a local stack."""
LIVE_NEWS = "ingest-news"
"""The name of `tape ingest news`, likewise."""
LIVE_POSTS = "ingest-posts"
LIVE_WRITERS = (LIVE, LIVE_NEWS, LIVE_POSTS)
"""All that write watermarks of what a tape is played into."""
LOOK_S = 60.0
"""How often a live writer looks for watermarks of others."""
FIRST_LOOK_S = 5.0
"""How soon after its start it looks first."""
FRESH_S = 15
"""A live writer reports every second; one that has not for this long is gone."""
_BACK = 5_000


class Foreign(NamedTuple):
    """A watermark that another process wrote."""

    part: Part
    offset: int
    label: int


def refuse_beside_live(cluster: Cluster, now: int, stages: Collection[str] = (LIVE,)) -> None:
    """Raise Fatal if one of the live ``stages`` writes these topics. ``now``: this machine's, UTC micros."""
    for stage, last in sorted(_last_beats(cluster, stages).items()):
        if now - last > FRESH_S * SECOND_US:
            continue
        ago = max(0, now - last) // SECOND_US
        raise Fatal(
            "live data is being written into these topics: their watermarks have only one writer",
            value=f"{stage}, which reported {ago} s ago",
            remedy=f"play into another TAPE_PREFIX; or stop the process {stage} and wait {FRESH_S} s",
        )


class ForeignMarks:
    """Finds watermarks of others. ``look`` covers what was written since the one before."""

    def __init__(self, cluster: Cluster, names: tuple[str, ...] = SOURCES) -> None:
        self._cluster, self._names = cluster, names
        self._ends = {part: end for part, (_, end) in ends_of(cluster, names).items()}

    def look(self, ours: Collection[int]) -> Foreign | None:
        """The first watermark whose label is not one of ``ours``."""
        bounds = ends_of(self._cluster, self._names)
        window = {part: (max(low, self._ends[part]), end) for part, (low, end) in bounds.items()}
        self._ends = {part: end for part, (_, end) in bounds.items()}
        for chunk in read_parts(self._cluster, window):
            for message in chunk:
                label = readable_label(message)
                if label is not None and label not in ours:
                    return Foreign((message.topic, message.partition), message.offset, label)
        return None

    def refuse(self, ours: Collection[int]) -> None:
        """Raise Fatal if there is one."""
        found = self.look(ours)
        if found is not None:
            (name, partition), offset, label = found
            raise Fatal(
                "another process writes watermarks into this topic, but a topic has only one such writer",
                value=f"{name}/{partition}@{offset}: {iso_time(label)}",
                remedy="stop `tape play`, `tape watermark` or the other `tape ingest`, or do not start this",
            )


def _last_beats(cluster: Cluster, stages: Collection[str]) -> dict[str, int]:
    """When each of ``stages`` reported last, UTC micros."""
    window = {
        part: (max(low, end - _BACK), end) for part, (low, end) in ends_of(cluster, ("heartbeats",)).items()
    }
    found: dict[str, int] = {}
    for chunk in read_parts(cluster, window):
        for message in chunk:
            try:
                beat = decode("heartbeats", message.value)
            except DeadLetter:
                continue
            if (stage := beat["stage"]) in stages:
                found[stage] = max(found.get(stage, 0), int(beat["at"]))
    return found
