"""All benches, one after the other on one broker and one database: ``make bench``, or with ``--short``.

The full run takes about fifteen minutes and installs the peers of the rebuild race into the cache folder.
The short one leaves the peers and the month out and proves in about a minute that the others work; its
figures are of too few repeats to be quoted. ``--year`` runs a trading year alone: minutes, 5 GB of disk.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.bench import (
    bench_backtest,
    bench_bulk,
    bench_burst,
    bench_columns,
    bench_features,
    bench_kernel,
    bench_latency,
    bench_rebuild,
    bench_sentiment,
    bench_sink,
    bench_tap,
    bench_year,
)
from tests.bench.report import Table, machine
from tests.bench.servers import kafka, postgres


def benches(bootstrap: str, url: str, *, short: bool) -> Iterator[Callable[[], Table]]:
    """What to run, in order. The latency bench starts its stack on the same servers."""
    bulk = bench_bulk.SHORT if short else bench_bulk.FULL
    burst = bench_burst.SHORT if short else bench_burst.FULL
    features = bench_features.SHORT if short else bench_features.FULL
    latency = bench_latency.SHORT if short else bench_latency.FULL
    rebuild = bench_rebuild.SHORT if short else bench_rebuild.FULL
    sink = bench_sink.SHORT if short else bench_sink.FULL
    tap = bench_tap.SHORT if short else bench_tap.FULL
    yield lambda: bench_kernel.measure(short)
    yield lambda: bench_columns.measure(short)
    yield lambda: bench_sentiment.measure(short)
    yield lambda: bench_backtest.measure(bench_backtest.SHORT if short else bench_backtest.MONTH)
    yield lambda: bench_bulk.measure(bootstrap, bulk)
    yield lambda: bench_features.measure(bootstrap, features)
    yield lambda: bench_rebuild.measure(bootstrap, rebuild)
    yield lambda: bench_latency.measure(latency)
    yield lambda: bench_burst.measure(burst)
    yield lambda: bench_sink.measure(bootstrap, url, sink)
    yield lambda: bench_tap.measure(bootstrap, tap)
    if not short:
        yield lambda: bench_year.measure(bootstrap)


@contextmanager
def named(bootstrap: str, url: str) -> Iterator[None]:
    """The environment in which a local stack takes these servers for its own."""
    told = {"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "DATABASE_URL": url}
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--short", action="store_true", help="few repeats: proves that it works")
    which.add_argument("--year", action="store_true", help="a trading year alone")
    told = parser.parse_args()
    print(machine(), flush=True)
    if told.year:
        with kafka() as bootstrap:
            print(f"\n{bench_year.measure(bootstrap, bench_year.YEAR)}")
        return
    with kafka() as bootstrap, postgres() as url, named(bootstrap, url):
        for bench in benches(bootstrap, url, short=told.short):
            print(f"\n{bench()}", flush=True)


if __name__ == "__main__":
    main()
