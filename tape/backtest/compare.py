"""Two configurations over the same sessions: paired differences, session by session."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.sessions import iso_date
from tapedeck.tape.backtest.measures import Interval, mean_of
from tapedeck.tape.backtest.result import Backtest
from tapedeck.tape.whatif.changes import changes_between

_FEW = 20


class Paired(NamedTuple):
    """One account: B's P&L less A's in each session, USD. ``better``: sessions in which B had more."""

    account_id: str
    sessions: int
    difference: Interval | None
    total: Decimal
    better: int
    worse: int
    verdict: str


class Comparison(NamedTuple):
    """Run ``a`` and run ``b`` of the same tape."""

    names: tuple[str, str]
    a: Backtest
    b: Backtest
    changes: tuple[str, ...]
    paired: tuple[Paired, ...]
    differences: dict[str, tuple[tuple[int, Decimal], ...]]
    """By account: (session, B's P&L less A's)."""
    notes: tuple[str, ...]


def compared(a: Backtest, b: Backtest, names: tuple[str, str]) -> Comparison:
    """Pair two runs. Raises Fatal if they have no account in common, or other sessions."""
    dates = [[each.date for each in run.sessions] for run in (a, b)]
    if dates[0] != dates[1]:
        odd = sorted(set(dates[0]) ^ set(dates[1]))
        raise Fatal(
            "the two runs have other sessions", value=str(iso_date(odd[0])), remedy="run both over one range"
        )
    accounts = [each.account_id for each in a.summaries if each.account_id in _accounts(b)]
    if not accounts:
        value = f"A {', '.join(sorted(_accounts(a)))}; B {', '.join(sorted(_accounts(b)))}"
        raise Fatal(
            "the two configurations have no account in common",
            value=value,
            remedy="give both documents the same account_id",
        )
    found = {each: _differences(a, b, each) for each in accounts}
    return Comparison(
        names=names,
        a=a,
        b=b,
        changes=tuple(str(each) for each in changes_between(a.config, b.config)),
        paired=tuple(_paired(name, [change for _, change in each]) for name, each in found.items()),
        differences=found,
        notes=tuple(_notes(len(dates[0]))),
    )


def _accounts(run: Backtest) -> set[str]:
    return {each.account_id for each in run.summaries}


def _differences(a: Backtest, b: Backtest, account: str) -> tuple[tuple[int, Decimal], ...]:
    before = {each.date: each.pnl for each in a.days if each.account_id == account}
    mine = (each for each in b.days if each.account_id == account)
    return tuple((each.date, each.pnl - before[each.date]) for each in mine)


def _paired(account: str, changes: Sequence[Decimal]) -> Paired:
    difference = mean_of([float(each) for each in changes])
    return Paired(
        account_id=account,
        sessions=len(changes),
        difference=difference,
        total=sum(changes, Decimal(0)),
        better=sum(each > 0 for each in changes),
        worse=sum(each < 0 for each in changes),
        verdict=_verdict(difference, changes),
    )


def _verdict(difference: Interval | None, changes: Sequence[Decimal]) -> str:
    if not any(changes):
        return "no difference"
    if difference is None or difference.low is None or difference.high is None:
        return "too few sessions to say"
    if difference.low > 0:
        return "B is better"
    return "A is better" if difference.high < 0 else "the interval holds 0: not told apart"


def _notes(n: int) -> Sequence[str]:
    if n >= _FEW:
        return ()
    return (f"note: {n} sessions are few: an interval of less than {_FEW} differences says little",)
