"""The bars of 10,000 symbols in one minute, to its last feature and to its last decision.

    python -m tests.bench.bench_burst [--load [--symbols N] [--warm-up N] [--minutes N] [--every SECONDS]]

Two worker processes, as `tape up` starts them: features; scores, watchlist and signals. The features of each
symbol are ready from bars before, and there is no news. The clock of a minute starts before its first bar is
encoded and stops when a consumer of this process has the last record in hand.

With ``--load``, minutes come at the market's own pace, and the memory of each worker is printed at the end of
each, before the next one comes. Before them, minutes come one after the other until every window is full and
every buffer has had its use: the state of ``features`` has its full size from the first bar on, that of
``signals`` grows with each decided bar up to ``DECIDED`` of them. The slope is that of all measured minutes.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import psutil

from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.tapes.generator import DEFAULT_SEED, generate
from tapedeck.connectors.tapes.marks import last_watermarks, optional_inputs
from tapedeck.connectors.tapes.player import PLAYED, Pace, Player
from tapedeck.connectors.tapes.tape import Body, Minute, Tape, bar_body, universe_body
from tapedeck.schemas.codec import decode
from tapedeck.streams.config.document import Config, from_dict
from tapedeck.streams.config.groups import Bars
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.stages.signals.fold import ALLOWED_LATENESS_BARS
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.wire import Origin
from tapedeck.tape.local import plan
from tapedeck.tape.local.stack import LocalStack
from tapedeck.tape.local.supervisor import Worker
from tests.bench.report import Row, Table, machine
from tests.bench.watching import Watch, now_s

AIM_S = 5.0
SLOPE = 1.0
PREFIX = "burst"
WORKERS = ("features", "decide")
_READY = 20  # bars
_WARM_UP = 2
DECIDED = Bars().rollback_min + ALLOWED_LATENESS_BARS
"""Decided bars that ``signals`` keeps of a symbol; those of the session before count."""
_PATIENCE_S = 300.0
"""Without any record."""


class Size(NamedTuple):
    """How many symbols have a bar in each minute, and how many minutes are measured."""

    symbols: int
    minutes: int
    every_s: float = 0.0
    """Seconds from one minute's start to the next; 0: when the one before is decided."""
    warm_up: int = _WARM_UP
    """Minutes before those that are measured, each when the one before is decided."""


LOAD = Size(10_000, 10, 60.0, DECIDED - _READY + 10)
FULL = Size(10_000, 5)
SHORT = Size(200, 1)


def walks(size: Size) -> Tape:
    """Random walks of all symbols: their last bars of the session before, then the minutes of this one."""
    whole, rng = generate(DEFAULT_SEED), np.random.default_rng(5)
    names = [f"S{number:05d}" for number in range(size.symbols)]
    steps = _READY + size.warm_up + size.minutes
    prices = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, (size.symbols, steps + 1)), axis=1))
    before = sorted({bar["t"] for bar in whole.history})[-_READY:]
    labels = [minute.label for minute in whole.minutes if minute.bars][10 : 10 + size.warm_up + size.minutes]

    def bar(symbol: int, step: int, t: int) -> Body:
        opened, close = prices[symbol, step : step + 2].tolist()
        ohlc = (opened, max(opened, close), min(opened, close), close)
        return bar_body(names[symbol], t, ohlc, 1000.0 + symbol % 7, feed=whole.feed, origin=whole.origin)

    def of_all(step: int, t: int) -> Iterator[Body]:
        return (bar(symbol, step, t) for symbol in range(size.symbols))

    created = before[0] - MINUTE_US
    return replace(
        whole,
        universe=universe_body(names, source="MANUAL", created_at=created, origin=whole.origin),
        history=tuple(bar(s, step, t) for s in range(size.symbols) for step, t in enumerate(before)),
        minutes=tuple(Minute(t, tuple(of_all(_READY + n, t)), ()) for n, t in enumerate(labels)),
    )


def config() -> Config:
    """Few bars make features ready: the windows do the same work as with more."""
    return from_dict({"feature": {"ready_bars": _READY}})


def workers(settled: Config) -> tuple[Worker, ...]:
    """Two processes: what follows from bars."""
    return tuple(each for each in plan.workers(TOPOLOGY, settled) if each.name in WORKERS)


class Took(NamedTuple):
    """Seconds to a minute's last feature and to its last decision; MB that each worker holds at its end."""

    feature: float
    decision: float
    memory: Mapping[str, float]

    @property
    def held(self) -> float:
        """MB of all workers."""
        return sum(self.memory.values())

    def __str__(self) -> str:
        held = ", ".join(f"{name} {mb:,.1f} MB" for name, mb in sorted(self.memory.items()))
        return f"features {self.feature:.2f} s, decisions {self.decision:.2f} s; at its end {held}"


