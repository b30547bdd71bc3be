"""Reads a snapshot of a pipeline within a bounded time. What does not answer is part of it, not an error.

The parts are read at once, each in a thread of its own: a part that is not there in time is unread, and the
checks that need it say so.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tapedeck.agents.settings import code_version
from tapedeck.connectors.clock import Clock, SystemClock
from tapedeck.connectors.dispatch.inbox import INBOX
from tapedeck.connectors.kafka.admin import Found, describe
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.identity import cluster_id_of
from tapedeck.schemas.errors import TapeError
from tapedeck.streams.config.document import Config
from tapedeck.streams.identity import RULES_VERSION
from tapedeck.streams.sessions import xnys
from tapedeck.streams.topology import Topology
from tapedeck.tape.doctor.diagnose import diagnose
from tapedeck.tape.doctor.findings import Diagnosis
from tapedeck.tape.doctor.plan import DISPATCHER, expected
from tapedeck.tape.doctor.snapshot import (
    BrokerSeen,
    DataSeen,
    DiskSeen,
    Fault,
    Feed,
    LocalProcess,
    MarkSeen,
    Section,
    SinkSeen,
    Snapshot,
)
from tapedeck.tape.status import readers
from tapedeck.tape.status.compared import compared
from tapedeck.tape.status.lines import newest_beats
from tapedeck.tape.status.outside import certificates, exchange, store
from tapedeck.tape.status.settled import settled
from tapedeck.topics.catalogue import CATALOGUE, topic

DEADLINE_S = 10.0
ANSWER_S = 3.0
"""How long the broker may take for its first answer."""
AGAIN_S = 5.5
"""Between two looks, if there is time: an idle process reports every five seconds."""
LEAST_LEFT_S = 2.0
"""How long a second look may take."""
_LOOKED_TWICE = ("heartbeats", "clocks", "delay", "lag", "sink")
"""Checks that tell more if they know what moves."""
_OF_KAFKA = (
    Section.TOPICS, Section.BEATS, Section.GROUPS, Section.MARKS, Section.NEWEST, Section.LETTERS,
    Section.STANDING, Section.FUNNEL,
)  # fmt: skip
Fields = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Target:
    """Which pipeline is looked at, and what is known of it without asking.

    ``config``: None where no document is named. ``release``: the expected one; empty for this one.
    """

    cluster: Cluster
    topology: Topology
    config: Config | None
    feed: Feed
    database_url: str = field(default="", repr=False)
    exchange_url: str = ""
    release: str = ""
    sinks: tuple[str, ...] = ()
    sink_faults: tuple[SinkSeen, ...] = ()
    data: DataSeen | None = None
    disk: DiskSeen | None = None
    local: tuple[LocalProcess, ...] = ()
    is_local: bool = False
    posts: bool = False
    files: Mapping[str, Path] = field(default_factory=dict)


def examine(
    target: Target, *, clock: Clock | None = None, deadline_s: float = DEADLINE_S
) -> tuple[Snapshot, Diagnosis]:
    """The snapshot and what the checks find; a second look at what seems not to move, if there is time."""
    clock = clock or SystemClock()
    fault, answered = _broker(target.cluster)
    if fault is None:
        _load(target.cluster, deadline_s)
    looked = time.monotonic()
    until = looked + deadline_s
    snapshot = collect(target, fault or answered, clock=clock, until=until)
    diagnosis = diagnose(snapshot)
    doubtful = any(each.check in _LOOKED_TWICE for each in diagnosis.faults)
    left = until - time.monotonic()
    if not doubtful or Section.BROKER in snapshot.unread or left < LEAST_LEFT_S:
        return snapshot, diagnosis
    time.sleep(max(0.0, min(looked + AGAIN_S - time.monotonic(), left - LEAST_LEFT_S)))
    snapshot = look_again(target, snapshot, clock=clock, until=until)
    return snapshot, diagnose(snapshot)


def _broker(cluster: Cluster) -> tuple[Fault | None, BrokerSeen | None]:
    try:
        answers = cluster_id_of(replace(cluster, expected_id=""), ANSWER_S)
    except TapeError as error:
        return _fault(error), None
    return None, BrokerSeen(cluster.bootstrap, answers, cluster.expected_id)


def _load(cluster: Cluster, most_s: float) -> None:
    """Load what takes seconds of computing on a busy machine: compiled readers, and the calendar."""
    readers_ = _Readers(time.monotonic() + most_s)
    readers_.start(Section.BEATS, lambda: {"newest": readers.newest_times(cluster, ("heartbeats",))})
    xnys()
    readers_.results()


def collect(target: Target, broker: BrokerSeen | Fault | None, *, clock: Clock, until: float) -> Snapshot:
    """One look. ``broker``: what it answered, or why it did not; ``until``: the monotonic time of the end."""
    cluster, topology, layout = target.cluster, target.topology, target.cluster.layout
    wanted = expected(topology, layout, target.config, target.feed, posts=target.posts)
    outside = _Readers(until)
    outside.start(Section.EXCHANGE, lambda: {"exchange": exchange(target.exchange_url)})
    fields: Fields = {"certificates": certificates(target.files)}
    unread: dict[Section, Fault] = {}
    if isinstance(broker, Fault):
        unread[Section.BROKER] = broker
        unread |= dict.fromkeys(_OF_KAFKA, Fault("the broker does not answer"))
    else:
        fields["broker"] = broker
        fields |= _topics(cluster, unread)
        outside.start_all(_kafka(target, fields.get("topics", {}), [each.stage for each in wanted]))
    if target.database_url:
        reach = Section.BROKER not in unread
        outside.start(Section.STORE, lambda: {"store": store(target.database_url, cluster, with_lag=reach)})
    found, missing = outside.results()
    return Snapshot(
        now=clock.now(),
        feed=target.feed,
        topology=topology,
        calendar=xnys(),
        layout=layout,
        config=target.config,
        release=target.release or code_version(),
        rules=RULES_VERSION,
        expected=wanted,
        unread=unread | missing,
        store_named=bool(target.database_url),
        disk=target.disk,
        local=target.local,
        is_local=target.is_local,
        sinks=target.sinks,
        sink_faults=target.sink_faults,
        data=target.data,
        **(fields | found),
    )


def look_again(target: Target, snapshot: Snapshot, *, clock: Clock, until: float) -> Snapshot:
    """The same with what has moved since."""
    names = [name for name, mark in snapshot.marks.items() if mark.label is not None]
    outside = _Readers(until)
    outside.start(Section.BEATS, lambda: {"beats": readers.beats_of(newest_beats(target.cluster))})
    outside.start(Section.MARKS, lambda: {"marks": readers.marks(target.cluster, names)})
    found, _ = outside.results()
    second = clock.now()
    marks, beats = dict(snapshot.marks), snapshot.beats
    later: Mapping[str, MarkSeen] = found.get("marks", {})
    for name, mark in later.items():
        marks[name] = MarkSeen(marks[name].label, mark.label)
    if "beats" in found:
        before = {(each.stage, each.partition): each for each in snapshot.beats}
        beats = tuple(
            replace(
                each,
                moved=(old := before.get((each.stage, each.partition))) is None or each.at != old.at,
                advanced=old is None or each.records != old.records,
                looked=(snapshot.beats_at, second),
            )
            for each in found["beats"]
        )
    return replace(snapshot, marks=marks, beats=beats, now=second)


def _topics(cluster: Cluster, unread: dict[Section, Fault]) -> Fields:
    try:
        return {"topics": describe(cluster, ANSWER_S)}
    except TapeError as error:
        unread[Section.TOPICS] = _fault(error)
        return {}


def _kafka(
    target: Target, topics: Mapping[str, Found], stages: list[str]
) -> Iterable[tuple[Section, Callable[[], Fields]]]:
    """The readers of the cluster. A topic that is missing or has other partitions is not read."""
    cluster, topology, layout = target.cluster, target.topology, target.cluster.layout
    config = target.config or Config()

    def there(names: Iterable[str]) -> list[str]:
        found = ((name, topics.get(layout.wire_name(name))) for name in dict.fromkeys(names))
        return [name for name, seen in found if seen and seen.partitions == layout.partitions(name)]

    marked = [name for name in (*topology.sources, *topology.marked) if topic(name).watermarked]
    groups = [each for each in stages if each in topology.names or each.startswith(DISPATCHER)]

    def beats() -> Fields:
        asked = SystemClock().now()
        return {"beats": readers.beats_of(newest_beats(cluster, stages)), "beats_at": asked}

    def newest() -> Fields:
        fields: Fields = {"newest": readers.newest_times(cluster, there(_AGED))}
        if there(["bars"]):
            fields["fresh"], fields["feeds"] = readers.newest_bars(cluster)
        if there(["universe"]):
            fields["universe"] = readers.universe(cluster)
        if there(["watchlist"]):
            fields["watchlist"] = readers.watchlist(cluster)
        return fields

    def standing() -> Fields:
        each = {
            "accounts": readers.accounts, "orders": readers.orders, "positions": readers.positions,
            "controls": readers.controls,
        }  # fmt: skip
        fields: Fields = {name: each[name](cluster) for name in there(each)}
        if there(["positions", INBOX]) == ["positions", INBOX]:
            fields["compared"] = compared(cluster)
        return fields

    yield Section.BEATS, beats
    yield Section.MARKS, lambda: {"marks": readers.marks(cluster, there(marked))}
    yield Section.GROUPS, lambda: {"groups": readers.groups(cluster, groups)}
    yield Section.NEWEST, newest
    yield Section.LETTERS, lambda: {"letters": readers.letters(cluster)}
    yield Section.STANDING, standing
    names = there(each.name for each in CATALOGUE)
    yield Section.FUNNEL, lambda: {"funnel": settled(cluster, topology, config, xnys(), names)}


_AGED = ("bars", "features", "watchlist", "news", "accounts")


class _Readers:
    """Threads that read a part each until a common end. One that is late holds nothing up."""

    def __init__(self, until: float) -> None:
        self._until = until
        self._threads: dict[Section, threading.Thread] = {}
        self._found: dict[Section, Fields] = {}
        self._failed: dict[Section, Fault] = {}

    def start(self, section: Section, read: Callable[[], Fields]) -> None:
        def run() -> None:
            try:
                self._found[section] = read()
            except TapeError as error:
                self._failed[section] = _fault(error)
            except Exception as error:
                self._failed[section] = Fault(f"{type(error).__name__}: {error}")

        self._threads[section] = threading.Thread(target=run, name=f"read {section}", daemon=True)
        self._threads[section].start()

    def start_all(self, each: Iterable[tuple[Section, Callable[[], Fields]]]) -> None:
        for section, read in each:
            self.start(section, read)

    def results(self) -> tuple[Fields, dict[Section, Fault]]:
        """What was read in time, and why the rest was not."""
        fields: Fields = {}
        for section, thread in self._threads.items():
            thread.join(max(0.05, self._until - time.monotonic()))
            if thread.is_alive():
                self._failed[section] = Fault("no answer in time")
            fields |= self._found.get(section, {}) if section not in self._failed else {}
        return fields, dict(self._failed)


def _fault(error: TapeError) -> Fault:
    what = error.what if error.value is None else f"{error.what}, got {error.value!r}"
    return Fault(what, error.remedy)
