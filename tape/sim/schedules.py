"""Seeded schedules of the short tape: each must end with the same results as a run without faults.

A seed draws which source records are written twice, the order in which the tasks of all stages work, how much
each partition delivers, where tasks crash, on which disk they restart, what a frozen task still writes, and
which optional inputs are absent. What is compared: every output and dead letter, the watermarks and openings
of every output partition, the state of every table on its disk and as its changelog restores it, and the
committed offsets.
"""

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain
from multiprocessing import get_context
from typing import Any, NamedTuple

from tapedeck.streams.frame import unpack
from tapedeck.streams.protocol import Message
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.crash import Point
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.schedule import Faults, renew_owners, run_schedule
from tapedeck.streams.sim.task import MemoryStore, SimTask, drain, tasks_of
from tapedeck.streams.topology import Topology, make
from tapedeck.streams.watermarks import Opening, label_of, readable_label, readable_punctuation
from tapedeck.streams.wire import Wire, opening_wires
from tapedeck.tape.sim.short_tape import CONFIG, LAYOUT, SOURCES, short_tape
from tapedeck.topics.catalogue import WATERMARK_KEY

SHORT = "short"
DEAD_LETTERS = "dead_letters"
STAGE_POINTS = tuple(point for point in Point if point is not Point.EFFECT)
_CRASH_SHARE = 0.25
_WRITER_RESTARTS = 0.08
_REPEATS = 0.03
_OPTIONAL_EVERY = 3

Found = dict[str, Any]
"""The results of a run by name: a set of records, a list of labels, a table."""


@dataclass
class Outcome:
    """The results of one or many seeds: what happened, and how each differs from a run without faults."""

    faults: Faults = field(default_factory=Faults)
    failed: dict[int, list[str]] = field(default_factory=dict)
    absent: int = 0
    """How many inputs were declared absent, counted per minute."""

    def __iadd__(self, other: "Outcome") -> "Outcome":
        self.faults += other.faults
        self.absent += other.absent
        self.failed |= other.failed
        return self

    def counts(self) -> dict[str, int]:
        """How often each kind of fault and each crash point occurred."""
        counted = {name: count for name, count in vars(self.faults).items() if name != "points"}
        counted["absent"] = self.absent
        return counted | {str(point): self.faults.points[point] for point in STAGE_POINTS}

    def commands(self) -> list[str]:
        """The commands that repeat the failed seeds."""
        return [f"tape sim {SHORT} --seed {seed}" for seed in sorted(self.failed)]

    def as_json(self) -> str:
        """Faults, differences by seed and the commands that repeat them."""
        found = {"faults": self.counts(), "failed": self.failed, "commands": self.commands()}
        return json.dumps(found, indent=2)

    def as_text(self) -> str:
        """The same for people."""
        lines = [f"{count:>9,}  {name}" for name, count in self.counts().items()]
        for seed, command in zip(sorted(self.failed), self.commands(), strict=True):
            lines += ["", f"seed {seed} differs from a run without faults; repeat it with: {command}"]
            lines += [f"  {difference}" for difference in self.failed[seed]]
        return "\n".join(
            [*lines, *([] if self.failed else ["", "every schedule gave the results of a clean run"])]
        )


def all_optional(topology: Topology) -> Topology:
    """The same with every join of a market stage optional: what schedules draw absent inputs in."""
    return Topology(
        *(
            replace(spec, joins=tuple(join._replace(optional=True) for join in spec.joins))
            for spec in topology
        )
    )


class Absent(NamedTuple):
    """Which optional inputs a tape declares absent: those in ``which``, in ``minutes``."""

    which: tuple[int, ...]
    """Places among the topology's optional inputs."""
    minutes: range

    def names(self, optional: Sequence[str], minute: int) -> tuple[str, ...]:
        """Those that are absent in the tape's minute, counted from 0; the warm part is minute -1."""
        return (
            tuple(optional[at] for at in self.which if at < len(optional)) if minute in self.minutes else ()
        )


NONE_ABSENT = Absent((), range(0))
ABSENT = (
    NONE_ABSENT,
    Absent((0, 1, 2), range(-1, 100)),
    Absent((0, 1, 2), range(6, 12)),
    Absent((0, 1), range(3, 100, 2)),
)
"""None, all of them all day, all of them for a while, or some in every other minute."""


