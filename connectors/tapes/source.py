"""Names a tape (a file, a recorded window, or the synthetic market with its seed) for other processes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from tapedeck.connectors.recorded.format import is_recorded, load
from tapedeck.connectors.recorded.playable import playable, sessions_in
from tapedeck.connectors.tapes.generator import DEFAULT_SEED, DEFAULT_SESSION, generate, origin_of
from tapedeck.connectors.tapes.market_files.options import DEFAULT_FEED, Reading, Tell, quiet
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.connectors.tapes.texts.file import with_news_of
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.sessions import Calendar, day_number, iso_date, xnys

_SYNTHETIC = "synthetic"


@dataclass(frozen=True, kw_only=True)
class TapeSource:
    """``tape`` is a file, a folder or pattern of files, the folder of a recorded tape, ``synthetic`` or
    ``synthetic:SEED``. ``reading`` says how to read files.

    ``news``: a file of articles for market files, which have none.
    ``session`` None takes the newest session of a file, and the only one of a recorded tape. ``since`` is the
    first day of a synthetic market, None for one that begins with ``session``.
    """

    tape: str = _SYNTHETIC
    session: date | None = None
    since: date | None = None
    quotes: Path | None = None
    news: Path | None = None
    feed: str = DEFAULT_FEED
    reading: Reading = field(default_factory=Reading)

    def over(self, first: date, last: date, calendar: Calendar, tell: Tell = quiet) -> list["TapeSource"]:
        """One source per session from ``first`` to ``last``: of a file, those that it has.

        Raises Fatal if there is none, CalendarUnknown beyond the calendar.
        """
        asked = [each.date for each in calendar.between(day_number(first), day_number(last))]
        there = asked if self.seed is not None else self.dates(calendar, tell)
        found = [iso_date(day) for day in asked if day in there]
        if not found:
            listed = ", ".join(str(iso_date(day)) for day in there) or "none"
            remedy = (
                f"sessions on the tape: {listed}" if asked else "the exchange is closed on all of these days"
            )
            raise Fatal("there is no session to play in this range", value=f"{first}..{last}", remedy=remedy)
        since = found[0] if self.seed is not None else None
        return [replace(self, session=day, since=since) for day in found]

    def dates(self, calendar: Calendar, tell: Tell = quiet) -> list[int]:
        """The dates of the sessions in a file or a recorded tape, in days, in order."""
        path = Path(self.tape)
        if is_recorded(path):
            return sessions_in(load(path), calendar)
        from tapedeck.connectors.tapes.files import sessions_of_file  # noqa: PLC0415 - the extra frames

        return sessions_of_file(path, calendar, self.reading, tell)

    @property
    def origin(self) -> str | None:
        """The label of a synthetic tape's records; None for a file."""
        return None if self.seed is None else origin_of(self.seed)

    def description(self) -> dict[str, str]:
        """The description for another process on this machine: one tape has one description."""
        told, session = {"tape": str(Path(self.tape).absolute())}, self.session
        if self.seed is not None:
            told, session = {"tape": f"{_SYNTHETIC}:{self.seed}"}, session or DEFAULT_SESSION
        told |= {"session": str(session)} if session else {}
        told |= {"since": str(self.since)} if self.since and self.since != session else {}
        told |= {"quotes": str(self.quotes.absolute())} if self.quotes else {}
        told |= {"news": str(self.news.absolute())} if self.news else {}
        return told | {"feed": self.feed} | self.reading.described()

    @classmethod
    def described(cls, told: Mapping[str, str]) -> "TapeSource":
        """The source that a description describes. Raises Fatal for an invalid one."""
        quotes, news = told.get("quotes"), told.get("news")
        return cls(
            tape=str(told["tape"]),
            session=session_date(told.get("session")),
            since=session_date(told.get("since")),
            quotes=Path(quotes) if quotes else None,
            news=Path(news) if news else None,
            feed=str(told.get("feed", DEFAULT_FEED)),
            reading=Reading.of(told),
        )

    def load(self, tell: Tell = quiet) -> Tape:
        """Read or generate it: always the same tape. Raises Fatal like those.

        ``tell`` is called with the progress of reading a file.
        """
        path = Path(self.tape)
        if self.reading != Reading() and (self.seed is not None or is_recorded(path)):
            named = ", ".join(f"--{name}" for name in self.reading.described())
            raise Fatal(f"{named} applies only to market files", value=self.tape, remedy="leave it out")
        if self.news is not None and (self.seed is not None or is_recorded(path)):
            raise Fatal("this tape has its own news", value=self.tape, remedy="leave out --news")
        if self.seed is not None:
            session = self.session or DEFAULT_SESSION
            return generate(self.seed, session=session, since=self.since, feed=self.feed)
        if is_recorded(path):
            if self.quotes is not None:
                raise Fatal(
                    "a recorded tape has its own quotes", value=self.tape, remedy="leave out --quotes"
                )
            return playable(load(path), xnys(), self.session)
        from tapedeck.connectors.tapes.files import read_tape  # noqa: PLC0415 - the extra frames

        tape = read_tape(
            path, quotes=self.quotes, session=self.session, feed=self.feed, reading=self.reading, tell=tell
        )
        return tape if self.news is None else with_news_of(tape, self.news, xnys())

    @property
    def seed(self) -> int | None:
        """The seed of a synthetic tape; None for a file. Raises Fatal for one that is not a number."""
        kind, _, seed = self.tape.partition(":")
        if kind != _SYNTHETIC:
            return None
        if not (seed or "0").isdigit():
            raise Fatal("a seed is a whole number, 0 or more", value=seed, remedy="write synthetic:7")
        return int(seed) if seed else DEFAULT_SEED


def session_range(text: str) -> tuple[date, date]:
    """First and last date of ``YYYY-MM-DD..YYYY-MM-DD``. Raises Fatal for anything else."""
    first, dots, last = text.partition("..")
    try:
        found = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError:
        found = None
    if not dots or found is None:
        raise Fatal("not a range of sessions", value=text, remedy="write 2026-02-17..2026-03-02")
    if found[0] > found[1]:
        remedy = f"write {last}..{first}"
        raise Fatal("the range of sessions ends before it begins", value=text, remedy=remedy)
    return found


def session_date(text: str | None) -> date | None:
    """A date from ``YYYY-MM-DD``. Raises Fatal for anything else."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise Fatal("not a session date", value=text, remedy="write YYYY-MM-DD") from None
