"""What a what-if compares: a stage's decision on each bar, and one bar decided alone on other inputs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Decides:
    """The decisions of a stage, and how to decide one bar alone.

    ``topic`` holds the decisions; ``listed`` is the join that tells which symbols are on the list. ``ints``
    and ``floats``: the fields of the trigger's records that a decision depends on. ``laid`` builds such a
    record from (feed, symbol, t) and those fields. ``place`` builds a record of ``listed`` from its time and
    whether the symbol is on the list. ``state_on`` builds the state of a symbol from its newest bar with a
    signal, in UTC microseconds, and the date of its last signal of the strategy ``once_a_day``.
    """

    topic: str
    listed: str
    ints: tuple[str, ...]
    floats: tuple[str, ...]
    once_a_day: str
    laid: Callable[[str, str, int, Body], Body]
    place: Callable[[int, bool], Body]
    state_on: Callable[[int | None, int | None], bytes]
