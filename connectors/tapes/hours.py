"""Where bars fall within a session's hours, and what it means if they fall elsewhere."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import NEW_YORK, Calendar, Phase, Session, iso_date, iso_utc, micros

_ZONES = (
    "America/New_York", "America/Chicago", "America/Los_Angeles", "Europe/London", "Europe/Berlin",
    "Asia/Kolkata", "Asia/Tokyo",
)  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def session_notes(minutes: Iterable[tuple[int, int]], session: Session, calendar: Calendar) -> list[str]:
    """What is odd about (minute, bars) of one New York date; empty if its bars are within its hours."""
    counts = {t: n for t, n in minutes}
    total = sum(counts.values())
    inside = _inside(counts, session)
    day, hours = iso_date(session.date), f"{iso_utc(session.open)} to {iso_utc(session.close)}"
    if len({t % (24 * 60 * MINUTE_US) for t in counts}) == 1 and _midnight(next(iter(counts))):
        return [
            f"session {day}: no bar is in its hours, {hours}; all are labeled with midnight"
            f" ({iso_utc(next(iter(counts)))}), as daily bars are: a tape has one row a minute"
        ]
    found = []
    if (zone := _likely(counts, session, calendar)) is not None:
        lies = "no bar is" if not inside else f"only {inside} of {total} bars are"
        found.append(
            f"session {day}: {lies} in its hours, {hours}; read as {zone} time, they are: are the"
            f" times in UTC? if not, write them without a zone and add --zone {zone}"
        )
    elif not inside:
        found.append(f"session {day}: no bar is in its hours, {hours}: are the times in UTC?")
    if session.close in counts and session.open not in counts and session.open + MINUTE_US in counts:
        found.append(
            f"session {day}: there are bars at its close ({iso_utc(session.close)}) and none at its open:"
            " are they labeled with the end of their minute? a tape uses its start, a minute earlier"
        )
    return found


def _inside(counts: dict[int, int], session: Session) -> int:
    return sum(n for t, n in counts.items() if session.open <= t < session.close)


def _midnight(t: int) -> bool:
    local = datetime.fromtimestamp(t / 1e6, tz=NEW_YORK)
    return t % (24 * 60 * MINUTE_US) == 0 or (local.hour, local.minute) == (0, 0)


def _likely(counts: dict[int, int], session: Session, calendar: Calendar) -> str | None:
    """The zone whose clock puts the bars into the session's hours, if they are not there already."""
    total, inside = sum(counts.values()), _inside(counts, session)
    if inside == total:
        return None
    closed = sum(n for t, n in counts.items() if calendar.phase(t) is Phase.CLOSED)
    for zone in _ZONES:
        moved = {_as_clock(t, zone): n for t, n in counts.items()}
        better = _inside(moved, session)
        shut = sum(n for t, n in moved.items() if calendar.phase(t) is Phase.CLOSED)
        if better > inside and not shut and (better == total or closed):
            return zone
    return None


def _as_clock(t: int, zone: str) -> int:
    """The moment when a clock in ``zone`` shows what UTC shows at ``t``."""
    shown = (_EPOCH + timedelta(microseconds=t)).replace(tzinfo=ZoneInfo(zone))
    return micros(shown)
