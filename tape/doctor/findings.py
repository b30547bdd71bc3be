"""What a check says: one finding per thing that it looked at, and the order in which findings are told."""

from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding needs a person. UNKNOWN counts as red: what nobody knows is not well."""

    GREEN = "green"
    NOT_EXPECTED = "NOT_EXPECTED"
    AMBER = "amber"
    RED = "red"
    UNKNOWN = "unknown"

    @property
    def exit_code(self) -> int:
        """0 green, 1 amber, 2 red."""
        return _EXIT[self]

    @property
    def is_well(self) -> bool:
        return self.exit_code == 0


_EXIT = {
    Severity.GREEN: 0,
    Severity.NOT_EXPECTED: 0,
    Severity.AMBER: 1,
    Severity.RED: 2,
    Severity.UNKNOWN: 2,
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a check looked at.

    ``since``: UTC micros, None where it is not known. ``stage``: the first process or stage at fault, empty
    where none is. ``remedy``: the command that mends it. ``follows``: it is the consequence of another
    finding, and is told after those that may be causes.
    """

    check: str
    severity: Severity
    what: str
    since: int | None = None
    stage: str = ""
    remedy: str = ""
    follows: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """All findings, causes first. ``checks``: the names of the checks that were run."""

    checks: tuple[str, ...]
    findings: tuple[Finding, ...] = field(default=())

    @property
    def faults(self) -> tuple[Finding, ...]:
        """What is not well."""
        return tuple(each for each in self.findings if not each.severity.is_well)

    @property
    def exit_code(self) -> int:
        """0 green, 1 amber, 2 red."""
        return max((each.severity.exit_code for each in self.findings), default=Severity.UNKNOWN.exit_code)

    @property
    def headline(self) -> str:
        """The cause, or that all is green; computed from the findings, never assumed."""
        if self.faults:
            return in_words(self.faults[0])
        looked = {each.check for each in self.findings}
        if not self.checks or looked != {*self.checks}:
            return "unknown: not every check was run"
        idle = {
            name
            for name in looked
            if all(each.severity is Severity.NOT_EXPECTED for each in self.findings if each.check == name)
        }
        rest = f", {len(idle)} of them with nothing to expect now" if idle else ""
        return f"all green: {len(self.checks)} checks{rest}"


def in_words(finding: Finding) -> str:
    """One line: severity, check, what is wrong."""
    return f"{finding.severity} {finding.check}: {finding.what}"
