"""`make test` in several processes: a folder that needs servers is in one of them, and so is a file."""

import re
from pathlib import Path

import pytest

from tests.conftest import LANES, OF_THE_DAY, ByServers
from tests.support.cases import REPOSITORY


@pytest.mark.parametrize(
    "nodeid, scope",
    [
        ("tests/chaos/test_broker_away.py::test_it[frozen]", "chaos"),
        ("tests/integration/test_sink.py::test_it", "integration"),
        ("tests/bench/test_bench_short.py::test_it", "chaos"),
        ("tests/integration/test_audit_day.py::test_it", "day"),
        ("tests/unit/connectors/test_clock.py::test_it[a::b]", "tests/unit/connectors/test_clock.py"),
    ],
)
def test_tests_are_divided_by_what_they_need(nodeid: str, scope: str) -> None:
    assert ByServers._split_scope(object.__new__(ByServers), nodeid) == scope


def test_every_file_that_needs_servers_is_where_the_scheduler_looks() -> None:
    marked = [
        str(path.relative_to(REPOSITORY))
        for path in Path(REPOSITORY, "tests").rglob("test_*.py")
        if "pytest.mark." + "integration" in path.read_text()
    ]
    assert len(marked) > 20
    assert [name for name in marked if not name.startswith(tuple(LANES))] == []


def test_every_file_that_reads_the_whole_day_is_told() -> None:
    reads = re.compile(r"import .*\b(whole_day|day)\b")
    found = {
        str(path.relative_to(REPOSITORY))
        for path in Path(REPOSITORY, "tests").rglob("test_*.py")
        for line in path.read_text().splitlines()
        if line.startswith(("from tests.support.paths", "from tests.support.whatifs")) and reads.search(line)
    }
    assert found and found <= OF_THE_DAY
    assert all((REPOSITORY / name).exists() for name in OF_THE_DAY)
