"""What a stage brings beside its place in the topology: the one value that its folder exports.

``definition.py`` of a stage's folder holds ``DEFINITION``. It is imported when a driver or a tool needs the
stage's code; the topology itself is light.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from tapedeck.streams.again import Again
from tapedeck.streams.compared import Decides
from tapedeck.streams.config.document import Config
from tapedeck.streams.funnel import Funnel
from tapedeck.streams.protocol import Stage
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.telling import Telling
from tapedeck.streams.trail import Trail

if TYPE_CHECKING:
    from tapedeck.streams.columnar.job import Job, Result

S = TypeVar("S", bound=Stage)
Make = Callable[[Config, Calendar, str | None], Stage]
"""Makes the stage under a configuration; the account's id where it has one task per account."""
NOWHERE = ""
"""Where reasons are stored that no record states."""


class Reasons(NamedTuple):
    """One enum of reasons: each in words, and where it is stored. ``part`` names a part of the stage."""

    enum: type[StrEnum]
    words: Mapping[StrEnum, str]
    stored: str
    part: str = ""


class Columnar(NamedTuple):
    """A fold over whole record batches for the rebuild driver, and the topics that it reads."""

    run: "Callable[[Stage, Job], Result]"
    reads: tuple[str, ...]


class Fold(Protocol):
    """One task of a rebuild over columns, made of its stage and its job."""

    def run(self) -> "Result":
        """Fold the whole job."""
        ...


def columnar(stage: type[S], fold: "Callable[[S, Job], Fold]", *reads: str) -> Columnar:
    """The columnar fold of a stage of class ``stage``, which reads topics ``reads``."""

    def run(made: Stage, job: "Job") -> "Result":
        assert isinstance(made, stage)
        return fold(made, job).run()

    return Columnar(run, reads)


def of_market(stage: Callable[[Config, Calendar], Stage]) -> Make:
    """Makes a stage that is of no account."""
    return lambda config, calendar, account_id: stage(config, calendar)


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A stage's code. ``reads``: the topics whose records ``step`` handles, the trigger first.

    ``state_version`` is the format of its state; ``difference`` names where two bodies of one length differ,
    for a state that is not JSON. ``groups``: the groups of the configuration that it reads. ``told``: its
    outputs in words, and the sources that it reads. ``trail``: where minutes end in it. ``decides``: what a
    what-if compares, of the stage that decides. Without ``columnar`` the rebuild driver runs ``step``.
    """

    make: Make
    reads: tuple[str, ...]
    state_version: int
    difference: Callable[[bytes, bytes], str] | None = None
    groups: tuple[str, ...] = ()
    reasons: tuple[Reasons, ...] = ()
    again: Again | None = None
    told: Telling = field(default_factory=dict)
    funnel: Funnel | None = None
    trail: Trail | None = None
    decides: Decides | None = None
    columnar: Columnar | None = None
