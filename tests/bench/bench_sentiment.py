"""Texts per second of the sentiment engines that need no extra, in CPU time of one core.

    python -m tests.bench.bench_sentiment

The texts are those of the newswire set, each with a number of its own, in batches as `tape score --in` makes
them. Caches of words are warm, as they are in a process that runs.
"""

import statistics
import time

from tapedeck.connectors.sentiment.lexicon import Lexicon
from tapedeck.connectors.sentiment.light import Light
from tapedeck.connectors.sentiment.scorer import Scorer, outcomes
from tests.bench.report import Row, Table
from tests.support.cases import REPOSITORY

AIM_MS = 0.3
_BATCH = 256
_TEXTS = 10_000
_ROUNDS = 5


def texts(count: int) -> list[str]:
    """``count`` sentences of about a hundred characters."""
    file = REPOSITORY / "tests" / "data" / "sentiment" / "newswire.tsv"
    known = [line.split("\t")[1] for line in file.read_text(encoding="utf-8").splitlines()]
    return [f"{known[n % len(known)]} ({n})" for n in range(count)]


def cpu_of(scorer: Scorer, given: list[str]) -> float:
    """CPU milliseconds a text."""
    began = time.process_time()
    for at in range(0, len(given), _BATCH):
        outcomes(scorer, given[at : at + _BATCH])
    return (time.process_time() - began) / len(given) * 1e3


def measure(short: bool = False) -> Table:
    """Both engines."""
    given = texts(512 if short else _TEXTS)
    rounds = 1 if short else _ROUNDS
    rows = []
    for scorer in (Light(), Lexicon()):
        cpu_of(scorer, given[:_BATCH])
        cost = statistics.median(cpu_of(scorer, given) for _ in range(rounds))
        row = Row(scorer.model.engine, cost, "ms a text", note=f"{1e3 / cost:,.0f} texts/s")
        rows.append(row if rows else row._replace(aim=f"{AIM_MS}", met=cost < AIM_MS))
    return Table(
        "sentiment, CPU milliseconds a text",
        tuple(rows),
        (f"median of {rounds}; {len(given):,} newswire sentences in batches of {_BATCH}, one core",),
    )


def main() -> None:
    """Measure and print."""
    print(measure())


if __name__ == "__main__":
    main()
