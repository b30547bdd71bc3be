"""The shell around a stage: decodes, skips repeats, steps, frames state, forwards watermarks.

It decides *what* must be written and in which order. A driver does the writing: outputs acked first, then the
table (changelog acked), then the inputs acked. A crash anywhere repeats work with identical results.

1. Outputs leave in the order of the inputs that caused them, with watermarks and openings in between.
2. A value carries the last applied offset per input partition. An input at or below it is a repeat. It
   changes nothing, but the stored value is written again so that the changelog is sure to have it.
3. The ``~watermark`` value is written last. A batch of a period stage ends at a watermark. The value also
   records what openings declared: after a restart before the next watermark of an absent input, that input
   must still not be read.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter, Fatal, TapeError
from tapedeck.streams.frame import OPENED, Value, body_of, logs_of, of_inputs, pack
from tapedeck.streams.logs import NO_IDS, TopicIds, logs_now, read_value
from tapedeck.streams.merge import Aside, Item, JoinMark, Mark, Opened, Record, Resume, Skip, Unreadable
from tapedeck.streams.protocol import MINUTE_US, REQUESTS, Message, Out, Row, Stage, StageSpec
from tapedeck.streams.watermarks import label_of
from tapedeck.topics.catalogue import WATERMARK_KEY, topic

DUPLICATE = "DUPLICATE"
NO_WATERMARK = "NO_WATERMARK"
STAGE_ERROR = "STAGE_ERROR"


class Store(Protocol):
    """A stage's table as the shell reads it: framed values by partition and key."""

    def get(self, partition: int, key: bytes) -> bytes | None: ...

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """(key, framed value) of every key of this task, in any order."""
        ...


class Produced(NamedTuple):
    """One output with the message that caused it, or None if a watermark did."""

    out: Out
    cause: Message | None


class Forward(NamedTuple):
    """A watermark to write to every output partition of this task; with ``absent``, the opening after it."""

    label: int
    absent: tuple[str, ...] | None = None


class Write(NamedTuple):
    """One table write: partition, key, framed value."""

    partition: int
    key: bytes
    value: bytes


class Dead(NamedTuple):
    """An input for ``dead_letters``."""

    message: Message
    error: TapeError


@dataclass
class Effects:
    """What one batch must do, in this order: outputs and dead letters, writes, acks."""

    outputs: list[Produced | Forward] = field(default_factory=list)
    requests: list[Produced] = field(default_factory=list)
    dead: list[Dead] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    acks: list[Message] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    watermark: int | None = None


class _Entry(NamedTuple):
    position: int
    message: Message
    row: Row


class _Values:
    """What a period step sees: bodies in key order, including this batch's steps."""

    def __init__(
        self, own: bytes | None, store: Store, home: int, fresh: Mapping[tuple[int, bytes], Value]
    ) -> None:
        self.own = own
        self._store, self._home = store, home
        self._fresh = fresh

    def get(self, key: bytes) -> bytes | None:
        if (self._home, key) in self._fresh:
            return self._fresh[self._home, key].body
        stored = self._store.get(self._home, key)
        return body_of(stored) if stored is not None else None

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        bodies = {key: body_of(data) for key, data in self._store.items() if key != WATERMARK_KEY}
        bodies.update((key, value.body) for (_, key), value in self._fresh.items())
        yield from sorted((key, body) for key, body in bodies.items() if body)


