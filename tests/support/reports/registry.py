"""The cases by their number, and the table of how they ended."""

import importlib
from collections.abc import Callable
from typing import NamedTuple

GROUPS = ("cancels", "fills", "lists", "books", "ends")


class Case(NamedTuple):
    """One report: its number, what happened in it, and the script that holds us to the right behaviour."""

    number: int
    what: str
    run: Callable[[], None]

    @property
    def name(self) -> str:
        return f"T{self.number}"


CASES: dict[int, Case] = {}


def case(number: int, what: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register a script as the case ``number``."""

    def register(run: Callable[[], None]) -> Callable[[], None]:
        assert number not in CASES, f"two cases T{number}"
        CASES[number] = Case(number, what, run)
        return run

    return register


def load() -> list[Case]:
    """Every case, by number."""
    for group in GROUPS:
        importlib.import_module(f"tests.support.reports.{group}")
    return [CASES[number] for number in sorted(CASES)]


def table() -> str:
    """Run every case; a line for each with its number, what happened, and pass or fail."""
    lines = ["| # | what happened | result |", "| --- | --- | --- |"]
    for each in load():
        try:
            each.run()
            result = "pass"
        except AssertionError as error:
            result = f"FAIL: {str(error).splitlines()[0] if str(error) else 'see the test'}"
        lines.append(f"| {each.name} | {each.what} | {result} |")
    return "\n".join(lines)
