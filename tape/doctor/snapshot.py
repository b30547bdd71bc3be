"""Everything that the doctor's checks read, as values: what the cluster, the database and the files said.

Times are UTC micros. None means that it is not known, and is never a zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from tapedeck.connectors.kafka.admin import Found
from tapedeck.streams.config.document import Config
from tapedeck.streams.funnel import FunnelLine
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Calendar, CalendarUnknown, Session
from tapedeck.streams.topology import Topology
from tapedeck.topics.catalogue import Layout


class Feed(StrEnum):
    """Who writes the source topics."""

    LIVE = "live"
    TAPE = "tape"


class Section(StrEnum):
    """The parts of a snapshot that are read apart, each of which may fail by itself."""

    BROKER = "the broker"
    TOPICS = "the topics' settings"
    BEATS = "the heartbeats"
    GROUPS = "the consumer groups"
    MARKS = "the watermarks"
    NEWEST = "the newest records"
    LETTERS = "the dead letters"
    FUNNEL = "the records of the newest minutes"
    STANDING = "accounts, orders and positions"
    STORE = "Postgres"
    EXCHANGE = "the paper exchange"


class Fault(NamedTuple):
    """Why something could not be read, as an error of the client says it."""

    what: str
    remedy: str = ""


class BrokerSeen(NamedTuple):
    """The cluster that answered. ``expected_id``: empty where any is right."""

    address: str
    cluster_id: str
    expected_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Beat:
    """The newest heartbeat of one partition of a stage, or of a process that is no stage.

    What an older release does not write is None or empty. ``moved``: a newer beat came between the two times
    ``looked`` at which the doctor looked; None where it looked once. ``advanced``: its records grew.
    """

    stage: str
    partition: int
    at: int
    watermark: int | None = None
    lag: int | None = None
    records: int = 0
    version: str = ""
    digest: str = ""
    rules: str = ""
    process: str = ""
    started_at: int | None = None
    ready: bool | None = None
    restored: int | None = None
    to_restore: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    moved: bool | None = None
    looked: tuple[int, int] | None = None
    advanced: bool | None = None


class GroupSeen(NamedTuple):
    """A consumer group. ``members``: None if unknown. ``lag``: by topic, None where an offset is unknown."""

    members: int | None
    lag: Mapping[str, int | None]


class MarkSeen(NamedTuple):
    """The label that every partition of a topic has reached, and the one a few seconds later if looked at."""

    label: int | None
    later: int | None = None


class LettersSeen(NamedTuple):
    """Dead letters of one reason among the newest: how many, of which stage, and the newest record's time."""

    reason: str
    stage: str
    number: int
    newest: int


class OrderSeen(NamedTuple):
    """The newest state of an order that is not final."""

    account: str
    order: str
    state: str
    since: int


class PositionSeen(NamedTuple):
    """The newest state of a position that is held."""

    account: str
    instrument: str
    state: str
    since: int


class AccountSeen(NamedTuple):
    """What an account's newest record says. ``warnings``: KIND:subject of what a person should look at."""

    account: str
    at: int
    identity: str
    broker_account: str | None
    status: str | None
    alarm: str | None
    warnings: tuple[str, ...] = ()
    halt_step: str | None = None


class ComparedSeen(NamedTuple):
    """The last comparison of an account with its broker, at ``at``. ``differs``: instrument, our quantity and
    the broker's, where ours had not moved just before."""

    account: str
    at: int
    differs: tuple[tuple[str, Decimal, Decimal], ...] = ()


class FunnelSeen(NamedTuple):
    """A stage's lines of the funnel over the newest minutes that it has ended, from ``first`` to ``last``."""

    stage: str
    first: int
    last: int
    lines: tuple[FunnelLine, ...]


class ControlSeen(NamedTuple):
    """The newest control of a scope."""

    scope: str
    state: str
    person: str
    reason: str
    at: int


class UniverseSeen(NamedTuple):
    """The universe in force, and since when."""

    version: int
    symbols: frozenset[str]
    at: int


class WatchlistSeen(NamedTuple):
    """The newest watchlist, and the version of the universe that it was ranked from."""

    symbols: frozenset[str]
    universe: int


class StoreSeen(NamedTuple):
    """The audit store. ``lag``: records in Kafka that are not in it, None if unknown. ``other_logs``: topics
    whose log it has read under another id. ``clock``: its time minus ours, micros."""

    revision: str | None
    head: str
    lag: int | None
    other_logs: tuple[str, ...] = ()
    clock: int | None = None


