"""The contract between stages and the three drivers that run them.

A stage is a pure function of (key, state, batch). It never sees offsets, watermark records, clocks or
clients. If it needs something done outside, it returns an ``Out`` on ``REQUESTS``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
REQUESTS = "~requests"
WATERMARK_CAUSE = -1


class Row(NamedTuple):
    """One input record as a stage sees it. Times are UTC microseconds.

    ``log_minute`` is the label of the last watermark before the record in its own partition;
    ``now`` is that minute's end, or the time on the record for topics without watermarks.
    """

    topic: str
    key: bytes
    body: dict[str, Any]
    log_minute: int
    now: int


Batch = Sequence[Row]


class Out(NamedTuple):
    """One output. ``cause`` is the index of the row in the batch, or WATERMARK_CAUSE."""

    cause: int
    topic: str
    record_key: bytes
    event_id: str
    body: dict[str, Any]


class Message(NamedTuple):
    """One log record as a driver passes it on: ``topic`` is the catalogue's name, ``timestamp`` in ms.

    Keys, values and header values may be null, and a header name may repeat.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class Drop(NamedTuple):
    """An input without an output, with the stage's reason: what the funnel counts.

    For an input that goes to ``dead_letters``, ``detail`` says which rule it broke and with which value, and
    ``remedy`` what to do about it.
    """

    cause: int
    reason: str
    detail: str = ""
    remedy: str = "correct it at its source and write it again with a higher revision"


Scale = Literal["partition", "single"]


class Step(NamedTuple):
    """The result of a step: the new state, the outputs in causal order, the drops."""

    state: bytes
    outs: list[Out]
    drops: list[Drop]


class Stage(Protocol):
    """A pure stage. ``state`` is None for a new key.

    ``at_watermark`` runs only where the spec's ``period`` is set. Drops whose reason is in
    ``dead_letter_reasons`` go to ``dead_letters`` with the input's bytes.
    """

    dead_letter_reasons: frozenset[str]

    def key(self, row: Row) -> bytes:
        """The state key of one input row."""
        ...

    def step(self, key: bytes, state: bytes | None, batch: Batch) -> Step:
        """Fold the rows of one key, in log order."""
        ...

    def at_watermark(self, watermark: int, part: int, values: "Values") -> Step:
        """Called when every source partition has reached ``watermark``; writes only ``part``'s own value."""
        ...


class Values(Protocol):
    """What a period step reads: its own value and every other key's state body."""

    own: bytes | None

    def get(self, key: bytes) -> bytes | None:
        """The body of one key of the task's own table partition."""
        ...

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """(key, body) of every key, in key order."""
        ...


class Join(NamedTuple):
    """An input besides the trigger. An ``optional`` one may be declared absent minute by minute."""

    topic: str
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """One stage of the topology, as data.

    ``folder``: the package of its code, which exports ``definition.DEFINITION``. ``per_account``: one task
    per configured account, run by the account's dispatcher.
    """

    name: str
    folder: str = ""
    trigger: str
    joins: tuple[Join, ...] = ()
    outputs: tuple[str, ...]
    scale: Scale = "partition"
    period: int | None = None
    per_account: bool = False
    doc: str

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.trigger, *(join.topic for join in self.joins))

    @property
    def changelog(self) -> str:
        return f"{self.name}.changelog"
