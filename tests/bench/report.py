"""What every bench gives back: figures in a table, with their aim and what must be known to read them."""

import math
import os
from collections.abc import Sequence
from typing import NamedTuple

BUSY = 0.7
"""Load average above which figures of this machine are noisy."""


class Row(NamedTuple):
    """One figure, NaN for none. ``aim`` is in words; ``met`` is None where there is no aim to meet."""

    name: str
    value: float
    unit: str
    aim: str = ""
    met: bool | None = None
    note: str = ""


class Table(NamedTuple):
    """The rows of one bench. ``notes`` say how it was measured."""

    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        width = max(len(row.name) for row in self.rows)
        lines = [self.title, *(_line(row, width) for row in self.rows), *(f"  {note}" for note in self.notes)]
        return "\n".join(lines)


def _line(row: Row, width: int) -> str:
    verdict = {True: ", met", False: ", MISSED", None: ""}[row.met]
    aim = f"aim {row.aim}{verdict}" if row.aim else ""
    remarks = "; ".join(each for each in (aim, row.note) if each)
    return f"  {row.name:{width}} {_number(row.value):>10} {row.unit:<13} {remarks}".rstrip()


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.1f}" if abs(value) >= 10 else f"{value:.2f}"


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; ``share`` in [0, 1]. Raises ValueError without values."""
    if not values:
        raise ValueError("there are no values to rank")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def machine() -> str:
    """Cores and load of this machine, with a warning where other work will be in the figures."""
    load = os.getloadavg()[0]
    line = f"machine: {os.cpu_count()} cores, load average {load:.2f} at the start"
    return f"{line}: other work runs here, figures are noisy" if load > BUSY else line
