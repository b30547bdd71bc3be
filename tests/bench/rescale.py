"""Features and signals go from 1 worker to 4 and to 2 during play; all restart in turn; some are killed.

    python -m tests.bench.rescale

Eight partitions, 28 symbols at 60x. After each change: for how long a partition of either stage had no owner,
and for how long its watermarks stood. At the end every stage's outputs and table are those of a rebuild.
"""

import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from tests.bench.crew import Crew, Observer, Playing
from tests.bench.report import Row, Table, machine
from tests.bench.scaling import agreed, wait, whole_day
from tests.bench.servers import kafka
from tests.support.live import Workers
from tests.support.sim_tapes import CONFIG

PARTITIONS = 8
SCALED = ("features", "signals")
BETWEEN = ("scores", "watchlist")


def changes(crews: tuple[Crew, ...], between: Crew) -> Iterator[tuple[str, int]]:
    """Does one thing after the other; yields its name and how many workers each crew has then."""
    for crew in crews:
        crew.start(2, 3, 4)
    yield "1 -> 4", 4
    for crew in crews:
        crew.renew(signal.SIGKILL, (1,))
    yield "one of four killed and started again", 4
    for crew in (*crews, between):
        crew.renew(signal.SIGTERM, crew.running)
    yield "all restarted in turn", 4
    for crew in crews:
        crew.end(signal.SIGTERM, 3, 4)
    yield "4 -> 2", 2
    for crew in crews:
        crew.renew(signal.SIGKILL, (2,))
    between.renew(signal.SIGKILL, (1,))
    yield "one of two killed and started again, and the stages between", 2


def measure(bootstrap: str) -> Table:
    """Raises AssertionError where a change is not over in time, or a digest differs."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="tapedeck-rescale-") as folder:
        prefix = f"rescale{uuid.uuid4().hex[:8]}"
        workers = Workers(bootstrap, prefix, Path(folder), CONFIG, symbol_partitions=PARTITIONS)
        cluster, between = workers.cluster, Crew(workers, *BETWEEN)
        crews = tuple(Crew(workers, stage) for stage in SCALED)
        try:
            for crew in (*crews, between):
                crew.start(1)
            with (
                workers.with_logs(),
                Playing(cluster, whole_day()) as playing,
                Observer(cluster, SCALED[0]) as first,
                Observer(cluster, SCALED[1]) as second,
            ):
                seen = dict(zip(SCALED, (first, second), strict=True))
                for stage, observer in seen.items():
                    wait(observer, 1, f"one worker of {stage}")
                for name, members in changes(crews, between):
                    for stage, observer in seen.items():
                        found = wait(observer, members, f"{stage}: {name}")
                        owned = f"{found.unowned:.1f} s without an owner"
                        row = Row(f"{stage}: {name}", found.stalled, "s", note=owned)
                        rows.append(row)
                        print(f"{row.name}: {row.value:.1f} s, {row.note}", flush=True)
                playing.end()
            for stage in (*SCALED, *BETWEEN):
                rows.append(Row(stage, agreed(cluster, stage), "records", "as a rebuild's", met=True))
        finally:
            workers.stop()
    return Table(f"watermarks stand, {PARTITIONS} partitions", tuple(rows))


def main() -> int:
    """Run and print."""
    print(machine(), flush=True)
    with kafka() as bootstrap:
        print(f"\n{measure(bootstrap)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
