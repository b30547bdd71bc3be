"""Watermarks on a cluster: how far the source topics are, and waiting for the pipeline to catch up."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from functools import partial
from types import TracebackType
from typing import NamedTuple

from confluent_kafka import Consumer, TopicPartition

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.scan import ends_of, new_consumer, read_parts, to_message
from tapedeck.connectors.tapes.openings import ABSENT_AFTER_S, LastOpenings, OptionalInputs
from tapedeck.connectors.tapes.player import SOURCES, Standing
from tapedeck.schemas.codec import Body, decode
from tapedeck.schemas.errors import DeadLetter, Fatal
from tapedeck.schemas.readable import iso_time
from tapedeck.streams.blocks import Source
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import Message
from tapedeck.streams.sessions import Calendar, iso_date
from tapedeck.streams.watermarks import Opening, Watermark, readable_label, readable_punctuation
from tapedeck.topics.catalogue import WATERMARK_KEY

PATIENCE_S = 60.0
_LOOK_BACK = 500
_WIDER = 8
_POLL_S = 0.2
_AT_ONCE = 500
_HEARTBEATS = "heartbeats"


def _nothing() -> None:
    pass


def last_watermarks(
    cluster: Cluster, names: tuple[str, ...], back: int = _LOOK_BACK
) -> dict[Part, int | None]:
    """The label of the last watermark in every partition of ``names``; None if there is none.

    ``back``: how many messages are looked at first, before more are. Raises Fatal for a missing topic, Retry
    if the broker is silent.
    """
    return {part: end.label for part, end in _last_marks(cluster, names, back).items()}


def last_openings(cluster: Cluster, names: tuple[str, ...]) -> LastOpenings:
    """The names in the opening of the last watermark in every partition of ``names``; None if it has none.

    Raises like ``last_watermarks``.
    """
    return {part: end.absent for part, end in _last_marks(cluster, names).items()}


def reached(cluster: Cluster, name: str) -> int | None:
    """The label that every partition of a topic has reached; None if one has no watermark."""
    return _lowest(last_watermarks(cluster, (name,)).values())


def _lowest(labels: Iterable[int | None]) -> int | None:
    """The lowest label; None if there is none, or a partition has none."""
    found = list(labels)
    known = [label for label in found if label is not None]
    return min(known) if known and len(known) == len(found) else None


class End(NamedTuple):
    """The end of a partition: its last watermark, and the names in the first opening after that."""

    label: int | None = None
    absent: tuple[str, ...] | None = None

    def then(self, found: Watermark | Opening | None) -> "End":
        """The end after one more of its messages."""
        if isinstance(found, Watermark) and (self.label is None or found.label > self.label):
            return End(found.label)
        if isinstance(found, Opening) and found.label == self.label and self.absent is None:
            return End(self.label, found.absent)
        return self


def _last_marks(cluster: Cluster, names: tuple[str, ...], back: int = _LOOK_BACK) -> dict[Part, End]:
    bounds = ends_of(cluster, names)
    found: dict[Part, End] = dict.fromkeys(bounds, End())
    left = dict(bounds)
    while left:
        window = {part: (max(low, end - back), end) for part, (low, end) in left.items()}
        for chunk in read_parts(cluster, window):
            for message in chunk:
                part = (message.topic, message.partition)
                found[part] = found[part].then(readable_punctuation(message))
        left = {part: (low, end) for part, (low, end) in left.items() if found[part].label is None}
        left = {part: bounds[part] for part in left if window[part][0] > bounds[part][0]}
        back *= _WIDER
    return found


def standing(source: Source, since: int) -> Standing:
    """The part of a warm-up from ``since`` (UTC micros) on that ``source`` already has."""
    newest: dict[tuple[str, str], tuple[int, int]] = {}
    for body in bodies(source, "bars", since):
        key, at = (body["feed"], body["symbol"]), (body["t"], body["revision"])
        newest[key] = max(at, newest.get(key, at))
    return Standing(newest, newest_universe(source))


def newest_universe(source: Source) -> Body | None:
    """The highest version in ``source``."""
    return max(bodies(source, "universe", 0), key=lambda body: int(body["version"]), default=None)


def first_session(source: Source, origin: str, calendar: Calendar) -> date | None:
    """The session with which the tapes of ``origin`` began; None if the topics have none of them."""
    made = (body["created_at"] for body in bodies(source, "universe", 0) if body["origin"] == origin)
    first = min(made, default=None)
    return None if first is None else iso_date(calendar.session_date(first))


def bodies(source: Source, name: str, since: int) -> Iterator[Body]:
    """The readable records of a topic from ``since`` (UTC micros) on; all of them from 0 on."""
    for part, (low, end) in source.ends([name]).items():
        start = max(low, source.offset_at(part, since)) if since else low
        for block in source.stream(part, start, end):
            for message in block.messages():
                with suppress(DeadLetter):
                    if message.key != WATERMARK_KEY:
                        yield decode(name, message.value)


class Follower:
    """Follows the watermarks of ``names`` and the heartbeats of ``stages`` (single ones).

    ``names`` in pipeline order: a stall names the first that lags. ``meanwhile`` is called repeatedly during
    a wait, and may raise to end it. Use it as a context manager.
    """

    def __init__(
        self,
        cluster: Cluster,
        names: tuple[str, ...],
        *,
        stages: tuple[str, ...] = (),
        patience_s: float = PATIENCE_S,
        meanwhile: Callable[[], None] = _nothing,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._layout = cluster.layout
        self._meanwhile = meanwhile
        self._patience_s = patience_s
        self._monotonic = monotonic
        bounds = ends_of(cluster, (*names, _HEARTBEATS) if stages else names)
        self._marks = last_watermarks(cluster, names)
        self._beats: dict[str, int | None] = dict.fromkeys(stages)
        self._consumer: Consumer = new_consumer(cluster)
        self._consumer.assign(
            [
                TopicPartition(self._layout.wire_name(name), partition, low if name == _HEARTBEATS else end)
                for (name, partition), (low, end) in bounds.items()
            ]
        )

    def __enter__(self) -> "Follower":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._consumer.close()

    def reached(self, name: str) -> int | None:
        """The label that every partition of a followed topic has reached, as far as is known; it is cheap."""
        self._look(0)
        return _lowest(label for (topic, _), label in self._marks.items() if topic == name)

    def pause(self, seconds: float) -> None:
        """Return when something has advanced, or after ``seconds``."""
        until = self._monotonic() + seconds
        while (left := until - self._monotonic()) > 0:
            self._meanwhile()
            if self._look(min(left, _POLL_S)):
                return

    def wait_for(self, label: int, *, without: Collection[str] = ()) -> None:
        """Return once every followed partition and stage has reached watermark(label).

        Topics in ``without`` are not waited for. Raises Fatal if one makes no progress for ``patience_s``,
        naming the first.
        """
        patient_until = self._monotonic() + self._patience_s
        while (behind := self._behind(label, without)) is not None:
            self._meanwhile()
            if self._look(_POLL_S):
                patient_until = self._monotonic() + self._patience_s
            if self._monotonic() > patient_until:
                raise Fatal(
                    f"the pipeline is stuck: {behind} has no watermark for this minute",
                    value=iso_time(label),
                    remedy="see `tape status` and the log of the process that writes it",
                )

    def _look(self, wait_s: float) -> bool:
        """Take what has come, waiting for the first so long; True if something advanced."""
        first = self._consumer.poll(wait_s)  # consume() would wait until it is full
        records = [] if first is None else [first, *self._consumer.consume(_AT_ONCE, timeout=0)]
        seen = [self._see(to_message(each, self._layout)) for each in records if each.error() is None]
        return any(seen)

    def _behind(self, label: int, without: Collection[str]) -> str | None:
        marks = {f"{n}/{p}": mark for (n, p), mark in self._marks.items() if n not in without}
        for name, mark in (*marks.items(), *self._beats.items()):
            if mark is None or mark < label:
                return name
        return None

    def _see(self, message: Message) -> bool:
        """Record a watermark or a heartbeat; True if something advanced."""
        if message.topic == _HEARTBEATS:
            beat = decode(_HEARTBEATS, message.value)
            stage, mark = beat["stage"], beat["last_watermark"]
            if stage not in self._beats or mark is None or mark <= (self._beats[stage] or 0):
                return False
            self._beats[stage] = mark
            return True
        label, part = readable_label(message), (message.topic, message.partition)
        if label is None or label <= (self._marks[part] or 0):
            return False
        self._marks[part] = label
        return True


@contextmanager
def optional_inputs(
    cluster: Cluster,
    names: tuple[str, ...],
    *,
    meanwhile: Callable[[], None] = _nothing,
    absent_after_s: float = ABSENT_AFTER_S,
) -> Iterator[OptionalInputs]:
    """The optional inputs ``names``, followed on the cluster. ``meanwhile`` as for ``Follower``."""
    with Follower(cluster, names, meanwhile=meanwhile) as follower:
        yield OptionalInputs(
            names,
            last_label=follower.reached,
            last_openings=partial(last_openings, cluster, SOURCES),
            absent_after_s=absent_after_s,
            pause=follower.pause,
        )