def play(local: LocalStack, size: Size) -> list[Took]:
    """One minute after the other, each when the one before is decided. Raises TimeoutError."""
    tape, found, running = walks(size), [], processes()
    with (
        KafkaLogWriter(local.cluster, Origin("bench", "0", "")) as writer,
        optional_inputs(local.cluster, TOPOLOGY.optional) as news,
        Watch(local.cluster, ("features", "decisions")) as watch,
    ):
        for count, minute in enumerate(tape.minutes, start=1):
            watch.seen.clear()
            part, began = replace(tape, minutes=tape.minutes[:count]), now_s()
            Player(part, writer, Pace(None), optional=news).play(
                lambda: last_watermarks(local.cluster, PLAYED)
            )
            is_measured = count > size.warm_up
            feature, decision = _until_decided(watch, minute.label, size.symbols, began)
            if is_measured:
                time.sleep(max(0.0, began + size.every_s - now_s()))
            held = {name: each.memory_info().rss / 1e6 for name, each in running.items()}
            took = Took(feature, decision, held)
            if size.every_s:
                what = f"minute {count - size.warm_up}" if is_measured else f"warm-up {count}"
                print(f"{what}: {took}", flush=True)
            if is_measured:
                found.append(took)
    return found


def _until_decided(watch: Watch, label: int, symbols: int, began: float) -> tuple[float, float]:
    """Seconds since ``began`` to the last feature and to the last decision. Raises TimeoutError."""
    until, looked = time.monotonic() + _PATIENCE_S, 0
    arrived: dict[str, list[float]] = {"features": [], "decisions": []}
    while any(len(times) < symbols for times in arrived.values()):
        if time.monotonic() > until:
            raise TimeoutError(f"{ {name: len(times) for name, times in arrived.items()} } of {symbols}")
        time.sleep(0.1)
        if len(watch.seen) > looked:
            until = time.monotonic() + _PATIENCE_S  # the bars of before take long on a busy machine
        for each in watch.seen[looked : (looked := len(watch.seen))]:
            if decode(each.topic, each.value)["t" if each.topic == "features" else "bar_t"] == label:
                arrived[each.topic].append(each.at)
    feature, decision = (max(times) - began for times in arrived.values())
    return feature, decision


def highest(running: Mapping[str, psutil.Process]) -> dict[str, float]:
    """MB that each worker has held at most, since it began."""
    found = {}
    for name, each in running.items():
        status = Path(f"/proc/{each.pid}/status").read_text()
        found[name] = int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    return found


def processes() -> dict[str, psutil.Process]:
    """The worker processes by their names; they are children of this one."""
    found = {tuple(each.cmdline()): each for each in psutil.Process().children()}
    return {
        worker.name: process
        for worker in workers(config())
        for argv, process in found.items()
        if argv[-len(worker.stages) :] == worker.stages
    }


def in_words(figures: Mapping[str, float]) -> str:
    """``decide 1.25, features 0.50``."""
    return ", ".join(f"{name} {value:,.2f}" for name, value in sorted(figures.items()))


def slope(held: Sequence[float]) -> float:
    """MB a minute, by least squares over ``held``, one reading a minute."""
    return float(np.polyfit(range(len(held)), held, 1)[0]) if len(held) > 1 else 0.0


def measure(size: Size = FULL) -> Table:
    """Start a stack, play, stop it. Raises Fatal, quoting the log, for a worker that ended."""
    with tempfile.TemporaryDirectory(prefix="bench-burst-") as name:
        document = Path(name) / "tape.toml"
        document.write_text(config().to_toml())
        with LocalStack(Path(name) / "stack", config=document, prefix=PREFIX, workers=workers) as local:
            found = play(local, size)
            most = highest(processes()) if size.every_s else {}
            local.watch()
    rows = []
    for what, times in (
        ("last feature", [each.feature for each in found]),
        ("last decision", [each.decision for each in found]),
    ):
        middle = median(times)
        row = Row(
            what, middle, "s", f"{AIM_S:g}", middle <= AIM_S, f"worst of {len(times)}: {max(times):.2f} s"
        )
        rows.append(row)
    if size.every_s:
        held = [each.held for each in found]
        late = max(each.decision for each in found)
        slopes = {name: slope([took.memory[name] for took in found]) for name in found[0].memory}
        rows += [
            Row(
                "slowest minute", late, "s", f"{size.every_s:g}", late < size.every_s, "delay is back at zero"
            ),
            Row("memory of the workers", held[-1], "MB", note=" ".join(f"{mb:,.0f}" for mb in held)),
            Row("its slope", slope(held), "MB a minute", f"{SLOPE:g}", slope(held) < SLOPE, in_words(slopes)),
            Row("highest memory", sum(most.values()), "MB", note=in_words(most)),
        ]
    note = "two worker processes; the bars are encoded and sent within the time"
    return Table(f"a minute of {size.symbols:,} symbols through the running stack", tuple(rows), (note,))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_burst", description=__doc__)
    parser.add_argument("--load", action="store_true", help="minutes at the market's pace, with their memory")
    parser.add_argument("--symbols", type=int, default=LOAD.symbols)
    parser.add_argument("--minutes", type=int, default=LOAD.minutes, help="that are measured")
    parser.add_argument("--every", type=float, default=LOAD.every_s, help="seconds from minute to minute")
    parser.add_argument(
        "--warm-up", type=int, default=LOAD.warm_up, help="minutes before them, without a pause"
    )
    told = parser.parse_args()
    print(machine(), flush=True)
    load = Size(told.symbols, told.minutes, told.every, told.warm_up)
    print(measure(load if told.load else FULL))


if __name__ == "__main__":
    main()
