"""Rebuild of the features stage in CPU seconds per million bars, beside three stream processors.

    python -m tests.bench.bench_rebuild

Two groups of rows. In the first an entrant reads, keeps its windows, computes, encodes and takes a digest of
what it would write; in the second it writes. Entrants with an equal digest did the same work to the last bit.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.cluster import Cluster
from tests.bench import our_features, peers
from tests.bench.race import NO_DIGEST, Cost, Entrant, Race
from tests.bench.report import Row, Table
from tests.bench.servers import kafka

AIM_DIGEST, AIM_WRITTEN = 6.0, 15.0
OURS = "tapedeck rebuild"


class Size(NamedTuple):
    """Bars before and while measured, of ours, a JVM, Quix and Faust; rounds. Peers without bars stay out."""

    ours: tuple[int, int]
    streams: tuple[int, int]
    quix: tuple[int, int]
    faust: tuple[int, int]
    rounds: int


FULL = Size((0, 260_000), (60_000, 200_000), (4_000, 40_000), (1_400, 7_000), 3)
SHORT = Size((0, 14_000), (0, 0), (0, 0), (0, 0), 1)


class Contest(NamedTuple):
    """One row: who, and whether it writes."""

    name: str
    writes: bool
    entrant: Callable[[], Entrant]
    aim: float | None = None


def contests(size: Size) -> Iterator[Contest]:
    """All rows, in the order in which they are printed."""

    def python(module: str, bars: tuple[int, int]) -> Callable[[], Entrant]:
        return lambda: Entrant(module, [sys.executable, "-m", f"tests.bench.{module}"], *bars)

    def streams(guarantee: str) -> Callable[[], Entrant]:
        return lambda: Entrant("kafka-streams", peers.kafka_streams(), *size.streams, guarantee)

    def quix(guarantee: str) -> Callable[[], Entrant]:
        return lambda: Entrant("quix", peers.quix(), *size.quix, guarantee)

    ours, faust = python("our_features", size.ours), python("plain_faust", size.faust)
    yield Contest(f"digest only: {OURS}", False, ours, AIM_DIGEST)
    if size.streams[1]:
        yield Contest("digest only: Kafka Streams, in memory", False, streams("at_least_once"))
    if size.quix[1]:
        yield Contest("digest only: Quix Streams, no changelog", False, quix("at-least-once"))
    if size.faust[1]:
        yield Contest("digest only: plain Faust, in memory", False, faust)
    yield Contest(f"outputs written: {OURS}", True, ours, AIM_WRITTEN)
    if size.streams[1]:
        yield Contest("outputs written: Kafka Streams, at least once", True, streams("at_least_once"))
        yield Contest("outputs written: Kafka Streams, exactly once", True, streams("exactly_once_v2"))
    if size.quix[1]:
        yield Contest("outputs written: Quix Streams, at least once", True, quix("at-least-once"))
        yield Contest("outputs written: Quix Streams, exactly once", True, quix("exactly-once"))
    if size.faust[1]:
        yield Contest("outputs written: plain Faust", True, faust)


class Results:
    """The costs of the rows so far, who is not there, and what each tape's digest must be."""

    def __init__(self, race: Race) -> None:
        self._race = race
        self._costs: dict[str, list[Cost]] = {}
        self._absent: dict[str, str] = {}
        self._digests: dict[str, str] = {}

    def run(self, contest: Contest) -> None:
        """One run of a row, unless its entrant is known to be absent."""
        if contest.name in self._absent:
            return
        try:
            entrant = contest.entrant()
        except peers.Absent as error:
            self._absent[contest.name] = str(error)
            return
        self._costs.setdefault(contest.name, []).append(self._race.run(entrant, writes=contest.writes))

    def row(self, contest: Contest, ours: Contest) -> Row:
        """The medians of a row; a peer's beside ``ours``, the same group's row of the rebuild."""
        if contest.name in self._absent:
            return Row(contest.name, float("nan"), "CPU s", note=f"not here: {self._absent[contest.name]}")
        costs = self._costs[contest.name]
        cpu_s, notes = _median(costs), [f"{statistics.median(cost.rate for cost in costs):,.0f} bars/s"]
        if contest.name != ours.name:
            notes.append(f"{cpu_s / _median(self._costs[ours.name]):.1f} x ours")
        if all(cost.digest != NO_DIGEST for cost in costs):
            right = all(cost.digest == self._expected(cost) for cost in costs)
            notes.append("same digest" if right else "OTHER DIGEST: not the same work")
        aim = "" if contest.aim is None else f"{contest.aim:.0f}"
        met = None if contest.aim is None else cpu_s <= contest.aim
        return Row(contest.name, cpu_s, "CPU s", aim, met, "; ".join(notes))

    def _expected(self, cost: Cost) -> str:
        """The digest of a tape's outputs, rebuilt in this process."""
        prefix = cost.tape.prefix
        if prefix not in self._digests:
            with KafkaSource(Cluster(self._race.bootstrap, cost.tape)) as source:
                self._digests[prefix] = our_features.rebuilt(source)
        return self._digests[prefix]


def _median(costs: list[Cost]) -> float:
    return statistics.median(cost.cpu_s for cost in costs)


def measure(bootstrap: str, size: Size = FULL) -> Table:
    """All entrants in turn, round by round."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-rebuild-") as folder:
        results = Results(Race(bootstrap, Path(folder)))
        for _ in range(size.rounds):
            for contest in contests(size):
                results.run(contest)
        ours = {contest.writes: contest for contest in contests(size) if contest.aim is not None}
        rows = [results.row(contest, ours[contest.writes]) for contest in contests(size)]
    return Table("features rebuilt, CPU seconds per million bars", tuple(rows), tuple(_notes(size)))


def _notes(size: Size) -> Iterator[str]:
    yield f"median of {size.rounds}; {size.ours[1]:,} bars of 28 symbols in 4 partitions, one process each;"
    yield "the digest is over every output body: where it is the same, so is each feature, to the last bit"
    if size.streams[1]:
        yield (
            f"bars measured, and before that to warm up: Kafka Streams {_bars(size.streams)}, "
            f"Quix {_bars(size.quix)}, Faust {_bars(size.faust)};"
        )
        yield "Kafka Streams: Java, Avro generic records, serial collector (the cheapest here); it keeps no"
        yield "roll-back for late bars; where it writes, RocksDB with cache and changelog, as its DSL has it;"
        yield "Quix and Faust: tapedeck's kernel called per bar, fastavro; no peer keeps watermarks, and"
        yield "where outputs are written peers take no digest and ours does"


def _bars(pair: tuple[int, int]) -> str:
    return f"{pair[1]:,} and {pair[0]:,}"


def main() -> None:
    """Measure and print."""
    with kafka() as bootstrap:
        print(measure(bootstrap))


if __name__ == "__main__":
    main()
