"""A check: a name, what it holds a pipeline to, the first three steps, and a function of the snapshot."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypedDict, Unpack

from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.tape.doctor.findings import Finding, Severity
from tapedeck.tape.doctor.snapshot import Section, Snapshot

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SOON = 120
_LATER = 7_200
_DAYS = 172_800


@dataclass(frozen=True, kw_only=True)
class Check:
    """``rule``: what is green, what is amber and red, in one line. ``needs``: what must have been read.

    ``steps``: the first three that a person takes. ``look`` says at least one thing, green ones included.
    """

    name: str
    rule: str
    steps: tuple[str, str, str]
    look: Callable[[Snapshot], Iterable[Finding]]
    needs: tuple[Section, ...] = ()

    def run(self, snapshot: Snapshot) -> list[Finding]:
        """What it finds. What could not be read is unknown, and so is a check that looked at nothing."""
        for section in self.needs:
            if (fault := snapshot.unread.get(section)) is not None:
                what = f"{section} could not be read: {fault.what}"
                return [replace(unknown(what, remedy=fault.remedy, follows=True), check=self.name)]
        found = [replace(each, check=self.name) for each in self.look(snapshot)]
        return found or [replace(unknown("the check looked at nothing"), check=self.name)]


class More(TypedDict, total=False):
    """The optional parts of a finding."""

    since: int | None
    stage: str
    remedy: str
    follows: bool


def green(what: str) -> Finding:
    """It is well."""
    return Finding(check="", severity=Severity.GREEN, what=what)


def idle(what: str) -> Finding:
    """Nothing is expected now."""
    return Finding(check="", severity=Severity.NOT_EXPECTED, what=what)


def amber(what: str, **more: Unpack[More]) -> Finding:
    """It needs a person soon."""
    return Finding(check="", severity=Severity.AMBER, what=what, **more)


def red(what: str, **more: Unpack[More]) -> Finding:
    """It needs a person now."""
    return Finding(check="", severity=Severity.RED, what=what, **more)


def unknown(what: str, **more: Unpack[More]) -> Finding:
    """It is not known, which is as bad as red."""
    return Finding(check="", severity=Severity.UNKNOWN, what=what, **more)


def graded(value: float, limit: float, what: str, **more: Unpack[More]) -> Finding:
    """Green up to ``limit``, amber to twice as much, red above."""
    if value <= limit:
        return green(what)
    return amber(what, **more) if value <= 2 * limit else red(what, **more)


def lasting(micros: int) -> str:
    """``70 s``, ``12 min``, ``5 h``, ``3 d``."""
    seconds = max(0, micros // SECOND_US)
    if seconds < _SOON:
        return f"{seconds} s"
    if seconds < _LATER:
        return f"{seconds * SECOND_US // MINUTE_US} min"
    return f"{seconds // 3600} h" if seconds < _DAYS else f"{seconds // 86_400} d"


def clock(micros: int) -> str:
    """``2026-02-17 14:30:00 UTC``."""
    return (_EPOCH + timedelta(microseconds=micros)).strftime("%Y-%m-%d %H:%M:%S UTC")


def some(names: Iterable[object], most: int = 5) -> str:
    """The first few, and how many more."""
    listed = [str(each) for each in names]
    more = len(listed) - most
    return ", ".join(listed[:most]) + (f" and {more} more" if more > 0 else "")