class DiskSeen(NamedTuple):
    """The disk of a local stack with the least space. Bytes."""

    place: str
    free: int
    low: int
    least: int


class CertificateSeen(NamedTuple):
    """A certificate file that a setting names. ``expires``: None if it cannot be read."""

    setting: str
    path: str
    expires: int | None


BESIDE = "beside"
"""In place of an exchange's address: each dispatcher has its own on loopback, out of the doctor's reach."""


class ExchangeSeen(NamedTuple):
    """The paper exchange. ``fault``: why it does not answer; ``clock``: its own time where that runs.

    ``address`` may be BESIDE: nobody was asked.
    """

    address: str
    fault: str = ""
    clock: int | None = None


class SinkSeen(NamedTuple):
    """An alert sink that cannot be used, by the variable that names it. ``since``: None if from the start."""

    sink: str
    what: str
    remedy: str = ""
    since: int | None = None


class DataSeen(NamedTuple):
    """The data folder of a local stack's broker: the version that wrote it, and the one of this release."""

    place: str
    wrote: str
    runs: str


class LocalProcess(NamedTuple):
    """A process of a local stack."""

    name: str
    pid: int
    alive: bool
    restarts: int
    stages: tuple[str, ...] = ()


class Expected(NamedTuple):
    """What the topology and the configuration call for: it reports under the name ``stage``, each of
    ``partitions`` by itself. ``start``: the command that runs it."""

    stage: str
    partitions: tuple[int, ...]
    start: str


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All that was read at ``now``. ``unread``: why a section is missing.

    ``beats_at``: when the heartbeats were asked for. ``config`` is None where no document is named: nothing
    is known of accounts then. ``release`` and ``rules`` are what every process should run. ``sinks``: where
    alarms go; ``sink_faults``: those that cannot be used.
    """

    now: int
    feed: Feed
    topology: Topology
    calendar: Calendar
    layout: Layout
    config: Config | None
    release: str
    rules: str
    expected: tuple[Expected, ...]
    unread: Mapping[Section, Fault] = field(default_factory=dict)
    broker: BrokerSeen | None = None
    topics: Mapping[str, Found] = field(default_factory=dict)
    beats: tuple[Beat, ...] = ()
    beats_at: int = 0
    groups: Mapping[str, GroupSeen] = field(default_factory=dict)
    marks: Mapping[str, MarkSeen] = field(default_factory=dict)
    newest: Mapping[str, int | None] = field(default_factory=dict)
    fresh: Mapping[str, int] = field(default_factory=dict)
    feeds: frozenset[str] = frozenset()
    letters: tuple[LettersSeen, ...] = ()
    orders: tuple[OrderSeen, ...] = ()
    positions: tuple[PositionSeen, ...] = ()
    accounts: tuple[AccountSeen, ...] = ()
    compared: tuple[ComparedSeen, ...] = ()
    funnel: tuple[FunnelSeen, ...] = ()
    controls: tuple[ControlSeen, ...] = ()
    universe: UniverseSeen | None = None
    watchlist: WatchlistSeen | None = None
    store: StoreSeen | None = None
    store_named: bool = False
    disk: DiskSeen | None = None
    certificates: tuple[CertificateSeen, ...] = ()
    exchange: ExchangeSeen | None = None
    local: tuple[LocalProcess, ...] = ()
    is_local: bool = False
    sinks: tuple[str, ...] = ()
    sink_faults: tuple[SinkSeen, ...] = ()
    data: DataSeen | None = None

    @cached_property
    def market_now(self) -> int | None:
        """The market's time: this machine's, or an exchange's own; of a tape, its last minute's end."""
        if self.feed is Feed.LIVE:
            return self.exchange.clock if self.exchange and self.exchange.clock else self.now
        labels = [mark.label for mark in self.marks.values() if mark.label is not None]
        return max(labels) + MINUTE_US if labels else None

    @cached_property
    def session(self) -> Session | None:
        """The regular session that live data is expected in now; None outside, and for tapes."""
        if self.feed is Feed.TAPE or self.market_now is None:
            return None
        try:
            return self.calendar.session_at(self.market_now)
        except CalendarUnknown:
            return None

    def beats_of(self, stage: str) -> tuple[Beat, ...]:
        """The newest heartbeats of a stage, one per partition."""
        return tuple(each for each in self.beats if each.stage == stage)

    def started(self, stage: str) -> int | None:
        """When the youngest process of a stage started, as far as its heartbeats say."""
        return max((each.started_at for each in self.beats_of(stage) if each.started_at), default=None)
