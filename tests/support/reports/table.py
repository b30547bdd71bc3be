"""All cases in order, and the table of how they end."""

from collections.abc import Iterable

from tests.support.reports import books, cancels, ends, fills, lists
from tests.support.reports.registry import CASES, Case

GROUPS = (cancels, fills, lists, books, ends)


def every() -> list[Case]:
    """The cases of all groups, by number."""
    assert all(group.__doc__ for group in GROUPS)
    return [CASES[number] for number in sorted(CASES)]


def table(cases: Iterable[Case]) -> str:
    """Run the cases; a line for each with its number, what happened, and pass or fail."""
    lines = ["| # | what happened | result |", "| --- | --- | --- |"]
    for each in cases:
        try:
            each.run()
            result = "pass"
        except AssertionError as error:
            result = f"FAIL: {(str(error) or 'see the test').splitlines()[0]}"
        lines.append(f"| {each.name} | {each.what} | {result} |")
    return "\n".join(lines)
