"""The market part: sessions through the bulk driver, a few at a time; only what accounts read is kept."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from tempfile import TemporaryFile

import numpy as np

from tapedeck.connectors.dispatch.freshness import NAMES
from tapedeck.schemas.codec import PREFIX
from tapedeck.schemas.columns import decode_columns, symbols
from tapedeck.streams.blocks import Block, Bytes
from tapedeck.streams.columnar.arrays import raw_ids, rows_of
from tapedeck.streams.columnar.job import Start, TaskId
from tapedeck.streams.columnar.rows import Rows
from tapedeck.streams.columnar.task import run_task, tasks_of
from tapedeck.streams.config.document import Config
from tapedeck.streams.merge import Part
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.topology import Topology
from tapedeck.tape.backtest.days import TEXTS, Day
from tapedeck.tape.backtest.fed import BARE, Fed, bare, within
from tapedeck.tape.backtest.log import RollingLog
from tapedeck.tape.backtest.texts import Texts
from tapedeck.topics.catalogue import Layout

DECISIONS = "decisions"


@dataclass
class Decided:
    """What the market stages gave so far: how often each (action, reason) was decided, digests of outputs."""

    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    rows: dict[str, Rows] = field(default_factory=dict)
    daily: dict[int, dict[str, Rows]] = field(default_factory=dict)
    """By session, the rows of decisions and signals."""
    bars: int = 0


class Held:
    """The Source of a run: blocks in memory, each dropped once everybody has read it."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._blocks: dict[Part, list[Block]] = defaultdict(list)
        self._ends: dict[Part, int] = defaultdict(int)

    @property
    def layout(self) -> Layout:
        return self._layout

    def take(self, block: Block) -> Block:
        """Append records; returns them with their offsets."""
        placed = block.placed_at(self._ends[block.part])
        if len(placed):
            self._blocks[block.part].append(placed)
            self._ends[block.part] += len(placed)
        return placed

    def drop(self, read: Mapping[Part, int]) -> None:
        """Forget the blocks of which everything below ``read`` is over, and topics that nobody reads."""
        for part, blocks in self._blocks.items():
            done = read.get(part, self._ends[part])
            blocks[:] = [block for block in blocks if int(block.offsets[-1]) >= done]

    def ends(self, names: Iterable[str]) -> dict[Part, tuple[int, int]]:
        parts = ((name, p) for name in names for p in range(self._layout.partitions(name)))
        return {part: (self._first(part), self._ends[part]) for part in parts}

    def _first(self, part: Part) -> int:
        held = self._blocks.get(part)
        return int(held[0].offsets[0]) if held else self._ends[part]

    def topic_ids(self, names: Iterable[str]) -> Mapping[str, bytes]:
        return {}

    def stream(self, part: Part, start: int, end: int) -> Iterator[Block]:
        for block in self._blocks.get(part, ()):
            low, high = np.searchsorted(block.offsets, (start, end)).tolist()
            if low < high:
                yield block.part_of(low, high)

    def offset_at(self, part: Part, time_us: int) -> int:
        for block in self._blocks.get(part, ()):
            found = np.flatnonzero(block.timestamps * 1000 >= time_us)
            if len(found):
                return int(block.offsets[found[0]])
        return self._ends[part]


