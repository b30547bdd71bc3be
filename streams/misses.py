"""How far an input was from passing: the value that stopped it, its threshold, and the gap between them.

Values come from the recorded bodies and thresholds from the configuration; nothing is decided here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

Body = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Miss:
    """``name`` is ``value`` where ``limit`` was needed. It misses by ``gap`` in ``unit``, on ``side``."""

    name: str
    value: float
    limit: float
    side: str
    unit: str = ""

    @property
    def gap(self) -> float:
        return abs(self.value - self.limit)

    @property
    def share(self) -> float:
        """The gap as a share of the limit, by which misses of one reason are compared."""
        return self.gap / (abs(self.limit) or 1.0)

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        bound = "needs" if self.value < self.limit else "limit"
        return (
            f"{self.name} is {_shown(self.value)}{unit}, {bound} {_shown(self.limit)}{unit}: "
            f"{_shown(self.gap)}{unit} {self.side}"
        )


def _shown(value: float) -> str:
    return number(round(value, 6))


def over(name: str, value: float | None, limit: float, side: str, unit: str = "") -> Miss | None:
    """The miss of ``value``; None if it is unknown."""
    return None if value is None else Miss(name=name, value=value, limit=limit, side=side, unit=unit)


def number(value: Any) -> str:
    """A number without trailing zeros; a dash for none."""
    if value is None:
        return "-"
    text = f"{value:f}" if not isinstance(value, float | int) else f"{value:.10g}"
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


class Judged(NamedTuple):
    """The record that gave a reason, and by topic what it was made from: the newest earlier record of each,
    where it is kept."""

    record: Body
    beside: Mapping[str, Body | None]
