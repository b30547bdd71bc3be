"""The contents of each session of a file: gaps, duplicates, odd rows, splits, and the hours of its bars."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import polars as pl

from tapedeck.connectors.tapes.checking.spool import Spool
from tapedeck.connectors.tapes.hours import session_notes
from tapedeck.connectors.tapes.market_files.duplicates import conflicting
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Calendar, Session, iso_date

_KEY = ("symbol", "ts", "feed", "revision")
_FACTORS = (2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50)
_NEAR = 0.04  # how far an opening may be from a split's exact ratio
_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class SessionFound:
    """One New York date of a file. Counts are of rows, ``gaps`` of minutes of the hours in which a symbol of
    that day has no row, ``differing_duplicates`` of minutes with several bodies; ``dead_letters`` are rows
    that break a market rule."""

    date: str
    session: bool
    symbols: int
    bars: int
    in_hours: int
    gaps: int
    equal_duplicates: int
    differing_duplicates: int
    zero_volume: int
    dead_letters: int
    notes: tuple[str, ...]


@dataclass
class Survey:
    """Goes over a spool. ``symbols`` are those of the whole file, ``splits`` the suspected ones."""

    calendar: Calendar
    symbols: set[str] = field(default_factory=set)
    splits: list[str] = field(default_factory=list)
    _closes: dict[str, float] = field(default_factory=dict)

    def sessions(self, spool: Spool) -> Iterator[SessionFound]:
        """The findings for each date, in order."""
        first, last = self.calendar.horizon()
        for day, frame in spool.each():
            session = self.calendar.session_on(day) if first <= day <= last else None
            self.symbols |= set(frame["symbol"].unique())
            yield self._found(day, frame, session, beyond=not first <= day <= last)
            if session is not None:
                self._look_for_splits(frame, session)

    def _found(self, day: int, frame: pl.DataFrame, session: Session | None, *, beyond: bool) -> SessionFound:
        inside = frame.clear() if session is None else _inside(frame, session)
        length = 0 if session is None else (session.close - session.open) // MINUTE_US
        minutes = inside.select("symbol", pl.col("ts") // MINUTE_US).unique().height
        symbols = frame["symbol"].n_unique()
        key = [name for name in _KEY if name in frame.columns]
        conflicts = conflicting(frame)
        differing = conflicts.select(key).unique().height
        repeated = frame.height - frame.select(key).unique().height
        if session is not None:
            notes = tuple(session_notes(frame.group_by("ts").len().iter_rows(), session, self.calendar))
        else:
            why = "beyond the calendar" if beyond else "the exchange is closed"
            notes = (f"{iso_date(day)} has no session ({why}): its rows are not played",)
        return SessionFound(
            date=str(iso_date(day)),
            session=session is not None,
            symbols=symbols,
            bars=frame.height,
            in_hours=inside.height,
            gaps=max(0, length * symbols - minutes),
            equal_duplicates=repeated - (conflicts.height - differing),
            differing_duplicates=differing,
            zero_volume=int((frame["volume"] == 0).sum()),
            dead_letters=frame.filter(_breaks_a_rule()).height,
            notes=notes,
        )

    def _look_for_splits(self, frame: pl.DataFrame, session: Session) -> None:
        inside = _inside(frame, session).sort("ts")
        edges = inside.group_by("symbol").agg(pl.col("open").first(), pl.col("close").last()).sort("symbol")
        for symbol, opened, close in edges.iter_rows():
            before = self._closes.get(symbol)
            if before and opened > 0 and (words := _split(before / opened)):
                self.splits.append(
                    f"{symbol} {iso_date(session.date)}: opens at {opened:g} after a close of {before:g},"
                    f" as after a split {words}: prices are played unchanged"
                )
            self._closes[symbol] = close


def _inside(frame: pl.DataFrame, session: Session) -> pl.DataFrame:
    return frame.filter((pl.col("ts") >= session.open) & (pl.col("ts") < session.close))


def _breaks_a_rule() -> pl.Expr:
    high, low = pl.col("high"), pl.col("low")
    crossed = (high < pl.max_horizontal("open", "close")) | (low > pl.min_horizontal("open", "close"))
    return (pl.col("ts") % MINUTE_US != 0) | (pl.col("volume") < 0) | (low <= 0) | crossed


def _split(ratio: float) -> str | None:
    """The split that matches a fall by ``ratio``."""
    for factor in _FACTORS:
        if abs(ratio / factor - 1) < _NEAR:
            return f"of {factor} for 1"
        if abs(ratio * factor - 1) < _NEAR:
            return f"of 1 for {factor}"
    return None


def few(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
