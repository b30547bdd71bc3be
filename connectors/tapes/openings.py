"""Decides which optional inputs are absent, minute by minute, and writes the openings that say so.

An input whose own watermark has reached the minute is there. Any other input is waited for until its
watermark has not moved for ``absent_after_s``. Then it is declared absent, at once for each further minute,
until its watermark moves again.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tapedeck.connectors.kafka.log import LogWriter
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import MINUTE_US

ABSENT_AFTER_S = 30.0
BEHIND_US = 2 * MINUTE_US
"""How far behind the sources an input is at the start that a process does not wait for: see ``since``."""
_PAUSE_S = 0.25
"""The longest pause between two looks at what is missing."""

LastOpenings = Mapping[Part, tuple[str, ...] | None]
"""(topic, partition) to the names in the opening of its last watermark; None if that has none."""


def _never_opened() -> LastOpenings:
    return {}


class OptionalInputs(NamedTuple):
    """The topics that a stage joins optionally.

    ``last_label``: the label that every partition of a topic has reached, None before the first; it is asked
    often. ``last_openings``: the last openings of the sources' partitions. ``absent_after_s`` in seconds.
    ``pause`` returns when one of them may have moved, and after so many seconds at the latest.
    """

    names: tuple[str, ...]
    last_label: Callable[[str], int | None]
    last_openings: Callable[[], LastOpenings] = _never_opened
    absent_after_s: float = ABSENT_AFTER_S
    pause: Callable[[float], None] = time.sleep


@dataclass
class _Seen:
    """One input: the last label seen, and when it last moved."""

    label: int | None
    moved_at: float
    silent: bool = False


class Openings:
    """Writes opening(m) into the partitions of ``sources``, once their watermark(m) is acknowledged.

    Silence counts from the creation of this object; an input that is behind ``since`` then counts as silent
    until it moves.
    """

    def __init__(
        self,
        inputs: OptionalInputs,
        sources: tuple[str, ...],
        writer: LogWriter,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        since: int | None = None,
    ) -> None:
        self._inputs, self._sources, self._writer = inputs, sources, writer
        self._monotonic = monotonic
        self._seen = {name: self._first(name, since) for name in inputs.names}
        self._told: dict[int, tuple[str, ...]] = {}

    def _first(self, name: str, since: int | None) -> _Seen:
        """What is known of an input at the start: one that is behind ``since`` is not waited for."""
        label = None if since is None else self._inputs.last_label(name)
        is_silent = since is not None and (label is None or label < since)
        return _Seen(label if is_silent else None, self._monotonic(), is_silent)

    @property
    def absent(self) -> tuple[str, ...]:
        """The inputs that the last opening names."""
        return self._told[max(self._told)] if self._told else ()

    def open(self, label: int) -> None:
        """Write opening(label) into every partition and wait until it is acknowledged."""
        absent = self._absent_in(label)
        for name in self._sources:
            self._writer.opening(name, label, absent)
        self._writer.flush()

    def complete(self, last_watermarks: Mapping[Part, int | None]) -> None:
        """Write openings that a crash left out, before anything else is written after their watermarks.

        If some partitions have the opening, the others get the same one.
        """
        opened = self._inputs.last_openings()
        for part, names in opened.items():
            label = last_watermarks.get(part)
            if label is not None and names is not None:
                self._told[label] = tuple(sorted({*self._told.get(label, ()), *names}))
        ends = sorted((label, part) for part, label in last_watermarks.items() if label is not None)
        for label, part in ends:
            if opened.get(part) is None:
                self._writer.opening(part[0], label, self._absent_in(label), (part[1],))
        self._writer.flush()

    def _absent_in(self, label: int) -> tuple[str, ...]:
        """The absent inputs; a decision made for a minute stays."""
        if label not in self._told:
            while any(not self._seen[name].silent for name in self._behind(label)):
                self._inputs.pause(_PAUSE_S)
            self._told = {label: tuple(sorted(self._behind(label)))}
        return self._told[label]

    def _behind(self, label: int) -> list[str]:
        return [name for name in self._inputs.names if not self._has_reached(name, label)]

    def _has_reached(self, name: str, label: int) -> bool:
        """Check one input."""
        seen, now, reached = self._seen[name], self._monotonic(), self._inputs.last_label(name)
        if reached is not None and (seen.label is None or reached > seen.label):
            seen.label, seen.moved_at, seen.silent = reached, now, False
        elif now - seen.moved_at >= self._inputs.absent_after_s:
            seen.silent = True
        return seen.label is not None and seen.label >= label