class Bed:
    """The short tape under one topology: its state when schedules start, and the results of a clean run.

    If the topology has optional inputs, openings follow the watermarks and name the inputs of ``absent``.
    """

    def __init__(self, topology: Topology, absent: Absent | None = None) -> None:
        tape, calendar = short_tape(topology), xnys()
        optional = topology.optional if absent is not None else ()
        self._records = tuple(
            (n, p) for spec in topology for n in spec.outputs for p in range(LAYOUT.partitions(n))
        )
        self._stages = [(spec, make(spec, CONFIG, calendar)) for spec in topology.market]
        self._accounts = [
            (spec, a.account_id, make(spec, CONFIG, calendar, a.account_id))
            for spec in topology.accounts
            for a in CONFIG.accounts
        ]
        self.minutes, self.inbox, self.absent = tape.minutes, tape.inbox, 0
        warm = tape.warm
        if absent is not None:
            names = [absent.names(optional, at) for at in range(-1, len(tape.minutes))]
            self.absent = sum(map(len, names))
            warm = (*warm, *_opening(warm, names[0]))
            opened = zip(tape.minutes, names[1:], strict=True)
            self.minutes = tuple((*minute, *_opening(minute, told)) for minute, told in opened)
        self.warm = _log_of(warm)
        self._ready = self._tasks(self.warm, SimTask)
        drain(self._ready)
        self._before = {
            part: {(m.key, m.value) for m in self.warm.read(*part, 0) if m.value is not None}
            for part in self._records
        }
        log = self.warm.copied()
        for wire in chain(*self.minutes, self.inbox):
            log.append(wire)
        tasks = self.started(log, SimTask)
        drain(tasks)
        self.clean = self.found(log, tasks)

    def started(self, log: MemoryLog, task_type: type[SimTask]) -> list[SimTask]:
        """Tasks that continue from the warm ones."""
        tasks = self._tasks(log, task_type)
        for task, ready in zip(tasks, self._ready, strict=True):
            task.go_on_from(ready)
        return tasks

    def _tasks(self, log: MemoryLog, task_type: type[SimTask]) -> list[SimTask]:
        tasks = [task for spec, stage in self._stages for task in tasks_of(spec, stage, log, task_type)]
        for spec, account, stage in self._accounts:
            home = log.layout.partition(spec.trigger, {"account_id": account})
            tasks.append(task_type(spec, stage, log, (home,), only_key=account.encode()))
        return tasks

    def found(self, log: MemoryLog, tasks: list[SimTask]) -> Found:
        """The results of a run: each record once, as a reader of an at-least-once topic sees it."""
        found: Found = {}
        for name, partition in self._records:
            messages = log.read(name, partition, self.warm.end(name, partition))
            records = {(m.key, m.value) for m in messages if m.value is not None}
            found[f"{name}/{partition}"] = records - self._before[name, partition]
            found[f"{name}/{partition} watermarks"] = _rising(m for m in messages if m.value is None)
            found[f"{name}/{partition} openings"] = _openings(m for m in messages if m.value is None)
        found[DEAD_LETTERS] = {(m.partition, m.key, m.value) for m in log.messages(DEAD_LETTERS)}
        for task in tasks:
            name = f"{task.spec.name}/{task.home}"
            found[f"{name} state"] = _bodies(task.disk)
            found[f"{name} state restored"] = _bodies(task.restored())
            found[f"{name} unread"] = [part for part in task.unread() if part[0] == task.spec.trigger]
        return found


@cache
def bed_of(topology: Topology, absent: Absent | None = None) -> Bed:
    """The bed of a topology, created once per process and shared by its forks."""
    return Bed(topology, absent)


class Schedules:
    """Runs schedules of the short tape. ``task_type`` is the shell under test.

    Every third seed draws a topology whose joins are all optional, and which of them are absent when.
    """

    def __init__(self, topology: Topology, task_type: type[SimTask] = SimTask) -> None:
        self._task_type = task_type
        self._bed = bed_of(topology, NONE_ABSENT if topology.optional else None)
        optional = all_optional(topology)
        self._optional = [bed_of(optional, absent) for absent in ABSENT] if optional.optional else []

    @property
    def clean(self) -> Found:
        """The results of the short tape without faults and with all inputs."""
        return self._bed.clean

    def bed(self, seed: int) -> Bed:
        """What the schedule of ``seed`` runs on."""
        kind, drawn = seed % _OPTIONAL_EVERY, seed // _OPTIONAL_EVERY
        if kind != _OPTIONAL_EVERY - 1 or not self._optional:
            return self._bed
        return self._optional[drawn % len(self._optional)]

    def run(self, seed: int) -> Outcome:
        """One schedule. An error counts as a failure of its seed, like a difference."""
        rng, bed = random.Random(seed), self.bed(seed)
        log, outcome = bed.warm.copied(), Outcome()
        outcome.absent = bed.absent
        for wire in _written(bed, rng, outcome.faults):
            log.append(wire)
        tasks = bed.started(log, self._task_type)
        try:
            outcome.faults += run_schedule(tasks, rng.getrandbits(32), crash_share=_CRASH_SHARE)
            outcome.faults += renew_owners(tasks, rng.getrandbits(32))
            drain(tasks)
            differing = differences(bed.clean, bed.found(log, tasks))
        except Exception as error:
            differing = [f"the run ended with {error!r}"]
        if differing:
            outcome.failed[seed] = differing
        return outcome


