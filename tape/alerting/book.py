"""Which notices are due to one sink. Pure: no I/O, no clock.

An alert is everything that one check finds at one stage. A sink is told of it once; again when it gets worse,
or after a set time while it is red; and when it is over. A notice counts only once its sink has taken it, so
what could not be delivered is due again at the next look.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256

from tapedeck.connectors.alerts.notice import Kind, Notice
from tapedeck.connectors.state_file import typed
from tapedeck.tape.doctor.findings import Diagnosis, Finding, Severity

Key = tuple[str, str]
"""Check and stage."""
_ID_CHARACTERS = 32


@dataclass(frozen=True, kw_only=True)
class OpenAlert:
    """What a sink was told last of an alert. ``code`` and ``number``: the worst so far, see ``Severity``.

    ``since``: when it began or was first seen; ``told``: the time of the last notice. UTC micros.
    """

    since: int
    told: int
    code: int
    number: int
    what: str
    opened: int


@dataclass(frozen=True)
class Book:
    """The open alerts of one sink."""

    open: Mapping[Key, OpenAlert] = field(default_factory=dict)

    def due(self, found: Diagnosis, now: int, *, repeat_us: int, pipeline: str) -> list[Notice]:
        """What the sink has not been told: causes first, recoveries last. ``repeat_us``: 0 for never.

        What only follows from a cause that is as bad waits until the cause is mended.
        """
        notices = []
        groups = _groups(found)
        worst = max((each.severity.exit_code for each in found.faults if not each.follows), default=0)
        for key, faults in groups.items():
            code = max(each.severity.exit_code for each in faults)
            kind = self._kind(self.open.get(key), code, len(faults), now, repeat_us)
            if kind is None or (code <= worst and all(each.follows for each in faults)):
                continue
            notices.append(self._notice(kind, key, faults, now, pipeline))
        known = _known(found)
        for key, alert in self.open.items():
            if key not in groups and key[0] in known:
                notices.append(self._recovery(key, alert, now, pipeline))
        return notices

    def told(self, notice: Notice, found: Diagnosis) -> "Book":
        """The book after the sink took ``notice``, which was due for ``found``."""
        key = (notice.check, notice.stage)
        left = {each: alert for each, alert in self.open.items() if each != key}
        if notice.kind is Kind.RECOVERY:
            return Book(left)
        faults, before = _groups(found)[key], self.open.get(key)
        code = max(each.severity.exit_code for each in faults)
        alert = OpenAlert(
            since=notice.since,
            told=notice.at,
            code=max(code, before.code if before else 0),
            number=max(len(faults), before.number if before else 0),
            what=notice.what,
            opened=before.opened if before else notice.at,
        )
        return Book({**left, key: alert})

    @staticmethod
    def _kind(before: OpenAlert | None, code: int, number: int, now: int, repeat_us: int) -> Kind | None:
        if before is None:
            return Kind.ALERT
        if code > before.code or (code == before.code and number > before.number):
            return Kind.WORSE
        is_red = code == Severity.RED.exit_code
        # A clock that was set back must not silence an alert for as long.
        waited = now - before.told >= repeat_us or now < before.told
        return Kind.REPEAT if repeat_us and is_red and waited else None

    def _notice(self, kind: Kind, key: Key, faults: list[Finding], now: int, pipeline: str) -> Notice:
        first = max(faults, key=lambda each: each.severity.exit_code)
        before = self.open.get(key)
        since = before.since if before else min(now, first.since if first.since is not None else now)
        opened = before.opened if before else now
        return Notice(
            id=_id(pipeline, *key, str(opened), kind, str(now)),
            alert=_id(pipeline, *key, str(opened)),
            kind=kind,
            severity=str(first.severity),
            check=key[0],
            stage=key[1],
            what=first.what,
            since=since,
            at=now,
            remedy=first.remedy,
            pipeline=pipeline,
            more=len(faults) - 1,
        )

    def _recovery(self, key: Key, alert: OpenAlert, now: int, pipeline: str) -> Notice:
        opened = str(alert.opened)
        return Notice(
            id=_id(pipeline, *key, opened, Kind.RECOVERY),
            alert=_id(pipeline, *key, opened),
            kind=Kind.RECOVERY,
            severity=str(Severity.GREEN),
            check=key[0],
            stage=key[1],
            what=alert.what,
            since=alert.since,
            at=now,
            pipeline=pipeline,
        )


def _groups(found: Diagnosis) -> dict[Key, list[Finding]]:
    groups: dict[Key, list[Finding]] = {}
    for each in found.faults:
        groups.setdefault((each.check, each.stage), []).append(each)
    return groups


def _known(found: Diagnosis) -> set[str]:
    """The checks that know what they looked at: where something is unknown, nothing is over."""
    return {*found.checks} - {each.check for each in found.findings if each.severity is Severity.UNKNOWN}


def _id(*parts: str) -> str:
    return sha256("\0".join(parts).encode()).hexdigest()[:_ID_CHARACTERS]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a sink takes no notices, and since when, UTC micros."""

    what: str
    remedy: str
    since: int


