"""A toy pipeline with an input that may be absent, for seeded schedules.

``universe`` is joined, optionally, by a partitioned stage over ``bars`` that writes ``quotes``, by a period
stage over all partitions of ``bars``, and by a partitioned stage over those ``quotes``. Every row
read is kept in order, so that a join read too early or too late gives another state.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

from tapedeck.connectors.tapes.market import StockQuote
from tapedeck.connectors.tapes.tape import bar_body, quote_body, universe_body
from tapedeck.streams.frame import unpack
from tapedeck.streams.identity import event_id
from tapedeck.streams.protocol import MINUTE_US, Batch, Join, Out, Row, Step, Values
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.schedule import Faults, renew_owners, run_schedule
from tapedeck.streams.sim.task import MemoryStore, SimTask, drain, tasks_of
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.watermarks import Opening, Watermark, readable_punctuation
from tapedeck.streams.wire import Wire, opening_wires, record_wire, watermark_wires
from tapedeck.tape.sim.schedules import differences
from tapedeck.topics.catalogue import WATERMARK_KEY, Layout, topic

LAYOUT = Layout(symbol_partitions=2)
MAYBE = (Join("universe", optional=True),)
SPECS = (
    replace(TOPOLOGY.stage("features"), trigger="bars", joins=MAYBE, outputs=("quotes",)),
    replace(TOPOLOGY.stage("scores"), trigger="bars", joins=MAYBE, outputs=("bars.late",), period=60),
    replace(TOPOLOGY.stage("signals"), trigger="quotes", joins=MAYBE, outputs=("decisions",)),
)
T0 = 1_771_338_600_000_000
MINUTES = 10
_SYMBOLS = ("AMD", "BAC", "WMT")
_WRITER_RESTARTS = 0.15
_REPEATS = 0.05


class Input(StrEnum):
    """What the optional input does."""

    PRESENT = "has every minute"
    NEVER = "has never had a watermark"
    ENDS = "is silent from some minute on"
    PAUSES = "is silent for some minutes"
    OVERRIDDEN = "has every minute, but is declared absent in some"


class Toy:
    """Keeps the identity of every row in order; a bar is passed on with the number of lists before it."""

    dead_letter_reasons: frozenset[str] = frozenset()

    def key(self, row: Row) -> bytes:
        return b"all"

    def step(self, key: bytes, state: bytes | None, batch: Batch) -> Step:
        seen: list[str] = json.loads(state or b"[]")
        outs = []
        for cause, row in enumerate(batch):
            identity = f"{row.topic} {row.body['event_id']}"
            if identity in seen:
                continue
            seen.append(identity)
            if row.topic == "bars":
                lists = sum(each.startswith("universe") for each in seen)
                body = _quote(row.body["symbol"], row.body["t"], lists)
                outs.append(Out(cause, "quotes", topic("quotes").record_key(body), body["event_id"], body))
        return Step(json.dumps(seen).encode(), outs, [])

    def at_watermark(self, watermark: int, part: int, values: Values) -> Step:
        seen = sum(len(json.loads(body)) for _, body in values.items())
        body = bar_body("AMD", watermark, (1.0,) * 4, float(seen), feed="iex", origin="toy")
        out = Out(-1, "bars.late", b"AMD", body["event_id"], body)
        return Step(values.own or b"", [out], [])


def _quote(symbol: str, time: int, size: int) -> dict[str, Any]:
    found = StockQuote(symbol=symbol, time=time, bid=Decimal(1), ask=Decimal(2), bid_size=size, ask_size=1)
    return quote_body(found, feed="iex", origin="toy")


class PeriodToy(Toy):
    """The one that writes only at watermarks; its partitions share no key."""

    def key(self, row: Row) -> bytes:
        name: str = row.body.get("symbol") or "list"
        return name.encode()

    def step(self, key: bytes, state: bytes | None, batch: Batch) -> Step:
        return super().step(key, state, batch)._replace(outs=[])


class ToyRun:
    """The schedules of one way in which the input behaves, over one log."""

    def __init__(self, how: Input, seed: int) -> None:
        rng = random.Random(seed)
        first = rng.randint(1, MINUTES - 3)
        last = rng.randint(first + 1, MINUTES - 2)
        silent = {
            Input.PRESENT: range(0), Input.NEVER: range(-1, MINUTES), Input.ENDS: range(first, MINUTES),
            Input.PAUSES: range(first, last), Input.OVERRIDDEN: range(first, last),
        }[how]  # fmt: skip
        self.how, self.absent = how, silent
        self._minutes = [self._minute(number) for number in range(-1, MINUTES)]
        arrives = range(0) if how is Input.OVERRIDDEN else silent
        self._lists = [] if how is Input.NEVER else [*self._input(arrives)]
        self.clean = self._run_clean()

    def run(self, seed: int, task_type: type[SimTask] = SimTask) -> tuple[list[str], Faults]:
        """The differences under one schedule, and its faults."""
        rng, faults = random.Random(seed), Faults()
        tasks, log = self._tasks([*self._written(rng, faults), *self._lists], task_type)
        try:
            faults += run_schedule(tasks, rng.getrandbits(32), crash_share=0.25)
            faults += renew_owners(tasks, rng.getrandbits(32))
            drain(tasks)
        except Exception as error:
            return [f"the run ended with {error!r}"], faults
        return differences(self.clean, _found(log, tasks)), faults

    def _run_clean(self) -> dict[str, Any]:
        wires = [wire for records, marks, openings in self._minutes for wire in (*records, *marks, *openings)]
        tasks, log = self._tasks([*wires, *self._lists], SimTask)
        drain(tasks)
        return _found(log, tasks)

    def _tasks(self, wires: list[Wire], task_type: type[SimTask]) -> tuple[list[SimTask], MemoryLog]:
        log = MemoryLog(LAYOUT)
        for wire in wires:
            log.append(wire)
        stages = [(spec, PeriodToy() if spec.period else Toy()) for spec in SPECS]
        return [task for spec, stage in stages for task in tasks_of(spec, stage, log, task_type)], log

    def _minute(self, number: int) -> tuple[list[Wire], list[Wire], list[Wire]]:
        """Records, watermarks and openings of one minute of ``bars``."""
        label, parts = T0 + number * MINUTE_US, range(LAYOUT.partitions("bars"))
        bars = [
            bar_body(s, label, (1.0,) * 4, 1.0, feed="iex", origin="toy") for s in _SYMBOLS if number >= 0
        ]
        records = [record_wire("bars", body["symbol"].encode(), body, LAYOUT, []) for body in bars]
        absent = ["universe"] if number in self.absent else []
        return (
            records,
            [*watermark_wires("bars", label, parts)],
            [*opening_wires("bars", label, [*absent, "elsewhere"], parts)],
        )

    def _input(self, silent: range) -> Iterator[Wire]:
        """The lists, one per minute, while they are not silent."""
        for number in range(-1, MINUTES):
            if number in silent:
                continue
            label = T0 + number * MINUTE_US
            body = universe_body(_SYMBOLS, source="MANUAL", created_at=label, origin="toy")
            body |= {"event_id": event_id("universe", (label,)), "version": label // MINUTE_US}
            yield record_wire("universe", topic("universe").record_key(body), body, LAYOUT, [])
            yield from watermark_wires("universe", label, range(1))

    def _written(self, rng: random.Random, faults: Faults) -> Iterator[Wire]:
        """``bars`` of a writer that crashes within a minute; it opens the finished minute before resuming."""
        for records, marks, openings in self._minutes:
            if rng.random() < _WRITER_RESTARTS:
                minute = [*records, *marks, *openings]
                written = minute[: rng.randint(1, len(minute))]
                yield from written
                ended = {wire.partition for wire in written if wire in marks}
                opened = {wire.partition for wire in written if wire in openings}
                yield from (wire for wire in openings if wire.partition in ended - opened)
                faults.duplicated += len(written)
            yield from (*records, *(wire for wire in records if rng.random() < _REPEATS), *marks, *openings)


def _found(log: MemoryLog, tasks: list[SimTask]) -> dict[str, Any]:
    found: dict[str, Any] = {"dead": {(m.key, m.value) for m in log.messages("dead_letters")}}
    for name in ("bars.late", "quotes"):
        found[name] = {(m.partition, m.key, m.value) for m in log.messages(name) if m.value is not None}
    for name in ("quotes", "decisions"):
        for partition in range(LAYOUT.partitions(name)):
            found[f"{name}/{partition} marks"] = _marks(log, name, partition)
    for task in tasks:
        name = f"{task.spec.name}/{task.home}"
        found[f"{name} state"], found[f"{name} restored"] = _bodies(task.disk), _bodies(task.restored())
        found[f"{name} unread"] = [part for part in task.unread() if part[0] == task.spec.trigger]
    return found


def _marks(log: MemoryLog, name: str, partition: int) -> list[Watermark | Opening]:
    """The watermarks and openings of one partition that a reader uses."""
    rising: list[Watermark | Opening] = []
    for message in log.read(name, partition, 0):
        mark = readable_punctuation(message)
        same = [each.label for each in rising if type(each) is type(mark)]
        if mark is not None and (not same or mark.label > same[-1]):
            rising.append(mark)
    return rising


def _bodies(disk: MemoryStore) -> dict[tuple[int, bytes], object]:
    values = {at: unpack(value) for at, value in disk.values.items()}
    return {at: (v.body, v.cursors) if at[1] == WATERMARK_KEY else v.body for at, v in values.items()}
