"""The funnel: what enters each stage of a recorded run, what leaves it, and why the rest does not."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import Message, StageSpec
from tapedeck.streams.sessions import Calendar

Body = dict[str, Any]


class Records(Protocol):
    """One topic. ``entries`` is everything in log order, ``bodies`` each event_id once."""

    @property
    def entries(self) -> Sequence[tuple[Message, Body | None]]: ...
    @property
    def bodies(self) -> Mapping[str, Body]: ...
    @property
    def records(self) -> int: ...
    @property
    def unreadable(self) -> int: ...
    @property
    def repeats(self) -> int: ...


class Letter(Protocol):
    """A dead letter: which record, by whom, why. ``body`` is None if it cannot be decoded."""

    @property
    def topic(self) -> str: ...
    @property
    def stage(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def body(self) -> Body | None: ...


class Recorded(Protocol):
    """The topics of one run. ``signal_topics``: those whose signals its dispatchers routed."""

    @property
    def signal_topics(self) -> Sequence[str]: ...
    def __getitem__(self, name: str) -> Records: ...
    def bodies(self, name: str) -> list[Body]:
        """The distinct records of topic ``name``."""
        ...

    def refused(self) -> Sequence[Letter]:
        """The dead letters."""
        ...


class FunnelReason(StrEnum):
    """Reasons outside the stages' own enums: what became of a record on its way into or past a stage."""

    DUPLICATE = "DUPLICATE"
    UNREADABLE = "UNREADABLE"
    LATE = "LATE"
    REVISION_AUDITED = "REVISION_AUDITED"


@dataclass(frozen=True, kw_only=True)
class FunnelLine:
    """What entered one stage and left it, and why the rest ended there. ``account``: an account's stage only.

    ``balanced`` is False where units vanished or came from nowhere: ``unexplained`` is how many inputs are
    unaccounted for, negative where more came out than went in. ``adds_up`` is False where a stage does not
    say what it counts: inputs and outputs are then not of one kind.
    """

    stage: str
    unit: str
    taken: int
    given: int
    account: str | None = None
    reasons: Mapping[str, int] = field(default_factory=dict)
    adds_up: bool = True

    @property
    def unexplained(self) -> int:
        return self.taken - self.given - sum(self.reasons.values())

    @property
    def balanced(self) -> bool:
        return not self.adds_up or self.unexplained == 0

    @property
    def name(self) -> str:
        """The stage, with its account where it has one."""
        return self.stage if self.account is None else f"{self.stage} {self.account}"

    def top(self, n: int | None = None) -> list[tuple[str, int]]:
        """The ``n`` most frequent reasons, all of them without ``n``."""
        return Counter(self.reasons).most_common(n)


def lost_on_arrival(records: Records) -> Counter[str]:
    """Records of a topic that are not events of their own: repeats, and what cannot be decoded."""
    return Counter(
        {FunnelReason.DUPLICATE.value: records.repeats, FunnelReason.UNREADABLE.value: records.unreadable}
    )


def told(counts: Mapping[Any, int]) -> dict[str, int]:
    """Reasons by frequency, then name; zero counts are left out."""
    return dict(sorted(((str(k), n) for k, n in counts.items() if n), key=lambda pair: (-pair[1], pair[0])))


Reasons = Callable[[Recorded, Config, Calendar], dict[str, str]]


class Funnel(NamedTuple):
    """A stage's part of the funnel. ``lines``: one or more; for an account's stage, each once per account.
    ``dropped``: why a record of the trigger gave nothing, by its event_id, where the stage says so.
    ``by_minute``: the lines add up over any run of whole minutes, so the doctor checks the newest ones.
    """

    lines: Callable[[Recorded, Config, Calendar], Iterable[FunnelLine]]
    dropped: Reasons | None = None
    by_minute: bool = False


def refused_by(stage: str, name: str, recording: Recorded) -> dict[str, str]:
    """Reason by event_id of the records of topic ``name`` that ``stage`` wrote to dead letters."""
    return {
        each.body["event_id"]: each.reason
        for each in recording.refused()
        if (each.stage, each.topic) == (stage, name) and each.body is not None
    }


def source_line(name: str, recording: Recorded) -> FunnelLine:
    """The line of a source topic: it triggers a stage, and no stage writes it."""
    records = recording[name]
    lost = told(lost_on_arrival(records))
    return FunnelLine(
        stage=name, unit="record", taken=records.records, given=len(records.bodies), reasons=lost
    )


def plain_line(spec: StageSpec, recording: Recorded) -> FunnelLine:
    """The line of a stage that does not say what it counts: records in, distinct records out."""
    taken = recording[spec.trigger]
    reasons = lost_on_arrival(taken)
    reasons.update(refused_by(spec.name, spec.trigger, recording).values())
    return FunnelLine(
        stage=spec.name,
        unit="record",
        taken=taken.records,
        given=sum(len(recording[name].bodies) for name in spec.outputs),
        reasons=told(reasons),
        adds_up=False,
    )
