"""What ``whatif`` holds in memory over sessions: peak resident size for few and for many.

    python -m tests.bench.bench_whatif [--sessions 1 10]

Each number of sessions is a process of its own, which makes the recording on disk and compares it.
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Sequence

from tapedeck.streams.config.document import Config
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.whatif.diff import Part
from tapedeck.tape.whatif.whatif import whatif_from
from tests.bench.whatif_tape import recorded_year
from tests.support.cases import REPOSITORY


def compare(sessions: int) -> None:
    """Compare ``sessions`` sessions with two parameters changed, and print what it took."""
    base = Config()
    config = Config.model_validate({"signal": {"swing_min": 0.51}, "watchlist": {"enter": 0.52}})
    recorded = recorded_year(sessions, base)
    before, began = _peak_mb(), time.perf_counter()
    found = whatif_from(TOPOLOGY, recorded, base, config)
    print(
        f"{sessions:>4} sessions: {found.compared[Part.DECISION]:>9,} decisions, "
        f"{len(found.differences):>6,} differences, {time.perf_counter() - began:6.1f} s, "
        f"peak {_peak_mb():5.0f} MB resident ({before:.0f} MB before)",
        flush=True,
    )


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_whatif", description=__doc__)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 10])
    told = parser.parse_args(words)
    if len(told.sessions) == 1:
        compare(told.sessions[0])
        return
    for each in told.sessions:
        argv = [sys.executable, "-m", "tests.bench.bench_whatif", "--sessions", str(each)]
        subprocess.run(argv, check=True, cwd=REPOSITORY)


if __name__ == "__main__":
    main()
