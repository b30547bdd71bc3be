"""The difference between what was decided and what would have been: what ``tape whatif`` finds."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from tapedeck.schemas.readable import iso_time
from tapedeck.tape.whatif.changes import Change
from tapedeck.tape.whatif.outcomes import Kind, Outcome, kind_of


class Part(StrEnum):
    """Where decisions are made, in order of dependence."""

    WATCHLIST = "WATCHLIST"
    DECISION = "DECISION"
    PROPOSAL = "PROPOSAL"


class Standing(StrEnum):
    """How a difference arose.

    DIRECT: a changed parameter alone, on the recorded state. CONSEQUENCE: only because an earlier difference
    changed the state. UNEXPLAINED: neither; the recording differs from what its own configuration gives.
    """

    DIRECT = "DIRECT"
    CONSEQUENCE = "CONSEQUENCE"
    UNEXPLAINED = "UNEXPLAINED"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One decision that differs. ``at``: UTC microseconds. ``subject``: feed, or the signal's id.

    ``causes``: parameters each of which causes it alone; several that are needed together are one, joined by
    " + ". A consequence has none and ``follows`` another difference; ``needs`` are the parameters that it
    also requires, such as a longer cooldown after an added signal.
    """

    part: Part
    at: int
    symbol: str
    subject: str = ""
    account: str | None = None
    was: Outcome | None
    now: Outcome | None
    causes: tuple[str, ...] = ()
    follows: "Difference | None" = None
    needs: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        return kind_of(self.was, self.now)

    @property
    def standing(self) -> Standing:
        if self.causes:
            return Standing.DIRECT
        return Standing.CONSEQUENCE if self.follows else Standing.UNEXPLAINED

    @property
    def root(self) -> "Difference":
        """The first difference in the chain that led to this one; itself if it follows none."""
        return self.follows.root if self.follows else self

    @property
    def parameters(self) -> tuple[str, ...]:
        """What caused it, or the difference that it follows, and what else it needs."""
        return self.causes or tuple(dict.fromkeys([*self.root.causes, *self.needs]))

    def as_dict(self) -> dict[str, Any]:
        """The difference as JSON."""
        after = self.follows
        return {
            "part": self.part.value,
            "kind": self.kind.value,
            "standing": self.standing.value,
            "time": iso_time(self.at),
            "symbol": self.symbol,
            "account": self.account,
            "subject": self.subject,
            "was": _fields(self.was),
            "now": _fields(self.now),
            "causes": list(self.causes),
            "parameters": list(self.parameters),
            "follows": after and {"part": after.part, "symbol": after.symbol, "time": iso_time(after.at)},
        }


def _fields(outcome: Outcome | None) -> dict[str, Any] | None:
    if outcome is None:
        return None
    return {name: _plain(value) for name, value in outcome._asdict().items()}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return [list(each) for each in value] if isinstance(value, tuple) else str(value)


@dataclass(frozen=True, kw_only=True)
class Unpriced:
    """A signal that the changed configuration adds for one account: the tape has no answers to price it."""

    account: str
    symbol: str
    at: int
    outcome: Outcome
    quote: str | None

    def as_dict(self) -> dict[str, Any]:
        """The signal as JSON."""
        whole = {"account": self.account, "symbol": self.symbol, "time": iso_time(self.at)}
        return whole | {"signal": _fields(self.outcome), "stock_quote": self.quote}


@dataclass(frozen=True, kw_only=True)
class Diff:
    """What another configuration would have decided in a window. Times are UTC microseconds, end exclusive.

    ``compared``: how many recorded decisions of each part were compared with the new ones.
    """

    since: int
    until: int
    base_digest: str
    changed_digest: str
    changes: tuple[Change, ...]
    compared: dict[Part, int]
    acted: dict[Part, int]
    differences: tuple[Difference, ...]
    unpriced: tuple[Unpriced, ...]
    notes: tuple[str, ...]

    def of(self, part: Part, standing: Standing | None = None) -> list[Difference]:
        """The differences of one part."""
        mine = (each for each in self.differences if each.part is part)
        return [each for each in mine if standing is None or each.standing is standing]

    @cached_property
    def counts(self) -> Counter[tuple[Part, Kind, Standing]]:
        """How many differences of each standing."""
        return Counter((each.part, each.kind, each.standing) for each in self.differences)

    @property
    def by_parameter(self) -> list[tuple[str, int, int]]:
        """(parameter, direct differences, consequences), most first."""
        direct = _named(self.differences, Standing.DIRECT)
        after = _named(self.differences, Standing.CONSEQUENCE)
        names = sorted(direct | after, key=lambda name: (-direct[name] - after[name], name))
        return [(name, direct[name], after[name]) for name in names]

    def as_dict(self) -> dict[str, Any]:
        """The diff as JSON."""
        return {
            "from": iso_time(self.since),
            "to": iso_time(self.until),
            "recorded_config": self.base_digest,
            "changed_config": self.changed_digest,
            "changes": [str(change) for change in self.changes],
            "compared": {part.value: count for part, count in self.compared.items()},
            "differences": [each.as_dict() for each in self.differences],
            "unpriced": [each.as_dict() for each in self.unpriced],
            "notes": list(self.notes),
        }


def _named(differences: Iterable[Difference], standing: Standing) -> Counter[str]:
    return Counter(name for each in differences if each.standing is standing for name in each.parameters)