@dataclass(frozen=True, kw_only=True)
class SinkState:
    """What is kept of one sink between looks and over restarts."""

    book: Book = field(default_factory=Book)
    failure: Failure | None = None

    def failed(self, what: str, remedy: str, now: int) -> "SinkState":
        """It took nothing; the time of the first failure stays."""
        since = self.failure.since if self.failure else now
        return replace(self, failure=Failure(what=what, remedy=remedy, since=since))


def worked(name: str, failure: Failure, now: int, pipeline: str) -> Notice:
    """What a sink is told first after it failed: that it works again, and what it missed. It is the probe."""
    opened = str(failure.since)
    return Notice(
        id=_id(pipeline, name, opened, Kind.RECOVERY),
        alert=_id(pipeline, name, opened),
        kind=Kind.RECOVERY,
        severity=str(Severity.GREEN),
        check="alerts",
        stage=name,
        what=f"this sink took no alarms: {failure.what}",
        since=failure.since,
        at=now,
        pipeline=pipeline,
    )


def to_rows(states: Mapping[str, SinkState]) -> dict[str, object]:
    """For the state file."""
    return {
        name: {
            "failure": None if each.failure is None else vars(each.failure),
            "open": [{"check": c, "stage": s, **vars(alert)} for (c, s), alert in each.book.open.items()],
        }
        for name, each in states.items()
    }


def from_rows(rows: Mapping[str, object]) -> dict[str, SinkState]:
    """The inverse. Raises TypeError, ValueError or KeyError for rows that are none."""
    return dict(_states(rows))


def _states(rows: Mapping[str, object]) -> Iterator[tuple[str, SinkState]]:
    for name, row in rows.items():
        if not isinstance(row, dict):
            raise TypeError(f"{name} is no object")
        alerts: Iterable[dict[str, object]] = row["open"]
        book = Book(
            {(str(each.pop("check")), str(each.pop("stage"))): _alert(each) for each in map(dict, alerts)}
        )
        failure = row["failure"]
        yield name, SinkState(book=book, failure=None if failure is None else _failure(failure))


_ALERT_KINDS = {"since": int, "told": int, "code": int, "number": int, "what": str, "opened": int}
_FAILURE_KINDS = {"what": str, "remedy": str, "since": int}


def _alert(row: Mapping[str, object]) -> OpenAlert:
    return OpenAlert(**_checked(row, _ALERT_KINDS))  # type: ignore[arg-type]  # checked just here


def _failure(row: Mapping[str, object]) -> Failure:
    return Failure(**_checked(row, _FAILURE_KINDS))  # type: ignore[arg-type]  # checked just here


def _checked(row: Mapping[str, object], kinds: Mapping[str, type]) -> dict[str, object]:
    return {name: typed(kind, row[name]) for name, kind in kinds.items()}
