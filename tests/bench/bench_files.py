"""Time and memory of reading a big market file: 284 symbols, 44 sessions, 4.8 million rows.

Run it with ``python -m tests.bench.bench_files``. Each reading is a process of its own; its memory is the
most that it ever held (RSS). The file lies in a temporary folder: 400 MB.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import xnys

SYMBOLS, SESSIONS = 284, 44
FIRST_DAY = 20_454  # 2026-01-01
LIMIT_MB = 1024
_COMMANDS = {
    "tape of one session": ("load",),
    "tape check": ("check",),
    "tape check --write": ("check", "--write"),
}


def write_bars(folder: Path, symbols: int, sessions: int) -> list[Path]:
    """A CSV sorted by symbol, as vendors send it, and the same rows as Parquet sorted by time."""
    days = xnys().between(FIRST_DAY, FIRST_DAY + 200)[:sessions]
    times = np.concatenate([np.arange(day.open, day.close, MINUTE_US) for day in days])
    rng = np.random.default_rng(7)
    text = folder / "market.csv"
    with text.open("wb") as out:
        for number in range(symbols):
            close = np.round(20 + number + np.cumsum(rng.normal(0, 0.01, len(times))), 2).clip(5)
            frame = pl.DataFrame(
                {
                    "symbol": [f"S{number:03d}X".replace("0", "A").replace("1", "B")] * len(times),
                    "ts": times,
                    "open": close,
                    "high": np.round(close + 0.03, 2),
                    "low": np.round(close - 0.03, 2),
                    "close": close,
                    "volume": rng.integers(100, 100_000, len(times)),
                }
            )
            stamps = pl.from_epoch("ts", time_unit="us").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
            frame.with_columns(stamps).write_csv(out, include_header=number == 0)
    columns = folder / "market.parquet"
    parsed = pl.col("ts").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC")
    pl.scan_csv(text).with_columns(parsed).sink_parquet(columns)
    return [text, columns]


def measure(words: tuple[str, ...], path: Path) -> dict[str, float]:
    """Seconds and MB of one reading in a process of its own. Raises where it fails."""
    out = path.with_name("tidy.parquet")
    out.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.bench.bench_files", "--one", words[0], str(path)]
    command += [str(out)] if "--write" in words else []
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return {"seconds": time.monotonic() - began, "mb": json.loads(done.stdout.splitlines()[-1])}


def one(what: str, path: Path, out: Path | None) -> None:
    """Do one reading and print the most memory that this process held, in MB."""
    if what == "load":
        from tapedeck.connectors.tapes.files import read_tape

        read_tape(path)
    else:
        from tapedeck.tape.cli.check import check

        check(path, out=out)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs="+", help="what to read, and where: used by this script itself")
    parser.add_argument("--symbols", type=int, default=SYMBOLS)
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    asked = parser.parse_args()
    if asked.one:
        what, path, *out = asked.one
        one(what, Path(path), Path(out[0]) if out else None)
        return
    with TemporaryDirectory(prefix="tape-files-") as folder:
        for path in write_bars(Path(folder), asked.symbols, asked.sessions):
            size = path.stat().st_size / 2**20
            for name, words in _COMMANDS.items():
                found = measure(words, path)
                over = "" if found["mb"] < LIMIT_MB else f"  OVER {LIMIT_MB} MB"
                print(
                    f"{path.name} ({size:.0f} MB), {name}:"
                    f" {found['seconds']:.1f} s, {found['mb']:.0f} MB{over}"
                )


if __name__ == "__main__":
    main()
