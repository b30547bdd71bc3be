"""Whether the state that a worker finds belongs to the current topics.

Before a disk is opened: a disk kept for another changelog is not a copy of this one, and is emptied. After
each recovery, before anything is processed: the table's values and the group's offsets are compared with the
topics. A mismatch stops the worker. From then on ``agents.topic_watch`` keeps watching.
"""

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import rocksdict
from faust.stores.rocksdb import Store as RocksStore

from tapedeck.agents.recovery import Recovered
from tapedeck.agents.table import CHANGELOG_ID, ShellStore
from tapedeck.agents.topic_watch import TopicWatch
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.groups import KafkaGroups
from tapedeck.connectors.kafka.scan import ends_of, read_parts
from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter, Fatal, Retry
from tapedeck.streams.changelog import Values
from tapedeck.streams.logs import NO_IDS, TopicIds, rebuild, refuse_beyond, refuse_other_topics
from tapedeck.streams.merge import Part, parts_of
from tapedeck.streams.protocol import Message, StageSpec
from tapedeck.streams.watermarks import readable_label
from tapedeck.topics.catalogue import WATERMARK_KEY, topic

log = logging.getLogger("tapedeck.identity")

AGAIN_S = 1.0
CONFIRM_S = 3.0
"""As long as a member of a group may not know that it was put out: the interval of its heartbeats."""


class Identity:
    """The check of one stage's state against the topics as they were when the process started.

    ``only_key``: an account's, whose table is one value in partition ``home``.
    """

    def __init__(
        self, cluster: Cluster, spec: StageSpec, group: str, *, only_key: bytes | None = None, home: int = 0
    ) -> None:
        self._cluster, self._spec, self._group = cluster, spec, group
        self._only_key, self._home = only_key, home
        self._ids: TopicIds = NO_IDS
        self._look: Callable[[], None] = lambda: None

    def take(self, watch: TopicWatch) -> None:
        """Compare with the topics of ``watch``."""
        self._ids, self._look = watch.ids, watch.look

    def empty_other_disks(self, folder_of: Callable[[int], Path]) -> None:
        """Remove table partitions on disk that are no copy of the changelog. Raises like ``other_disks``."""
        changelog = self._spec.changelog
        kept = {
            part: folder_of(part)
            for part in range(self._cluster.layout.partitions(changelog))
            if (folder_of(part) / "CURRENT").exists()
        }
        if not kept:
            return
        bounds = ends_of(self._cluster, (*self._spec.inputs, changelog))
        inputs = {part: each for part, each in bounds.items() if part[0] != changelog}
        committed = KafkaGroups(self._cluster).committed(self._group, inputs)
        progress = any((at or 0) > inputs[part][0] for part, at in committed.items())
        log_ends = {part: end for (name, part), (_, end) in bounds.items() if name == changelog}
        for part in other_disks(self._spec, kept, self._ids, log_ends, progress=progress):
            log.warning(
                "%s/%d: its disk belonged to another changelog and was cleared", self._spec.name, part
            )
            shutil.rmtree(kept[part])

    def check(self, store: ShellStore, recovered: Recovered) -> None:
        """Raise Fatal if the ``recovered`` table or the group's offsets do not fit the topics.

        Waits for a broker that does not answer. Ends without a word once ``recovered`` no longer stands. What
        is wrong must be found twice: a worker that was frozen learns of its new generation a moment later.
        """
        try:
            self._check_tasks(store, recovered)
        except Fatal as error:
            log.warning("%s looks again in %.0f s: %s", self._spec.name, CONFIRM_S, error.what)
            time.sleep(CONFIRM_S)
            self._check_tasks(store, recovered)

    def _check_tasks(self, store: ShellStore, recovered: Recovered) -> None:
        for home, partitions in recovered.tasks(self._spec, self._home):
            values = dict(_values(store, partitions, self._only_key)) if recovered.stands() else {}
            while recovered.stands():
                try:
                    self._look()
                    self._check_task(home, values)
                    break
                except Retry as error:
                    log.error("%s waits: %s", self._spec.name, error)
                    time.sleep(AGAIN_S)
                except Fatal:
                    if recovered.stands():
                        raise

    def _check_task(self, home: int, values: Values) -> None:
        refuse_other_topics(self._spec, values, self._ids)
        parts = self._parts(home)
        bounds = ends_of(self._cluster, dict.fromkeys(name for name, _ in parts))
        committed = KafkaGroups(self._cluster).committed(self._group, parts)
        refuse_beyond(self._spec, values, committed, bounds)
        if (home, self._only_key or WATERMARK_KEY) in values:
            return
        trigger = {part: bounds[part][0] for part in parts if part[0] == self._spec.trigger}
        passed = {part: (low, committed[part] or 0) for part, low in trigger.items()}
        for chunk in read_parts(self._cluster, passed):
            refuse_lost(self._spec, chunk, self._only_key)

    def _parts(self, home: int) -> list[Part]:
        if self._only_key is not None:
            return [(self._spec.trigger, home)]
        partitions = {name: self._cluster.layout.partitions(name) for name in self._spec.inputs}
        return [(n, p) for n, parts in parts_of(self._spec, (home,), partitions).items() for p in parts]