def _written(bed: Bed, rng: random.Random, faults: Faults) -> Iterator[Wire]:
    """The sources as written by a writer that repeats single records and whole minutes.

    A writer that crashed within a minute writes that minute again from its start, watermarks included.
    """
    late: list[Wire] = []
    for minute in bed.minutes:
        yield from late
        faults.duplicated += len(late)
        late = [wire for wire in minute if wire.value is not None and rng.random() < _REPEATS]
        if rng.random() < _WRITER_RESTARTS:
            written = minute[: rng.randint(1, len(minute))]
            faults.duplicated += len(written)
            yield from written
        yield from minute
    yield from bed.inbox


def _opening(wires: Sequence[Wire], absent: tuple[str, ...]) -> Iterator[Wire]:
    """The openings after the last watermark of ``wires``."""
    labels = (label_of(wire.key, wire.value, wire.headers) for wire in wires)
    label = max(each for each in labels if each is not None)
    for name in SOURCES:
        yield from opening_wires(name, label, absent, range(LAYOUT.partitions(name)))


def _log_of(wires: Iterable[Wire]) -> MemoryLog:
    log = MemoryLog(LAYOUT)
    for wire in wires:
        log.append(wire)
    return log


def _rising(watermarks: Iterable[Message]) -> list[int]:
    """The labels that a reader uses: it drops those at or below the last one."""
    rising: list[int] = []
    for label in map(readable_label, watermarks):
        if label is not None and (not rising or label > rising[-1]):
            rising.append(label)
    return rising


def _openings(marks: Iterable[Message]) -> list[Opening]:
    """The openings that a reader uses: it drops those of a label that it has seen."""
    rising: list[Opening] = []
    for found in map(readable_punctuation, marks):
        if isinstance(found, Opening) and (not rising or found.label > rising[-1].label):
            rising.append(found)
    return rising


def _bodies(disk: MemoryStore) -> dict[tuple[int, bytes], object]:
    """The values without their cursors, which repeats move.

    For ``~watermark``, the labels are compared too.
    """
    values = {at: unpack(value) for at, value in disk.values.items()}
    return {at: (v.body, v.cursors) if at[1] == WATERMARK_KEY else v.body for at, v in values.items()}


def differences(clean: Found, found: Found) -> list[str]:
    """One line for each difference from the clean run."""
    lines = []
    for name, expected in clean.items():
        here = found[name]
        if here != expected:
            lines.append(f"{name}: {_difference(expected, here)}")
    return lines


def _difference(expected: object, here: object) -> str:
    if isinstance(expected, set) and isinstance(here, set):
        return f"{len(expected - here)} records missing, {len(here - expected)} too many"
    if isinstance(expected, dict) and isinstance(here, dict):
        odd = sorted(at for at in expected.keys() | here.keys() if expected.get(at) != here.get(at))
        return f"{len(odd)} keys differ, the first is {odd[0]}"
    if isinstance(expected, list) and isinstance(here, list):
        odd = [each for each in expected if each not in here] + [
            each for each in here if each not in expected
        ]
        return f"{len(odd)} differ: {', '.join(map(str, odd[:3]))}"
    return f"{here} in place of {expected}"


def run_seeds(
    topology: Topology, seeds: range, task_type: type[SimTask] = SimTask, *, workers: int = 1
) -> Outcome:
    """All of ``seeds``, in ``workers`` processes."""
    total = Outcome()
    if workers == 1:
        schedules = Schedules(topology, task_type)
        for seed in seeds:
            total += schedules.run(seed)
        return total
    Schedules(topology)  # what it needs is created once, for all processes
    with get_context("fork").Pool(workers) as pool:
        shares = [(topology, seeds[n::workers], task_type) for n in range(workers)]
        for outcome in pool.starmap(run_seeds, shares):
            total += outcome
    return total
