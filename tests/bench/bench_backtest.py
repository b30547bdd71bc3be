"""A month or a year of 28 symbols backtested from one Parquet file, and the plain simulator beside it.

    python -m tests.bench.bench_backtest [--year] [--accounts large]

The command ``tape backtest`` is run as a user runs it: start-up, reading the file, the market stages, one
account and all figures are in the time. Memory is that of its processes together, what they share counted
once. The simulator runs a session of the same file.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tapedeck.connectors.tapes.source import TapeSource
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.local.places import say
from tapedeck.tape.sim.simulation import Simulation
from tests.bench.bench_year import used_by
from tests.bench.report import Row, Table
from tests.bench.year_tape import SYMBOLS, YEAR, write_file

AIM_S, AIM_MB = 180.0, 1024.0


class Size(NamedTuple):
    """The last ``sessions`` of the year's tape, all of them with each number of ``workers``.

    ``symbols`` are the first so many. The simulator runs ``minutes`` of one session.
    """

    sessions: int
    workers: tuple[int, ...] = (1, 2)
    symbols: int = len(SYMBOLS)
    minutes: int = 390


MONTH = Size(21)
SHORT = Size(2, (1,), 6, 30)


def measure(size: Size = MONTH, accounts: Sequence[str] = ("large",)) -> Table:
    """Backtest the last sessions of the year's tape."""
    sessions, workers = size.sessions, size.workers
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-backtest-") as name:
        folder = Path(name)
        tape = folder / "bars.parquet"
        say(f"writing the bars of {sessions} sessions")
        bars = write_file(tape, sessions, SYMBOLS[: size.symbols])
        command = [sys.executable, "-m", "tapedeck", "backtest", str(tape), "--rows", "0", "--accounts"]
        for count in workers:
            say(f"backtesting with --workers {count}")
            used = used_by([*command, ",".join(accounts), "--workers", str(count)], folder, {})
            whole = sessions >= YEAR and count == workers[-1]
            aim, met = (f"{AIM_S:.0f}", used.wall_s <= AIM_S) if whole else ("", None)
            note = f"{used.cpu_s:,.0f} CPU s, {used.cpu_s / sessions:.2f} a session"
            rows.append(Row(f"backtest, --workers {count}", used.wall_s, "s", aim, met, note))
            rows.append(Row("  sessions", sessions / used.wall_s, "/s"))
            together = used.peak.together / 1e6
            aim, met = (f"{AIM_MB:.0f}", together <= AIM_MB) if whole else ("", None)
            rows.append(Row("  all processes", together, "MB", aim, met))
        say("one session in the simulator")
        rate, note = 1 / _simulated(tape, accounts, size.minutes), f"{size.minutes} minutes of one"
        rows.append(Row("simulator", rate, "sessions/s", "", None, note))
    title = (
        f"{sessions} sessions of {size.symbols} symbols backtested, {len(accounts)} account: {bars:,} bars"
    )
    return Table(title, tuple(rows), (f"wall time, start-up included; {os.cpu_count()} cores",))


def _simulated(path: Path, accounts: Sequence[str], minutes: int) -> float:
    """Seconds for a session in ``tape sim``'s simulator, by the first ``minutes`` of the file's newest."""
    whole = TapeSource(tape=str(path)).load()
    tape = replace(whole, minutes=whole.minutes[:minutes])
    began = time.perf_counter()
    Simulation(TOPOLOGY, tape, Config(accounts=EXAMPLE_ACCOUNTS), accounts=accounts).play()
    return (time.perf_counter() - began) * len(whole.minutes) / len(tape.minutes)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_backtest", description=__doc__)
    parser.add_argument("--year", action="store_true", help="252 sessions: minutes")
    parser.add_argument("--sessions", type=int, help="as many sessions instead")
    parser.add_argument("--accounts", default="large", help="one or both of large,tiny")
    told = parser.parse_args()
    sessions = told.sessions or (YEAR if told.year else MONTH.sessions)
    print(measure(MONTH._replace(sessions=sessions), tuple(told.accounts.split(","))))


if __name__ == "__main__":
    main()