class Shell:
    """One task of one stage: trigger partitions ``parts`` and what they join with.

    ``home`` is the table partition that holds the task's ``~watermark`` value. ``ids`` of the input topics,
    where known, go into every value. A value with another topic's id raises Fatal.
    """

    def __init__(
        self, spec: StageSpec, stage: Stage, store: Store, home: int = 0, ids: TopicIds = NO_IDS
    ) -> None:
        self.spec = spec
        self._stage = stage
        self._store = store
        self._home = home
        self._ranks = {name: rank for rank, name in enumerate(spec.inputs)}
        self._watermarked = topic(spec.trigger).watermarked
        self._logs = logs_now(spec, ids)

    def resume(self) -> Resume:
        """Where a Merge resumes."""
        cursors, inputs = self._watermark_value().cursors, self.spec.inputs
        known = of_inputs(cursors)
        return Resume(
            {(inputs[rank], part): label for (rank, part), label in known.items()},
            {(self.spec.trigger, part): label for (rank, part), label in cursors.items() if rank == OPENED},
            {
                inputs[rank - OPENED]: label
                for (rank, _), label in cursors.items()
                if OPENED < rank < OPENED + len(inputs)
            },
        )

    def apply(self, items: Sequence[Item]) -> Effects:
        """The effects of ``items``, in the order in which a Merge returned them."""
        effects = Effects()
        entries, marks, labels = self._sort_out(items, effects)
        fresh: dict[tuple[int, bytes], Value] = {}
        produced: list[tuple[int, Produced]] = []
        own = self._watermark_value()
        for (part, key), group in self._by_key(entries, effects).items():
            stored = self._store.get(part, key)
            # a new key joins the table in the table's epoch: a value with a lower one is not part of it
            value = self._read(stored) if stored is not None else Value(own.epoch, {}, b"")
            fresh[part, key] = self._step_key(key, value, group, effects, produced)
        produced.sort(key=lambda pair: pair[0])
        body = own.body
        at = 0
        for position, forward in marks:
            while at < len(produced) and produced[at][0] < position:
                self._emit(produced[at][1], effects)
                at += 1
            if forward.absent is None:
                if self.spec.period is not None:
                    body = self._at_watermark(forward.label, body, fresh, effects)
                effects.watermark = forward.label
            effects.outputs.append(forward)
        for _, each in produced[at:]:
            self._emit(each, effects)
        for (part, key), value in fresh.items():
            effects.writes.append(Write(part, key, pack(*value)))
        if labels or body != own.body:
            cursors = own.cursors | labels
            framed = pack(own.epoch, cursors, body, logs_of(cursors, self._logs, own.logs))
            effects.writes.append(Write(self._home, WATERMARK_KEY, framed))
        return effects

    def _sort_out(
        self, items: Sequence[Item], effects: Effects
    ) -> tuple[list[_Entry], list[tuple[int, Forward]], dict[tuple[int, int], int]]:
        """Decoded rows, what to forward with its position, and the labels to store; every input is acked."""
        entries: list[_Entry] = []
        marks: list[tuple[int, Forward]] = []
        labels: dict[tuple[int, int], int] = {}
        for position, item in enumerate(items):
            if isinstance(item, Record):
                effects.acks.append(item.message)
                row = self._row(item, effects)
                if row is not None:
                    entries.append(_Entry(position, item.message, row))
            elif isinstance(item, Mark):
                effects.acks.extend(item.messages)
                marks.append((position, Forward(item.label)))
                for message in item.messages:
                    label = label_of(message.key, message.value, message.headers)
                    assert label is not None
                    labels[self._ranks[message.topic], message.partition] = label
            elif isinstance(item, JoinMark):
                effects.acks.append(item.message)
                labels[self._ranks[item.message.topic], item.message.partition] = item.label
            elif isinstance(item, Opened):
                effects.acks.extend(item.messages)
                marks.append((position, Forward(item.label, item.absent)))
                labels |= self._opened(item)
            elif isinstance(item, Aside):
                effects.acks.append(item.message)
            elif isinstance(item, Skip):
                effects.acks.append(item.message)
                effects.counts[DUPLICATE] += 1
            elif isinstance(item, Unreadable):
                effects.acks.append(item.message)
                effects.dead.append(Dead(item.message, item.error))
        return entries, marks, labels

    def _opened(self, item: Opened) -> dict[tuple[int, int], int]:
        """What to store about openings: their labels, and which optional joins of this stage they name."""
        stored = {(OPENED, message.partition): item.label for message in item.messages}
        optional = {join.topic for join in self.spec.joins if join.optional}
        named = optional.intersection(item.absent)
        return stored | {(OPENED + self._ranks[name], 0): item.label for name in named}

    def _row(self, item: Record, effects: Effects) -> Row | None:
        message = item.message
        schema = topic(message.topic).schema
        assert schema is not None
        try:
            if item.log_minute is None and message.topic == self.spec.trigger:
                raise DeadLetter(
                    "a record stands before the first watermark of its partition",
                    value=f"{message.topic}/{message.partition}@{message.offset}",
                    remedy="`tape watermark` writes them where a producer does not; --into copies a backlog",
                    reason=NO_WATERMARK,
                )
            body = decode(schema, message.value)
        except DeadLetter as error:
            effects.dead.append(Dead(message, error))
            effects.counts[error.reason] += 1
            return None
        minute = item.log_minute or 0
        now = minute + MINUTE_US if self._watermarked else int(body["event_time"])
        return Row(message.topic, message.key or b"", body, minute, now)

    def _step_key(
        self,
        key: bytes,
        value: Value,
        group: list[_Entry],
        effects: Effects,
        produced: list[tuple[int, Produced]],
    ) -> Value:
        cursors = dict(value.cursors)
        news: list[_Entry] = []
        for entry in group:
            at = (self._ranks[entry.message.topic], entry.message.partition)
            if entry.message.offset <= cursors.get(at, -1):
                effects.counts[DUPLICATE] += 1
            else:
                cursors[at] = entry.message.offset
                news.append(entry)
        # a key whose only records so far were dead letters has cursors but no state yet
        body = self._step(key, value.body or None, news, effects, produced)
        return Value(value.epoch, cursors, body or b"", logs_of(cursors, self._logs, value.logs))

    def _step(
        self,
        key: bytes,
        body: bytes | None,
        news: list[_Entry],
        effects: Effects,
        produced: list[tuple[int, Produced]],
    ) -> bytes | None:
        if not news:
            return body
        try:
            step = self._stage.step(key, body, [entry.row for entry in news])
        except Fatal:
            raise
        except Exception as error:
            if len(news) > 1:
                for entry in news:
                    body = self._step(key, body, [entry], effects, produced)
                return body
            reason = error.reason if isinstance(error, TapeError) else STAGE_ERROR
            wrapped = (
                error
                if isinstance(error, TapeError)
                else DeadLetter(
                    f"the {self.spec.name} stage failed on this record: {error!r}", reason=STAGE_ERROR
                )
            )
            effects.dead.append(Dead(news[0].message, wrapped))
            effects.counts[reason] += 1
            return body
        effects.counts["IN"] += len(news)
        for drop in step.drops:
            effects.counts[drop.reason] += 1
            if drop.reason in self._stage.dead_letter_reasons:
                message = news[drop.cause].message
                what = f"refused by the {self.spec.name} stage: {drop.detail or drop.reason}"
                effects.dead.append(Dead(message, DeadLetter(what, remedy=drop.remedy, reason=drop.reason)))
        for out in step.outs:
            entry = news[out.cause]
            produced.append((entry.position, Produced(out, entry.message)))
        return step.state

    def _at_watermark(
        self, label: int, own: bytes, fresh: Mapping[tuple[int, bytes], Value], effects: Effects
    ) -> bytes:
        values = _Values(own or None, self._store, self._home, fresh)
        step = self._stage.at_watermark(label, self._home, values)
        for drop in step.drops:
            effects.counts[drop.reason] += 1
        for out in step.outs:
            self._emit(Produced(out, None), effects)
        return step.state

    def _emit(self, produced: Produced, effects: Effects) -> None:
        if produced.out.topic == REQUESTS:
            effects.requests.append(produced)
        else:
            effects.outputs.append(produced)
            effects.counts[f"OUT:{produced.out.topic}"] += 1

    def _watermark_value(self) -> Value:
        stored = self._store.get(self._home, WATERMARK_KEY)
        return self._read(stored) if stored is not None else Value(0, {}, b"")

    def _read(self, stored: bytes) -> Value:
        return read_value(self.spec, stored, self._logs)

    def _by_key(self, entries: list[_Entry], effects: Effects) -> dict[tuple[int, bytes], list[_Entry]]:
        """Entries by (table partition, state key), in order of first appearance.

        A partitioned task writes its own partition only, whatever partition a join came from.
        """
        groups: dict[tuple[int, bytes], list[_Entry]] = {}
        for entry in entries:
            try:
                key = self._stage.key(entry.row)
            except Fatal:
                raise
            except Exception as error:
                wrapped = DeadLetter(
                    f"no state key can be made of this record: {error!r}", reason=STAGE_ERROR
                )
                effects.dead.append(Dead(entry.message, wrapped))
                effects.counts[STAGE_ERROR] += 1
                continue
            part = entry.message.partition if self.spec.scale == "single" else self._home
            groups.setdefault((part, key), []).append(entry)
        return groups
