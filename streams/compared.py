"""What a what-if compares: a stage's decision about each bar, and one decided alone on other inputs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Decides:
    """The decisions of a stage, and what it takes to decide one bar alone.

    ``topic`` holds the decisions; ``listed`` is the join that says which symbols are on the list. ``ints``
    and ``floats``: the fields of the trigger's records that a decision is made of. ``laid`` makes such a
    record of (feed, symbol, t) and those fields; ``place`` one of ``listed`` of its time and whether the
    symbol is on the list; ``state_on`` the state of a symbol of its newest bar with a signal, in UTC
    microseconds, and of the date of its last signal of the strategy ``once_a_day``.
    """

    topic: str
    listed: str
    ints: tuple[str, ...]
    floats: tuple[str, ...]
    once_a_day: str
    laid: Callable[[str, str, int, Body], Body]
    place: Callable[[int, bool], Body]
    state_on: Callable[[int | None, int | None], bytes]
