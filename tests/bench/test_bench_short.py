"""The short bench gives every row, with a sane figure in it. No figure is held to a time."""

import math
from collections.abc import Set

import pytest

from tests.bench.__main__ import benches, named
from tests.bench.report import Row, Table, percentile
from tests.conftest import Broker, Database
from tests.support.cases import few

ROWS = {
    "feature kernel": 5,
    "records as columns": 8,
    "sentiment": 2,
    "2 sessions of 6 symbols backtested": 4,
    "bulk log": 5,
    "live features worker": 3,
    "features rebuilt": 2,
    "latency": 14,
    "a minute of 200 symbols": 2,
    "sink": 8,
    "tap": 5,
}


SLOW = {
    "latency", "a minute of 200 symbols", "2 sessions of 6 symbols backtested", "live features worker",
    "features rebuilt", "sink", "tap",
}  # fmt: skip
"""Those that start a stack, workers or a race of processes."""


@pytest.mark.integration
@pytest.mark.parametrize("titles", few([ROWS.keys() - SLOW, SLOW], 1))
def test_the_short_bench_gives_every_row_with_a_sane_figure(
    kafka: Broker, postgres: Database, titles: Set[str]
) -> None:
    found = list(benches(kafka.bootstrap, postgres.url, short=True))
    with named(kafka.bootstrap, postgres.url):
        for (title, count), bench in zip(ROWS.items(), found, strict=True):
            if title not in titles:
                continue
            table = bench()
            assert table.title.startswith(title)
            assert len(table.rows) == count, str(table)
            for row in table.rows:
                assert math.isfinite(row.value) and row.value > 0, str(table)
                assert (row.met is None) == (row.aim == ""), str(table)


def test_a_table_says_aim_and_verdict_beside_the_figure() -> None:
    rows = (Row("ratio", 0.1, "x", "0.33", True), Row("late", 120.0, "ms", "60", False, "25 of them"))
    text = str(Table("bench", rows, ("how it was measured",)))
    assert "0.10 x             aim 0.33, met" in text
    assert "120 ms            aim 60, MISSED; 25 of them" in text
    assert text.endswith("  how it was measured")


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(n) for n in range(1, 101)]
    assert percentile(values, 0.5) == 51.0
    assert percentile(values, 0.99) == 100.0
    assert percentile([7.0], 0.99) == 7.0
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)
