"""The cases by their number."""

from collections.abc import Callable
from typing import NamedTuple


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
