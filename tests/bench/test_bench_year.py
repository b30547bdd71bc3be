"""The month's bench on a single session: every row is there, and what was written is verified as equal."""

from pathlib import Path

import pytest

from tapedeck.schemas.errors import Fatal
from tests.bench import bench_year
from tests.conftest import Broker


@pytest.mark.integration
@pytest.mark.long
def test_a_session_is_written_and_verified(kafka: Broker) -> None:
    table = bench_year.measure(kafka.bootstrap, sessions=1, workers=(1,))
    assert "1 sessions of 28 symbols" in table.title
    assert len(table.rows) == 4 + 2 * 3, str(table)
    assert all(row.value > 0 for row in table.rows), str(table)
    assert not any(row.aim for row in table.rows if row.unit == "s"), "the aims are for a year"


def test_a_command_that_fails_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="the reason"):
        bench_year.used_by(["sh", "-c", "echo the reason; exit 3"], tmp_path, {})
