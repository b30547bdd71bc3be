"""How one output is computed again: what a stage says of it, and running the stage on that.

``explain`` asks with the recording, ``whatif`` with other inputs and a state of its own choice: both run the
stage's own ``step`` or ``at_watermark``, so that what the fold reads is read by both.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from tapedeck.streams.config.document import Config
from tapedeck.streams.contract import MINUTE_US, Out, Row, Stage
from tapedeck.streams.sessions import Calendar, CalendarUnknown

Body = dict[str, Any]
DAY_US = 24 * 60 * MINUTE_US


class Begun(NamedTuple):
    """Rows of one key in the order of processing, and the state before the first of them."""

    state: bytes | None
    rows: Sequence[Row]


class Inputs(Protocol):
    """What a stage may ask of the record that is computed again."""

    def named(self, topic: str, body: Body) -> list[Body]:
        """The events of ``topic`` that ``body`` names as its inputs, as far as they are kept."""
        ...

    def rows(self, record_key: bytes, since: int | None) -> Begun:
        """The stage's input rows with ``record_key`` up to the one that caused the record.

        They begin at ``since``, UTC microseconds, or earlier where a named input is older; None is the log's
        beginning.
        """
        ...


class Case(NamedTuple):
    """What a stage runs on once more: rows of one key, or the table at ``watermark``."""

    key: bytes = b""
    state: bytes | None = None
    rows: Sequence[Row] = ()
    watermark: int | None = None
    values: Mapping[bytes, bytes] = {}
    own: bytes | None = None


class Held(Protocol):
    """What a state held for one record."""

    def text(self) -> str:
        """In one line."""
        ...

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        ...


class Again(NamedTuple):
    """``case``: what a record needs to be computed again; None where its inputs are not kept.

    ``held`` tells what the state held for it, where that is worth showing.
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
        yield from sorted(self.held.items())


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
    """Where the session of ``t`` opens, or the one before it; days back where the calendar has none."""
    try:
        date = calendar.session_date(t)
        session = calendar.previous(date) if previous else calendar.session_on(date)
    except CalendarUnknown:
        session = None
    return session.open if session else t - (8 if previous else 1) * DAY_US
