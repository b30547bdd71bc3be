"""T1 to T34: what others reported to have gone wrong, and what must happen here.

One row, one report. Each script makes the bad thing happen and asserts that it did. ``python -m
tests.support.reports`` prints the table.
"""

import pytest

from tests.support.reports.registry import Case, case
from tests.support.reports.table import every, table

CASES = every()


def test_every_report_has_its_row() -> None:
    assert [each.number for each in CASES] == list(range(1, 35))
    with pytest.raises(AssertionError, match="two cases T1"):
        case(1, "again")(lambda: None)


@pytest.mark.parametrize("reported", CASES, ids=[each.name for each in CASES])
def test_report(reported: Case) -> None:
    reported.run()


def test_the_table_has_a_line_for_each_case_and_says_which_failed() -> None:
    def fails() -> None:
        raise AssertionError("sold twice\nwith details")

    made = [Case(1, "nothing", lambda: None), Case(2, "it sells twice", fails)]
    assert table(made).splitlines()[2:] == [
        "| T1 | nothing | pass |", "| T2 | it sells twice | FAIL: sold twice |",
    ]  # fmt: skip
