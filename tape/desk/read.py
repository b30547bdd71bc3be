"""Reads what the operator's tables show, from the topics of any cluster."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.dispatch.inbox import INBOX
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.codec import Body
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.tape.doctor.snapshot import Feed
from tapedeck.tape.status import readers
from tapedeck.tape.status.collect import Target
from tapedeck.tape.status.outside import exchange

BACK = 20_000
"""Records of a partition that are looked at: weeks of orders, positions and snapshots of its accounts."""
_INBOX_BACK = 8_000
_BARS = "bars"


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Records of topics, each account's in log order.

    ``now``: the market's time, UTC micros, None if unknown. ``config``: None where no document is named.
    """

    now: int | None
    config: Config | None
    records: Mapping[str, list[Body]] = field(default_factory=dict)

    def of(self, name: str) -> list[Body]:
        """The records of one topic."""
        return self.records.get(name, [])


def read_desk(target: Target, names: Collection[str]) -> Desk:
    """The newest records of the topics ``names``. Raises Fatal for a missing topic, Retry for silence."""
    records = {
        name: readers.newest_bodies(target.cluster, name, _INBOX_BACK if name == INBOX else BACK)
        for name in names
    }
    return Desk(now=market_now(target), config=target.config, records=records)


def market_now(target: Target) -> int | None:
    """The market's time: this machine's, an exchange's own, or of a tape the end of its last minute."""
    if target.feed is Feed.TAPE:
        return _tape_now(target.cluster)
    seen = exchange(target.exchange_url)
    return seen.clock if seen and seen.clock else SystemClock().now()


def _tape_now(cluster: Cluster) -> int | None:
    label = readers.marks(cluster, (_BARS,))[_BARS].label
    return None if label is None else label + MINUTE_US