def other_disks(
    spec: StageSpec, kept: Mapping[int, Path], ids: TopicIds, log_ends: Mapping[int, int], *, progress: bool
) -> list[int]:
    """The table partitions, of those ``kept`` on disk, that are not a copy of the changelog.

    ``progress``: whether the group has passed any record. Raises Fatal if it has, and a disk is ahead of a
    changelog that may be its own: emptying it would lose its values.
    """
    found = []
    now = ids.get(spec.changelog, b"")
    for partition, folder in sorted(kept.items()):
        topic_id, offset = _copy_of(folder)
        is_other = bool(topic_id and now and topic_id != now)
        is_ahead = offset is not None and offset >= log_ends[partition]
        if is_ahead and not is_other and progress:
            raise Fatal(
                f"the disk of {spec.name}/{partition} is at offset {offset} of {spec.changelog}, "
                f"which ends at {log_ends[partition]}: the changelog was recreated or truncated",
                value=str(folder),
                remedy=rebuild(spec),
            )
        if is_other or is_ahead:
            found.append(partition)
    return found


def _copy_of(folder: Path) -> tuple[bytes, int | None]:
    """The id of the changelog that a disk is a copy of, empty if it has none, and its offset there."""
    options, mode = rocksdict.Options(raw_mode=True), rocksdict.AccessType.read_only()
    db = rocksdict.Rdict(str(folder), options=options, access_type=mode)
    try:
        topic_id, offset = db.get(CHANGELOG_ID), db.get(RocksStore.offset_key)
        return bytes(topic_id or b""), None if offset is None else int(offset)
    finally:
        db.close()


def refuse_lost(spec: StageSpec, passed: Iterable[Message], only_key: bytes | None) -> None:
    """Raise Fatal if a table has no value although its group has ``passed`` a record that leaves one."""
    for message in passed:
        if _leaves_a_value(message, only_key):
            raise Fatal(
                f"the {spec.name} stage has no state, but its group has passed offset {message.offset} of "
                f"{message.topic}/{message.partition}: {spec.changelog} was recreated or truncated",
                remedy=rebuild(spec),
            )


def _leaves_a_value(message: Message, only_key: bytes | None) -> bool:
    """True for a watermark and, in an account's inbox, for the account's own records that can be read."""
    if only_key is None:
        return readable_label(message) is not None
    if message.key != only_key:
        return False
    try:
        decode(topic(message.topic).schema or "", message.value)
    except DeadLetter:
        return False
    return True


def _values(
    store: ShellStore, partitions: Iterable[int], only_key: bytes | None
) -> Iterator[tuple[tuple[int, bytes], bytes]]:
    for partition in partitions:
        for key, value in store.values_of(partition):
            if only_key in (None, key):
                yield (partition, key), value
