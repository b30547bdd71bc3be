"""A trading month or year through every market stage: written with its outputs, then verified.

    python -m tests.bench.bench_year [--year]

The bars are written once. Then ``tape rebuild --into`` copies them and writes outputs, tables and offsets of
features, scores, watchlist and signals under another prefix, and ``tape rebuild --verify`` reads all of that
and computes it again. Each is a command of its own, so start-up is in the time. Memory is the resident set of
its largest process, and of all its processes together with what they share counted once.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.tape.local.places import cache_dir, say
from tapedeck.tape.local.process import tail
from tapedeck.topics.catalogue import Layout
from tests.bench.report import Row, Table
from tests.bench.servers import kafka
from tests.bench.year_tape import YEAR, write_year
from tests.support.cases import REPOSITORY

STAGES = ("features", "scores", "watchlist", "signals")
AIM_WRITTEN_S, AIM_VERIFIED_S, AIM_MB = 180.0, 60.0, 1024.0
MONTH = 21
WORKERS = (1, 2)
_LOOK_S = 0.2
_PATIENCE_S = 1800.0


class Size(NamedTuple):
    """Bytes at one moment: the largest resident set, their sum, and the sum with shared pages once."""

    largest: int
    resident: int
    together: int


class Used(NamedTuple):
    """What a command took: wall and CPU seconds, its peak, and when each line of its output came."""

    wall_s: float
    cpu_s: float
    peak: Size
    lines: dict[str, float]


def used_by(argv: Sequence[str], folder: Path, environment: dict[str, str]) -> Used:
    """Run a command and watch its processes. Raises Fatal, with the end of its output, where it fails."""
    log = folder / "output.log"
    told = os.environ | {"NUMBA_CACHE_DIR": str(cache_dir() / "numba")} | environment
    began, cpu_s, peak = time.perf_counter(), _children_s(), Size(0, 0, 0)
    lines: dict[str, float] = {}
    with log.open("wb") as stream:
        process = subprocess.Popen(
            argv, cwd=REPOSITORY, env=told, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT
        )
        watched = psutil.Process(process.pid)
        try:
            while process.poll() is None:
                peak = Size(*map(max, peak, _size(watched)))
                for line in log.read_text().splitlines():
                    lines.setdefault(line, time.perf_counter() - began)
                if time.perf_counter() - began > _PATIENCE_S:
                    raise Fatal("a command of the bench does not end", value=" ".join(argv), remedy=tail(log))
                time.sleep(_LOOK_S)
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        raise Fatal("a command of the bench failed", value=" ".join(argv), remedy=tail(log, 20))
    return Used(time.perf_counter() - began, _children_s() - cpu_s, peak, lines)


def _children_s() -> float:
    """CPU seconds of this process's children that have ended, and of theirs."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def _size(watched: psutil.Process) -> Size:
    """A process and all its children now; one that ends meanwhile is left out."""
    found = []
    for each in (watched, *watched.children(recursive=True)):
        with suppress(psutil.Error):
            found.append(each.memory_full_info())
    resident = [each.rss for each in found]
    return Size(max(resident, default=0), sum(resident), sum(each.pss for each in found))


def measure(bootstrap: str, sessions: int = MONTH, workers: Sequence[int] = WORKERS) -> Table:
    """Write the tape and do everything with it; the outputs are written with the last of ``workers``."""
    layout = Layout(f"year{uuid.uuid4().hex[:8]}")
    ensure(Cluster(bootstrap, layout))
    say(f"writing the bars of {sessions} sessions")
    size = write_year(Cluster(bootstrap, layout), sessions)
    rows: list[Row] = []
    whole = sessions >= YEAR
    with tempfile.TemporaryDirectory(prefix="bench-year-") as name:
        folder = Path(name)
        (folder / "tape.toml").write_text(Config().to_toml())
        environment = {
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "TAPE_PREFIX": layout.prefix,
            "TAPE_CONFIG": str(folder / "tape.toml"),
        }
        rebuild = [sys.executable, "-m", "tapedeck", "rebuild", *STAGES, "--workers"]
        most, into = workers[-1], f"{layout.prefix}.whole"
        say("rebuilding with outputs written")
        written = used_by([*rebuild, str(most), "--into", into], folder, environment)
        rows += _rows(f"written, {_workers(most)}", written, size.bars, AIM_WRITTEN_S if whole else None)
        rows += [Row(f"  until {stage}", took, "s") for stage, took in _steps(written)]
        environment["TAPE_PREFIX"] = into
        for count in workers:
            say(f"verifying with {_workers(count)}")
            verified = used_by([*rebuild, str(count), "--verify"], folder, environment)
            aim = AIM_VERIFIED_S if whole and count == most else None
            rows += _rows(f"verified, {_workers(count)}", verified, size.bars, aim)
    return Table(
        f"{size.sessions} sessions of 28 symbols through {', '.join(STAGES)}: {size.bars:,} bars",
        tuple(rows),
        (
            f"wall time, start-up included; {os.cpu_count()} cores, of which the broker takes its part;",
            "memory at its peak: resident set of the largest process; of all, what they share counted once",
        ),
    )


def _workers(count: int) -> str:
    return f"{count} worker{'s' * (count > 1)}"


def _steps(written: Used) -> Iterator[tuple[str, float]]:
    """(stage, seconds from the start until it was written), as the command tells them."""
    for line, took in written.lines.items():
        words = line.split()
        if words[-1:] == ["written"] and words[-2] in STAGES:
            yield words[-2], took


def _rows(name: str, used: Used, bars: int, aim_s: float | None = None) -> Iterator[Row]:
    """Time and memory of one command."""
    aim, met = ("", None) if aim_s is None else (f"{aim_s:.0f}", used.wall_s <= aim_s)
    note = f"{used.cpu_s:,.0f} CPU s, {used.cpu_s / bars * 1e6:,.0f} per million bars"
    yield Row(name, used.wall_s, "s", aim, met, note)
    largest, resident, together = (size / 1e6 for size in used.peak)
    yield Row("  largest process", largest, "MB", f"{AIM_MB:.0f}", largest <= AIM_MB)
    yield Row("  all processes", together, "MB", "", None, f"{resident:,.0f} MB as resident sets")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_year", description=__doc__)
    parser.add_argument("--year", action="store_true", help="252 sessions: minutes, and about 5 GB of disk")
    parser.add_argument("--sessions", type=int, help="as many sessions instead")
    told = parser.parse_args()
    with kafka() as bootstrap:
        print(measure(bootstrap, told.sessions or (YEAR if told.year else MONTH)))


if __name__ == "__main__":
    main()
