"""What a day of reading Reddit brought, per subreddit. A day is New York's."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.streams.sessions import NEW_YORK

KEPT_DAYS = 7
_COUNTS = ("new", "updated", "removed", "bad")


@dataclass(kw_only=True)
class Day:
    """One subreddit on one day. ``caps``: what was left out per cap; ``errors``: failed looks per state."""

    threads: set[str] = field(default_factory=set)
    new: int = 0
    updated: int = 0
    removed: int = 0
    bad: int = 0
    caps: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    newest: int | None = None
    """Event time of the newest item, UTC microseconds."""

    def age_s(self, now: int) -> float | None:
        """Seconds since the newest item was created; None if there is none."""
        return None if self.newest is None else max(0.0, (now - self.newest) / SECOND_US)

    def line(self, subreddit: str, now: int) -> str:
        """The day in words."""
        age = self.age_s(now)
        parts = [f"{subreddit}: {len(self.threads)} threads"]
        parts.append(f"items: {self.new} new, {self.updated} updated, {self.removed} removed, {self.bad} bad")
        parts.append(f"left out: {_told(self.caps)}")
        parts.append(f"errors: {_told(self.errors)}")
        parts.append(
            f"newest item {age * SECOND_US // MINUTE_US:.0f} min old" if age is not None else "no item"
        )
        return "; ".join(parts)


def date_of(t: int) -> str:
    """The New York date of ``t``."""
    return datetime.fromtimestamp(t // SECOND_US, tz=NEW_YORK).date().isoformat()


class DailyStatus:
    """The last days."""

    def __init__(self, days: Mapping[str, Mapping[str, Day]] | None = None) -> None:
        self._days = {date: dict(named) for date, named in (days or {}).items()}

    def of(self, now: int, subreddit: str) -> Day:
        """Today's entry of a subreddit, to count in. Days older than a week are forgotten."""
        today = date_of(now)
        if today not in self._days:
            self._days[today] = {}
            for old in sorted(self._days)[:-KEPT_DAYS]:
                del self._days[old]
        return self._days[today].setdefault(subreddit, Day())

    def lines(self, now: int) -> list[str]:
        """Today, a line for each subreddit."""
        return [day.line(name, now) for name, day in sorted(self._days.get(date_of(now), {}).items())]

    def document(self) -> dict[str, Any]:
        """For the state file."""
        return {
            date: {
                name: {
                    "threads": sorted(day.threads),
                    **{each: getattr(day, each) for each in _COUNTS},
                    "caps": dict(day.caps),
                    "errors": dict(day.errors),
                    "newest": day.newest,
                }
                for name, day in named.items()
            }
            for date, named in self._days.items()
        }

    @classmethod
    def parsed(cls, document: Mapping[str, Any]) -> "DailyStatus":
        """From the state file. Raises ValueError, KeyError, TypeError for anything else."""
        return cls(
            {
                str(date): {
                    str(name): Day(
                        threads=set(map(str, row["threads"])),
                        **{each: int(row[each]) for each in _COUNTS},
                        caps=Counter({str(k): int(v) for k, v in row["caps"].items()}),
                        errors=Counter({str(k): int(v) for k, v in row["errors"].items()}),
                        newest=None if row["newest"] is None else int(row["newest"]),
                    )
                    for name, row in named.items()
                }
                for date, named in document.items()
            }
        )


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(counts.items()) if n) or "none"
