"""Heartbeats of the processes that are no stage."""

from collections.abc import Mapping

from tapedeck.schemas.codec import encode
from tapedeck.streams.wire import Wire
from tapedeck.topics.catalogue import topic

BEAT_S = 1.0
NOW = "NOW_"
"""What the name of a count begins with that tells the state of the process, and for how many seconds."""


def beat(
    stage: str,
    now: int,
    *,
    marked: int | None,
    lag: int,
    records: int,
    counts: Mapping[str, int],
    about: Mapping[str, str],
) -> Wire:
    """A heartbeat at ``now``, UTC micros. ``marked``: label of the last watermark; ``records``: written.

    ``counts``: ``NOW_STATE``, and ``STATE:SOURCE`` for each source, hold the seconds in that state.
    ``about``: the code version and the digest of the configuration.
    """
    body = {
        "stage": stage,
        "partition": 0,
        "at": now,
        "last_watermark": marked,
        "lag": lag,
        "records": records,
        "counts": dict(counts),
        **about,
    }
    return Wire(
        "heartbeats", 0, topic("heartbeats").record_key(body), encode("heartbeats", body), now // 1000, []
    )
