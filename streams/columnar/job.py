"""The frame around every fold: what one rebuild task reads, resumes from, writes and returns."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import NamedTuple

from tapedeck.streams.blocks import Block, Source
from tapedeck.streams.columnar.outs import Outs, in_columns, one_by_one
from tapedeck.streams.columnar.records import Records
from tapedeck.streams.columnar.rows import Rows, Spool
from tapedeck.streams.frame import NO_LOGS, Value, logs_of, pack, unpack
from tapedeck.streams.logs import logs_now, read_value
from tapedeck.streams.merge import Part, parts_of
from tapedeck.streams.protocol import Message, Out, StageSpec
from tapedeck.streams.shell import Effects, Forward, Produced
from tapedeck.streams.wire import Origin, Wires
from tapedeck.topics.catalogue import WATERMARK_KEY, Layout, topic

_TOGETHER = 5000
"""How many outputs and watermarks of a period stage are encoded together."""

Sink = Callable[[Block], None]
"""Takes records to append: blocks of one topic partition in order, their offsets counted from 0."""
Progress = Callable[[int], None]
"""Called with the number of input records read since the last call."""


class TaskId(NamedTuple):
    """What one task rebuilds. ``home``: the table partition that has its ``~watermark`` value."""

    spec: StageSpec
    home: int
    account_id: str | None = None

    @property
    def stage(self) -> str:
        return self.spec.name

    def __str__(self) -> str:
        return task_name(self.stage, self.home, self.account_id)


def task_name(stage: str, home: int, account_id: str | None) -> str:
    """The name of a task on a screen and in a snapshot."""
    return f"{stage} {account_id}" if account_id else f"{stage}/{home}"


@dataclass(frozen=True)
class Start:
    """Where to resume: framed values by (table partition, key), and the next offset per input partition."""

    values: Mapping[tuple[int, bytes], bytes] = field(default_factory=dict)
    offsets: Mapping[Part, int] = field(default_factory=dict)


@dataclass
class Result:
    """The result of one task.

    ``outputs``: rows per output topic partition. ``values``: framed values by (table partition, key),
    including the ``~watermark`` value. ``watermark``: the last label that the task forwarded. ``applied``:
    the offset after the last applied record, per input partition.
    """

    task: TaskId
    outputs: dict[Part, Rows] = field(default_factory=dict)
    values: dict[tuple[int, bytes], bytes] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    watermark: int | None = None
    applied: dict[Part, int] = field(default_factory=dict)


def inputs_of(task: TaskId, layout: Layout) -> list[Part]:
    """The input partitions that ``task`` reads, the trigger's first."""
    spec = task.spec
    if task.account_id is not None:
        return [(spec.trigger, task.home)]
    partitions = {name: layout.partitions(name) for name in spec.inputs}
    return [(n, p) for n, parts in parts_of(spec, (task.home,), partitions).items() for p in parts]


def outputs_of(task: TaskId, layout: Layout) -> list[Part]:
    """The output partitions that ``task`` may write."""
    spec = task.spec
    if task.account_id is not None:
        body = {"account_id": task.account_id}
        return [(name, layout.partition(name, body)) for name in spec.outputs]
    if spec.scale == "single":
        return [(name, part) for name in spec.outputs for part in range(layout.partitions(name))]
    return [(name, task.home) for name in spec.outputs]


