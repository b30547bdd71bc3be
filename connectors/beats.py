"""Heartbeats: what each process says of itself, every second or five, in the topic ``heartbeats``."""

import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tapedeck.connectors.clock import SystemClock
from tapedeck.schemas.codec import encode
from tapedeck.streams.identity import RULES_VERSION
from tapedeck.streams.wire import Wire
from tapedeck.topics.catalogue import topic

BEAT_S = 1.0
NOW = "NOW_"
"""What the name of a count begins with that tells the state of the process, and for how many seconds."""
POD = "POD_NAME"
_STARTED = SystemClock().now()
_latest: dict[tuple[str, int], dict[str, Any]] = {}
_looked_at = time.monotonic()

About = Mapping[str, object]


def about(code_version: str, config_digest: str) -> About:
    """What the heartbeats of this process say beside its progress."""
    return {
        "code_version": code_version,
        "config_digest": config_digest,
        "rules_version": RULES_VERSION,
        "process": process_name(),
        "started_at": _STARTED,
    }


def process_name(environment: Mapping[str, str] = os.environ) -> str:
    """The pod's name where POD_NAME tells it, else ``host:pid``."""
    return environment.get(POD) or f"{socket.gethostname()}:{os.getpid()}"


def latest() -> list[dict[str, Any]]:
    """The last heartbeat that this process made of each stage and partition."""
    return list(_latest.values())


def touch() -> None:
    """Say that the process works, or waits as it should."""
    global _looked_at  # noqa: PLW0603 - a process has one
    _looked_at = time.monotonic()


def looked_at() -> float:
    """When it last said so, on the monotonic clock; at first, when this was imported."""
    return _looked_at


def beat(
    stage: str,
    now: int,
    *,
    marked: int | None,
    lag: int | None,
    records: int,
    counts: Mapping[str, int],
    about: About,
    partition: int = 0,
    assigned: Sequence[int] = (0,),
    restoring: tuple[int, int] | None = None,
    ready: bool = True,
) -> Wire:
    """A heartbeat at ``now``, UTC micros. ``marked``: label of the last watermark; ``records``: taken.

    ``counts``: ``NOW_STATE``, and ``STATE:SOURCE`` for each source, hold the seconds in that state.
    ``lag``: None if it is not known. ``assigned``: the partitions of the stage that the process owns.
    ``restoring``: changelog records applied in the last recovery, and those that it had to apply.
    """
    restored, to_restore = restoring or (None, None)
    body = {
        "stage": stage,
        "partition": partition,
        "at": now,
        "last_watermark": marked,
        "lag": lag,
        "records": records,
        "counts": dict(counts),
        "assigned": list(assigned),
        "restored": restored,
        "to_restore": to_restore,
        "ready": ready,
        **about,
    }
    _latest[stage, partition] = body
    touch()
    key = topic("heartbeats").record_key(body)
    return Wire("heartbeats", 0, key, encode("heartbeats", body), now // 1000, [])