class MarketRun:
    """The market stages of a topology, session by session. ``digested``: topics whose digests are wanted."""

    def __init__(
        self,
        topology: Topology,
        config: Config,
        calendar: Calendar,
        layout: Layout,
        *,
        digested: Sequence[str] = (),
        daily: bool = False,
    ) -> None:
        self._topology, self._config, self._calendar, self._layout = topology, config, calendar, layout
        self._texts = Texts(topology, config, calendar, layout)
        self._bulk = tasks_of(
            (spec for spec in topology.market if spec not in self._texts.stages), layout, config
        )
        self._starts: dict[TaskId, Start] = {}
        self._fed_to = 0
        self._is_daily = daily
        self._source = Held(layout)
        self._kept = (*topology.signal_topics, *NAMES)
        self.decided = Decided(rows={name: Rows(TemporaryFile) for name in digested})

    @property
    def reads(self) -> tuple[str, ...]:
        """The source topics that a session must have."""
        wanted = {name for task in self._bulk for name in task.spec.inputs} | set(NAMES)
        return tuple(name for name in self._topology.sources if name in wanted or name in TEXTS)

    def run(self, days: Sequence[Day]) -> list[Fed]:
        """Decide ``days``, which follow those of the last call."""
        made: dict[str, list[Block]] = defaultdict(list)
        for day in days:
            self.decided.bars += day.bars
            for block in day.blocks:
                self._take(block, made)
        for block in (*self._texts.run(days), *self._openings(days[-1].last)):
            self._take(block, made)
        for task in self._bulk:
            result = run_task(
                task, self._config, self._calendar, self._source, start=self._starts.get(task),
                sink=lambda block: self._take(block, made), spool=TemporaryFile,
            )  # fmt: skip
            self._starts[task] = Start(result.values, result.applied)
            for (name, _), rows in result.outputs.items():
                if name in self.decided.rows:
                    self.decided.rows[name].absorb(rows)
        self._source.drop(self._read())
        for block in made[DECISIONS]:
            self.decided.reasons += reasons_of(block)
        return [self._fed(day, made) for day in days]

    def _openings(self, label: int) -> Iterator[Block]:
        """The opening of the last minute: without it, a stage waits for what may be declared absent in it."""
        if self._topology.optional:
            log = RollingLog(self._layout)
            for name in self.reads:
                if name not in TEXTS:
                    log.writer().opening(name, label, ())
            yield from (Block.of(messages) for _, messages in log.parts())

    def _take(self, block: Block, made: dict[str, list[Block]]) -> None:
        placed = self._source.take(block)
        if placed.topic in self._kept or placed.topic == DECISIONS:
            made[placed.topic].append(placed)

    def _read(self) -> dict[Part, int]:
        """How far every reader of a partition has come."""
        found: dict[Part, int] = {}
        for start in self._starts.values():
            for part, offset in start.offsets.items():
                found[part] = min(offset, found.get(part, offset))
        return found

    def _fed(self, day: Day, made: Mapping[str, Sequence[Block]]) -> Fed:
        found = []
        for name in self._kept:
            for block in made[name]:
                mine = within(block, self._fed_to, day.last)
                if len(mine):
                    found.append(bare(mine) if name in BARE else mine)
        if self._is_daily:
            self.decided.daily[day.date] = self._rows_of(day, made)
        self._fed_to = day.last
        return Fed(day.date, day.labels, day.market, tuple(found), self._topology.signal_topics)

    def _rows_of(self, day: Day, made: Mapping[str, Sequence[Block]]) -> dict[str, Rows]:
        """The rows of the session's decisions and signals."""
        found = {}
        for name in (DECISIONS, *self._topology.signal_topics):
            found[name] = Rows(TemporaryFile)
            for block in made[name]:
                found[name].add(_rows(within(block, self._fed_to, day.last)))
        return found


def _rows(block: Block) -> Bytes:
    """The records of ``block`` as ``Rows`` takes them."""
    mine = np.flatnonzero(block.values[:, 1] >= 0)
    values = block.values[mine]
    ids, _ = raw_ids(block.data, np.stack((values[:, 0] + PREFIX.size + 1, np.full(len(mine), 32)), axis=1))
    return rows_of(ids, block.data, block.keys[mine], values, PREFIX.size)


def reasons_of(block: Block) -> Counter[tuple[str, str]]:
    """How often each (action, reason) was decided."""
    rows = np.flatnonzero(block.values[:, 1] >= 0)
    found, _ = decode_columns(DECISIONS, block.data, block.values[rows])
    actions = found.ints["action"].tolist()
    named = symbols(DECISIONS, "action")
    return Counter(
        (named[action], reason or "") for action, reason in zip(actions, found.strings("reason"), strict=True)
    )
