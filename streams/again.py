"""Recompute one output: what a stage supplies for it, and how the stage runs on that.

``explain`` uses the recorded inputs. ``whatif`` uses other inputs and a state of its choice. Both run the
stage's own ``step`` or ``at_watermark``, so both read exactly what the fold reads.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US, Out, Row, Stage
from tapedeck.streams.sessions import Calendar, CalendarUnknown

Body = dict[str, Any]
DAY_US = 24 * 60 * MINUTE_US


class Begun(NamedTuple):
    """Rows of one key in processing order, and the state before the first of them."""

    state: bytes | None
    rows: Sequence[Row]


class Inputs(Protocol):
    """What a stage may ask about the record that is recomputed."""

    def named(self, topic: str, body: Body) -> list[Body]:
        """The events of ``topic`` that ``body`` names as its inputs, where they are still kept."""
        ...

    def rows(self, record_key: bytes, since: int | None) -> Begun:
        """The stage's input rows with ``record_key``, up to the one that caused the record.

        They start at ``since`` (UTC microseconds), or earlier where a named input is older. None means the
        start of the log.
        """
        ...


class Case(NamedTuple):
    """What a stage is rerun on: rows of one key, or the table at ``watermark``."""

    key: bytes = b""
    state: bytes | None = None
    rows: Sequence[Row] = ()
    watermark: int | None = None
    values: Mapping[bytes, bytes] = {}
    own: bytes | None = None


class Held(Protocol):
    """What the state contained for one record."""

    def text(self) -> str:
        """On one line."""
        ...

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        ...


class Again(NamedTuple):
    """``case``: what is needed to recompute a record; None if its inputs are no longer kept.

    ``held``: what the state contained for it, where that is worth showing.
    """

    case: Callable[[Stage, Config, Calendar, Body, Inputs], Case | None]
    held: Callable[[bytes, Body, Config], Held | None] | None = None


@dataclass
class _Table:
    own: bytes | None
    held: Mapping[bytes, bytes]

    def get(self, key: bytes) -> bytes | None:
        return self.held.get(key)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        yield from sorted((key, body) for key, body in self.held.items() if body)


class Given(NamedTuple):
    """What came out, and the state after it."""

    outs: Sequence[Out]
    state: bytes


def run(stage: Stage, case: Case) -> Given:
    """Run ``stage`` on ``case``."""
    if case.watermark is not None:
        step = stage.at_watermark(case.watermark, 0, _Table(case.own, case.values))
    else:
        step = stage.step(case.key, case.state, [row for row in case.rows if stage.key(row) == case.key])
    return Given(step.outs, step.state)


def session_open(calendar: Calendar, t: int, *, previous: bool = False) -> int:
    """The open of the session of ``t`` or of the one before it; days back where the calendar has none."""
    try:
        date = calendar.session_date(t)
        session = calendar.previous(date) if previous else calendar.session_on(date)
    except CalendarUnknown:
        session = None
    return session.open if session else t - (8 if previous else 1) * DAY_US
