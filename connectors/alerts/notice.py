"""A notice: what a sink sends of one alert. And what every sink is."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from tapedeck.streams.sessions import iso_utc


class Kind(StrEnum):
    """Why a notice is sent."""

    ALERT = "alert"
    WORSE = "worse"
    REPEAT = "repeat"
    RECOVERY = "recovery"


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One notice. ``id`` is the same when it is tried again, and another for every other notice.

    ``alert``: the id of the alert, the same from its first notice to its recovery. ``severity``: green in a
    recovery. ``more``: how many other findings of the same check and stage there are. ``since`` and ``at``
    are UTC micros; ``since`` is when the fault began, or was first seen.
    """

    id: str
    alert: str
    kind: Kind
    severity: str
    check: str
    what: str
    since: int
    at: int
    stage: str = ""
    remedy: str = ""
    pipeline: str = ""
    more: int = 0

    def body(self) -> dict[str, Any]:
        """For JSON; times as ISO 8601 in UTC."""
        return {
            "id": self.id,
            "alert": self.alert,
            "kind": str(self.kind),
            "severity": self.severity,
            "check": self.check,
            "what": self.what,
            "since": iso_utc(self.since),
            "at": iso_utc(self.at),
            "stage": self.stage,
            "remedy": self.remedy,
            "pipeline": self.pipeline,
            "more": self.more,
        }

    @property
    def title(self) -> str:
        """One line: ``red heartbeats: signals is silent``, or ``recovered heartbeats: ...``."""
        head = "recovered" if self.kind is Kind.RECOVERY else self.severity
        told = f"{head} {self.check}: {self.what}"
        return f"{told} (and {self.more} more)" if self.more else told


class Sink(Protocol):
    """Where notices go. ``at_once``: how many of them one call of ``send`` may take."""

    @property
    def at_once(self) -> int: ...

    def send(self, notices: Sequence[Notice]) -> None:
        """Deliver all of ``notices`` or raise.

        Raises Retry where it may succeed now or later, Fatal where a setting must change; no message holds
        a secret, nor the path of an address, which may be one.
        """
        ...