class Job:
    """What a fold needs besides its stage: the inputs to read, where outputs go, and where to resume."""

    def __init__(
        self,
        task: TaskId,
        source: Source,
        *,
        cut: Mapping[Part, int] | None,
        start: Start | None,
        sink: Sink | None,
        progress: Progress | None,
        origin: Origin,
        ingest_us: int,
        spool: Spool = BytesIO,
    ) -> None:
        self.task, self.spec, self.layout = task, task.spec, source.layout
        self.start = start or Start()
        self.sink, self.origin, self.ingest_us = sink, origin, ingest_us
        self._source, self._progress = source, progress
        self.ids = source.topic_ids((*self.spec.inputs, self.spec.changelog))
        self._logs = logs_now(self.spec, self.ids)
        self._wires = Wires(self.spec, self.layout, origin, task.home)
        self._records = Records(origin, ingest_us) if sink is not None else None
        self.inputs = inputs_of(task, source.layout)
        known = source.ends(sorted({name for name, _ in self.inputs}))
        ends = {part: known[part][1] for part in self.inputs}
        self._ends = {part: min((cut or ends).get(part, end), end) for part, end in ends.items()}
        self._firsts = {part: self.start.offsets.get(part, known[part][0]) for part in self.inputs}
        self._written: dict[Part, int] = {}
        self._waiting: list[Produced | Forward] = []
        self.result = Result(task, applied=dict(self._firsts))
        for part in outputs_of(task, source.layout):
            self.result.outputs[part] = Rows(spool)
            self._written[part] = 0

    def stream(self, part: Part) -> Iterator[Block]:
        """The blocks of one input up to the cut."""
        for block in self._source.stream(part, self._firsts[part], self._ends[part]):
            if len(block):
                yield block
                if self._progress is not None:
                    self._progress(len(block))

    def stored(self) -> dict[tuple[int, bytes], Value]:
        """The values to resume from. Raises Fatal if an input was recreated since."""
        return {p: read_value(self.spec, value, self._logs) for p, value in self.start.values.items()}

    def put(self, outs: Iterable[Outs], source: Block, marks: list[tuple[int, Forward]]) -> None:
        """Take the outputs of one block and what to forward, with its index in the block."""
        by_topic = {each.topic: each for each in outs}
        for each in by_topic.values():
            self.result.outputs[each.topic, each.partition].add(each.rows())
        if marks:
            self.result.watermark = marks[-1][1].label
        if self._records is None:
            return
        for name in self.spec.outputs:
            forwarded = marks if topic(name).watermarked else []
            mine = by_topic.get(name) or Outs.none(name, self.task.home)
            if len(mine) or forwarded:
                self.append(self._records.block(mine, source, forwarded))

    def perform(self, effects: Effects) -> None:
        """Take what the shell, or a stage's step, wants written."""
        self.result.counts.update(effects.counts)
        self.result.watermark = effects.watermark or self.result.watermark
        if self.spec.period is None:
            self._add_rows(effects)
            if self.sink is not None:
                self._write(effects)
            return
        self._waiting += effects.outputs
        if len(self._waiting) >= _TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Encode a period stage's outputs, many watermarks at a time: no input record caused any of them."""
        waiting, self._waiting = self._waiting, []
        outs: dict[Part, list[Out]] = defaultdict(list)
        marks = [(place, each) for place, each in enumerate(waiting) if isinstance(each, Forward)]
        for place, each in enumerate(waiting):
            if not isinstance(each, Forward):
                part = each.out.topic, self.layout.partition(each.out.topic, each.out.body)
                outs[part].append(each.out._replace(cause=place))
        for name, partition in self.result.outputs:
            mine, schema = outs.get((name, partition)), topic(name).schema
            assert schema is not None
            made = in_columns(mine, schema, partition) if mine else Outs.none(name, partition)
            self.result.outputs[name, partition].add(made.rows())
            forwarded = marks if topic(name).watermarked else []
            if self._records is not None and (len(made) or forwarded):
                self.append(self._records.block(made, None, forwarded))

    def _add_rows(self, effects: Effects) -> None:
        """The outputs as rows of their topic partition."""
        outs: dict[Part, list[Out]] = defaultdict(list)
        for each in effects.outputs:
            if not isinstance(each, Forward):
                outs[each.out.topic, self.layout.partition(each.out.topic, each.out.body)].append(each.out)
        for part, mine in outs.items():
            self.result.outputs[part].add(one_by_one(mine, part[1]).rows())

    def _write(self, effects: Effects) -> None:
        """The outputs as log records for the sink, with watermarks in between."""
        written: dict[Part, list[Message]] = defaultdict(list)
        for wire in self._wires.of(effects, self.ingest_us):
            mine = written[wire.topic, wire.partition]
            mine.append(
                Message(
                    wire.topic, wire.partition, len(mine), wire.timestamp, wire.key, wire.value, wire.headers
                )
            )
        for mine in written.values():
            self.append(Block.of(mine))

    def append(self, block: Block) -> None:
        """Pass records on to the sink."""
        assert self.sink is not None
        at = self._written[block.part]
        self._written[block.part] = at + len(block)
        self.sink(block.placed_at(at))

    def finish(
        self,
        values: Mapping[tuple[int, bytes], Value],
        labels: Mapping[tuple[int, int], int],
        own: bytes = b"",
    ) -> Result:
        """The result: the table's values, and the ``~watermark`` value of ``labels`` by (rank, partition)."""
        self.flush()
        known = {place: unpack(value).logs for place, value in self.start.values.items()}
        made = dict(values)
        if labels:
            made[self.task.home, WATERMARK_KEY] = Value(self.epoch, dict(labels), own)
        for place, value in made.items():
            logs = logs_of(value.cursors, self._logs, known.get(place, NO_LOGS))
            self.result.values[place] = pack(*value._replace(logs=logs))
        return self.result

    @property
    def epoch(self) -> int:
        """The epoch of the table that the task resumes from."""
        stored = self.start.values.get((self.task.home, WATERMARK_KEY))
        return unpack(stored).epoch if stored is not None else 0

    def labels(self) -> dict[tuple[int, int], int]:
        """The watermark labels to resume from, by (input rank, partition)."""
        stored = self.start.values.get((self.task.home, WATERMARK_KEY))
        return dict(unpack(stored).cursors) if stored is not None else {}
