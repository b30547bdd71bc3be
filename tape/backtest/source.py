"""The sessions of a tape, in the range that was asked for."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

from tapedeck.connectors.recorded.format import is_recorded
from tapedeck.connectors.tapes.generator import DEFAULT_SESSION, days
from tapedeck.connectors.tapes.source import TapeSource
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.sessions import Calendar, day_number, iso_date
from tapedeck.tape.backtest.days import Day, days_of
from tapedeck.tape.backtest.run import Tell
from tapedeck.topics.catalogue import Layout


def _quiet(line: str) -> None:
    del line


def range_of(since: date | None, until: date | None) -> None:
    """Raises Fatal if the range ends before it begins."""
    if since is not None and until is not None and since > until:
        raise Fatal(
            "the range of sessions ends before it begins",
            value=f"--from {since} --to {until}",
            remedy=f"write --from {until} --to {since}",
        )


def sessions_of(
    source: TapeSource, since: date | None, until: date | None, calendar: Calendar, tell: Tell
) -> list[TapeSource]:
    """One source per session of ``source`` from ``since`` to ``until``, both inclusive; None is no bound.

    A synthetic market begins with the first of them. Raises Fatal if there is none, and for a range that ends
    before it begins.
    """
    range_of(since, until)
    if source.seed is not None:
        first = since or until or DEFAULT_SESSION
        found = source.over(first, until or max(first, DEFAULT_SESSION), calendar, tell)
        return [replace(each, since=source.since) for each in found] if source.since else found
    there = source.dates(calendar, tell)
    if not there:
        remedy = "see what it holds with `tape check`"
        raise Fatal("the tape has no session", value=source.tape, remedy=remedy)
    return source.over(since or iso_date(there[0]), until or iso_date(there[-1]), calendar, tell)


class Days:
    """Reads sessions when they are asked for: call it with the topics that are read."""

    def __init__(
        self, sources: Sequence[TapeSource], layout: Layout, calendar: Calendar, tell: Tell = _quiet
    ) -> None:
        self.sources, self._layout, self._calendar, self._tell = tuple(sources), layout, calendar, tell
        self._is_apart = False

    def __call__(self, names: Collection[str]) -> Iterable[Day]:
        first = self.sources[0]
        if first.seed is None and not self._is_apart and not is_recorded(Path(first.tape)) and not first.news:
            from tapedeck.tape.backtest.files import file_days  # noqa: PLC0415 - the extra frames

            return file_days(self.sources, self._calendar, names, self._layout, self._tell)
        return days_of(self._tapes(), names, self._layout)

    def apart(self) -> "Days":
        """The same sessions, each read for itself when it is asked for, so that no later one is known."""
        found = self.of(self.sources)
        found._is_apart = True
        return found

    def of(self, sources: Sequence[TapeSource]) -> "Days":
        """Other sessions, read likewise."""
        return Days(sources, self._layout, self._calendar, self._tell)

    def _tapes(self) -> Iterator[Tape]:
        """The tapes of a synthetic market are made one from the other, those of files one by one."""
        first = self.sources[0]
        if first.seed is None or self._is_apart:
            yield from (each.load(self._tell) for each in self.sources)
            return
        begun, last = first.since or first.session, self.sources[-1].session
        assert begun is not None and last is not None
        wanted = {each.session for each in self.sources}
        for tape in days(first.seed, first=begun, last=last, feed=first.feed, calendar=self._calendar):
            if iso_date(tape.session) in wanted:
                yield tape


def with_more_warm_up(
    sources: Sequence[TapeSource], n: int, calendar: Calendar, tell: Tell
) -> list[TapeSource]:
    """``sources`` with up to ``n`` sessions before them, of the same market.

    Raises Fatal if the tape has none before them.
    """
    first = sources[0]
    assert first.session is not None
    day = day_number(first.session)
    if first.seed is None:
        there = first.dates(calendar, tell)
    else:
        there = [each.date for each in calendar.between(day_number(first.since or first.session), day)]
    before = [each for each in there if each < day][-n:]
    if not before:
        remedy = f"name a later --from: the tape has {iso_date(there[0])} to {iso_date(there[-1])}"
        if first.seed is not None:
            remedy = "let the synthetic market begin earlier with --market-since"
        raise Fatal(
            "the tape has no session before the first one, so there is no more warm-up to compare with",
            value=str(first.session),
            remedy=remedy,
        )
    return [*(replace(first, session=iso_date(each)) for each in before), *sources]
