"""Whether a backtest can be believed: no look into the future, no effect of where it began.

Both compare every session's decisions, not a sample of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tapedeck.streams.columnar.rows import Rows
from tapedeck.streams.sessions import iso_date
from tapedeck.tape.backtest.market import DECISIONS
from tapedeck.tape.backtest.run import Ran, Setting, Tell, run
from tapedeck.tape.backtest.source import Days, with_more_warm_up

_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Check:
    """The outcome of one check. ``details``: where it failed, session by session."""

    name: str
    passed: bool
    said: str
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        head = f"{self.name}: {'passed' if self.passed else 'FAILED'}, {self.said}"
        more = [f"  and {len(self.details) - _SHOWN} more sessions"] if len(self.details) > _SHOWN else []
        return "\n".join([head, *(f"  {each}" for each in self.details[:_SHOWN]), *more])


def lookahead(setting: Setting, days: Days, whole: Ran) -> Check:
    """Run again session by session: when one is decided, nothing after its end has been read.

    ``whole`` decided several sessions at once, with all of them in memory, and is to have the same digest of
    decisions, signals and everything each account wrote, in every session: of every prefix, thus.
    """
    cut = run(setting, days.apart(), together=1)
    odd = [
        f"{iso_date(date)}: {', '.join(names)}"
        for date, names in _different(_prefixes(whole), _prefixes(cut)).items()
    ]
    n = len(whole.sessions)
    said = (
        f"{n} sessions decide the same when what comes after each of them is cut off"
        if not odd
        else f"{len(odd)} of {n} sessions decide otherwise when what comes after them is cut off"
    )
    return Check(name="look-ahead", passed=not odd, said=said, details=tuple(odd))


def startup(setting: Setting, days: Days, whole: Ran, warm_up: int, tell: Tell) -> Check:
    """Run the market stages again with up to ``warm_up`` more sessions before the first one.

    Compared are decisions, HOLD included. What an account holds depends on when it begins, so accounts are
    left out. Raises Fatal if the tape has no session before the first.
    """
    more = with_more_warm_up(days.sources, warm_up, setting.calendar, tell)
    longer = run(setting.without_accounts(), days.of(more))
    added, odd = len(more) - len(days.sources), []
    for session in whole.sessions:
        ours, theirs = (each.decided.daily[session.date][DECISIONS] for each in (whole, longer))
        changed = {each.event_id for each in ours.differences(theirs)}
        if changed:
            odd.append(f"{iso_date(session.date)}: {len(changed):,} of {len(ours):,} decisions")
    n = len(whole.sessions)
    said = (
        f"{n} sessions decide the same with {added} more sessions of warm-up"
        if not odd
        else f"{len(odd)} of {n} sessions decide otherwise with {added} more sessions of warm-up: "
        "begin later, or leave these sessions out of your figures"
    )
    return Check(name="start-up", passed=not odd, said=said, details=tuple(odd))


def _prefixes(ran: Ran) -> dict[int, dict[str, str]]:
    """Per session, the digest of each topic and account."""
    found = {date: _digests(rows) for date, rows in ran.decided.daily.items()}
    for record in ran.accounts:
        for date, digests in record.daily.items():
            found.setdefault(date, {}).update(
                {f"{name} of {record.account_id}": digest for name, digest in digests.items()}
            )
    return found


def _digests(rows: Mapping[str, Rows]) -> dict[str, str]:
    return {name: each.hexdigest() for name, each in rows.items()}


def _different(
    ours: Mapping[int, Mapping[str, str]], theirs: Mapping[int, Mapping[str, str]]
) -> dict[int, list[str]]:
    """The names with another digest, by session."""
    found = {}
    for date in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(date, {}), theirs.get(date, {})
        names = [name for name in _names(mine, other) if mine.get(name) != other.get(name)]
        if names:
            found[date] = names
    return found


def _names(*each: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name for names in each for name in names))
