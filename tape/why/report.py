"""The result of ``why``: a session's minutes by where they ended, or one minute in full."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tapedeck.schemas.errors import Fatal
from tapedeck.schemas.readable import iso_time
from tapedeck.streams.blocks import Source
from tapedeck.streams.config.document import Config
from tapedeck.streams.misses import Miss
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Calendar, Session, iso_date, xnys
from tapedeck.streams.telling import clock
from tapedeck.streams.topology import Topology
from tapedeck.tape.explain.lookup import Lookup
from tapedeck.tape.why.outcome import Outcome
from tapedeck.tape.why.symbol_tape import SymbolTape, newest_session, outside_universe, read_symbol
from tapedeck.tape.why.trace import Passed, Tracer


@dataclass(frozen=True, kw_only=True)
class Group:
    """Minutes that ended at one stage for one reason, of ``account`` where it has one.

    ``closest`` is the smallest miss, as a share of its limit, and ``closest_t`` its minute's bar; for reasons
    without a distance, the last minute.
    """

    stage: str
    reason: str
    words: str
    account: str | None
    minutes: int
    closest: Miss | None
    closest_t: int
    detail: str


@dataclass(frozen=True, kw_only=True)
class Why:
    """Why there was no trade in ``symbol``. ``notes`` are printed first; ``at``: the requested minute."""

    symbol: str
    session: Session
    notes: tuple[str, ...]
    minutes: int
    signals: int
    groups: tuple[Group, ...]
    at: int | None = None
    passed: tuple[Passed, ...] = ()
    outcomes: tuple[Outcome, ...] = ()

    def text(self) -> str:
        """As text."""
        date = iso_date(self.session.date).isoformat()
        lines = list(self.notes)
        if self.at is not None:
            lines.append(f"{self.symbol}, the bar of {clock(self.at)} New York on {date}")
            lines += [f"  {each.stage:<10} {each.text}" for each in self.passed]
            for each in self.outcomes:
                where = each.stage if each.account is None else f"{each.stage} {each.account}"
                lines.append(f"ended at {where}: {each.text}")
            return "\n".join(lines)
        lines.append(
            f"{self.symbol} on {date}, {self.minutes} minutes from {clock(self.session.open)} New York: "
            f"{self.signals} with a signal"
        )
        for group in self.groups:
            where = group.stage if group.account is None else f"{group.stage} {group.account}"
            lines.append(f"{group.minutes:>6}  {where:<18}{group.reason:<28}{group.words}")
            closest = str(group.closest) if group.closest else group.detail
            when = "closest" if group.closest else "last"
            lines.append(
                f"{'':>6}  {'':<18}{when} at {clock(group.closest_t)}{f': {closest}' if closest else ''}"
            )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return self.text()

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "symbol": self.symbol,
            "session": iso_date(self.session.date).isoformat(),
            "notes": list(self.notes),
            "minutes": self.minutes,
            "signals": self.signals,
            "groups": [_group(group) for group in self.groups],
            "at": None if self.at is None else iso_time(self.at),
            "passed": [asdict(each) for each in self.passed],
            "outcomes": [_outcome(each) for each in self.outcomes],
        }


def why_from(
    topology: Topology,
    source: Source,
    config: Config,
    symbol: str,
    *,
    at: int | None = None,
    account: str | None = None,
    calendar: Calendar | None = None,
) -> Why:
    """Why there was no trade in ``symbol``: in the newest session, or in the minute of ``at`` (UTC micros).

    Raises Fatal for an empty tape, for a time without a session and for an account that is not configured.
    """
    calendar = calendar or xnys()
    accounts = [each.account_id for each in config.accounts]
    if account is not None:
        accounts = [config.account(account).account_id]
    lookup = Lookup(source)
    session = newest_session(lookup, calendar) if at is None else session_of(at, calendar)
    tape = read_symbol(topology, lookup, symbol.upper(), session, config=config, calendar=calendar)
    tracer = Tracer(tape, config, calendar)
    notes = tuple(
        each for each in (outside_universe(tape), _unfinished(tape), _other_config(tape, config)) if each
    )
    minutes = tape.minutes if at is None else range(at - at % MINUTE_US, at - at % MINUTE_US + 1, MINUTE_US)
    dropped = [each for t in minutes if (each := tracer.outcome(t)) is not None]
    decided = [each for t in minutes for name in accounts for each in tracer.outcomes(t, name)]
    # a bar that the deciding stage dropped may have a signal of another stage
    signals = len(minutes) - len({each.t for each in dropped} - {each.t for each in decided})
    return Why(
        symbol=tape.symbol,
        session=session,
        notes=notes,
        minutes=len(minutes),
        signals=signals,
        groups=_grouped(tape.way.places, [*dropped, *decided]),
        at=None if at is None else minutes[0],
        passed=() if at is None else tuple(tracer.passed(minutes[0])),
        outcomes=() if at is None else (*dropped, *decided),
    )


def session_of(at: int, calendar: Calendar) -> Session:
    """The session of a moment. Raises Fatal if it is in none."""
    session = calendar.session_at(at)
    if session is None:
        raise Fatal(
            "the market was closed at that time",
            value=iso_time(at),
            remedy="name a minute of a regular session, New York time or ISO 8601 with its zone",
        )
    return session


def _grouped(places: Sequence[str], outcomes: Sequence[Outcome]) -> tuple[Group, ...]:
    """Sorted by stage in the order of the pipeline, then by minutes, most first."""
    found: dict[tuple[str, str, str | None], list[Outcome]] = {}
    for outcome in outcomes:
        found.setdefault((outcome.stage, outcome.reason, outcome.account), []).append(outcome)
    groups = [_group_of(each) for each in found.values()]
    return tuple(sorted(groups, key=lambda g: (g.account or "", places.index(g.stage), -g.minutes, g.reason)))


def _group_of(outcomes: Sequence[Outcome]) -> Group:
    measured = [each for each in outcomes if each.miss is not None]
    nearest = min(measured, key=lambda each: each.miss.share if each.miss else 0.0, default=outcomes[-1])
    return Group(
        stage=nearest.stage,
        reason=nearest.reason,
        words=nearest.words,
        account=nearest.account,
        minutes=len(outcomes),
        closest=nearest.miss,
        closest_t=nearest.t,
        detail=nearest.detail,
    )


def _unfinished(tape: SymbolTape) -> str:
    """A note that the session was not played to its end, so that later minutes are still to come."""
    label = tape.labels[tape.way.head]
    if label is not None and label + MINUTE_US >= tape.session.close:
        return ""
    upto = "no minute" if label is None else f"minutes up to {clock(label)}"
    return f"{tape.way.head} has ended {upto} of this session in {tape.symbol}'s partition"


def _other_config(tape: SymbolTape, config: Config) -> str:
    """A note that the records were made under another configuration, whose thresholds differ."""
    digests = {body["config_digest"] for body in tape.recording.bodies(tape.way.spine[-1])} - {config.digest}
    if not digests:
        return ""
    return (
        f"these decisions were made under the configuration {', '.join(sorted(digests))}; the thresholds "
        f"below are of {config.digest}: name the run's document with --config FILE"
    )


def _miss(miss: Miss | None) -> dict[str, Any] | None:
    return None if miss is None else asdict(miss) | {"gap": miss.gap}


def _group(group: Group) -> dict[str, Any]:
    return vars(group) | {"closest": _miss(group.closest), "closest_t": iso_time(group.closest_t)}


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return vars(outcome) | {"t": iso_time(outcome.t), "miss": _miss(outcome.miss)}
