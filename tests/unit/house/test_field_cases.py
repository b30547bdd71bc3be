"""Each case of the field's reports that concerns us has a test that is named after it."""

import re

import pytest

from tests.support.cases import REPOSITORY

NOT_OURS = {"D15": "trades are not subscribed", "D26": "our data server has a clock of its own"}
OURS = [f"D{n}" for n in range(1, 27) if f"D{n}" not in NOT_OURS] + [f"F{n}" for n in range(1, 11)]
_NAME = re.compile(r"def test_FLD_((?:[DF]\d+_)+)")


def named() -> set[str]:
    """The cases in the names of tests."""
    return {
        case
        for file in sorted((REPOSITORY / "tests").rglob("test_*.py"))
        for cases in _NAME.findall(file.read_text())
        for case in cases.strip("_").split("_")
    }


@pytest.mark.parametrize("case", OURS)
def test_a_case_of_the_field_has_a_test_of_its_name(case: str) -> None:
    assert case in named()


def test_no_test_is_named_after_a_case_that_is_not_ours_or_not_there() -> None:
    assert named() <= set(OURS)


def test_what_is_not_ours_is_said_where_the_scenarios_are_described() -> None:
    told = (REPOSITORY / "docs" / "exchange.md").read_text()
    assert all(case in told for case in NOT_OURS)
