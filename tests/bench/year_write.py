"""Stages rebuilt with their outputs written, one stage after the other over worker processes.

    python -m tests.bench.year_write BOOTSTRAP PREFIX WORKERS

What the year's bench starts. Prints one line per stage: its name, seconds of wall time, records read.
"""

import sys
import time
from collections import Counter
from dataclasses import dataclass

from connectors.bulk.source import KafkaSource
from connectors.bulk.writer import BulkWriter
from streams.bulk.job import Progress, TaskId
from streams.bulk.task import run_task, tasks_of
from tape.rebuild.pool import run_all
from tests.bench.peer import rules
from topics.catalogue import Layout

STAGES = ("features", "scores", "watchlist", "signals")


@dataclass(frozen=True)
class Written:
    """Rebuilds one task and writes what it gives."""

    bootstrap: str
    layout: Layout

    def __call__(self, task: TaskId, progress: Progress) -> Counter[str]:
        bootstrap, layout = self.bootstrap, self.layout
        with KafkaSource(bootstrap, layout) as source, BulkWriter(bootstrap, layout) as log:
            return run_task(task, *rules(), source, sink=log.write, progress=progress).counts


def main() -> None:
    """Each stage when the topics that it reads are whole."""
    bootstrap, prefix, workers = sys.argv[1], sys.argv[2], int(sys.argv[3])
    layout = Layout(prefix)
    for stage in STAGES:
        began, counts = time.perf_counter(), Counter[str]()
        tasks = tasks_of([stage], layout, rules()[0])
        for _, found in run_all(Written(bootstrap, layout), tasks, workers, lambda _: None):
            counts.update(found)
        print(stage, f"{time.perf_counter() - began:.3f}", counts["IN"], flush=True)


if __name__ == "__main__":
    main()
