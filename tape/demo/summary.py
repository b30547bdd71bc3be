"""What a demo found, and whether it passed: one document for people and programs."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tapedeck.connectors.dead_letters import BODY_CONFLICT, CONFLICT_CAUSES
from tapedeck.connectors.postgres.base import table_name
from tapedeck.streams.config.accounts import Account
from tapedeck.streams.funnel import FunnelLine, told
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.account.funnel import AccountBook
from tapedeck.streams.stages.account.rules.exits import ExitRule as R
from tapedeck.streams.stages.account.rules.money import ZERO
from tapedeck.streams.stages.account.rules.orders import OrderState
from tapedeck.streams.stages.account.rules.positions import Kind, describe
from tapedeck.streams.stages.account.rules.strategies import is_swing
from tapedeck.tape.demo.news import NewsTold
from tapedeck.tape.digests import DigestLine
from tapedeck.tape.recording import Recording

NO_EXIT = "EXTERNAL"
"""How a position ended that no rule closed: by its expiry, or by somebody else's order."""
BY_PRICE = frozenset(
    {
        R.HARD_STOP, R.STOP_LOSS, R.PROFIT_TARGET, R.STOCK_STOP, R.STOCK_TARGET, R.TRAILING_STOP,
    }
)  # fmt: skip
NOT_BY_TIME = BY_PRICE | {R.SIGNAL_CLOSE, R.MANUAL_CLOSE, R.KILL_SWITCH_FLATTEN}
_SYNTHETIC = "synthetic"
# From the end of the pipeline: a record of the first of these was caused by records of the others.
_DECIDED, _MADE = ("orders", "proposals"), ("decisions", "features", "bars")


@dataclass(frozen=True, kw_only=True)
class OrderTold:
    """One order as it ended. Quantities and prices are decimals as text."""

    client_order_id: str
    instrument: str
    kind: str
    side: str
    qty: str
    limit_price: str | None
    state: str
    reason: str | None
    filled_qty: str
    filled_avg_price: str | None


@dataclass(frozen=True, kw_only=True)
class AccountTold:
    """What one account did with the signals. ``positions`` maps an instrument to its signed quantity.

    ``exits`` counts its closed positions by the rule that closed them; ``pnl`` is what they realised, fees
    taken off, USD as text, null if a part is unknown. ``kept`` are open day trades: there should be none
    after the close.
    """

    account_id: str
    tier: str
    signals: int
    verdicts: Mapping[str, int]
    reasons: Mapping[str, int]
    orders: Sequence[OrderTold]
    executions: int
    positions: Mapping[str, str]
    exits: Mapping[str, int]
    pnl: str | None
    kept: Sequence[str]

    def filled(self) -> Counter[str]:
        """How many orders were filled completely, by kind of instrument."""
        return Counter(order.kind for order in self.orders if order.state == OrderState.FILLED)


class Letter(NamedTuple):
    """A kind of dead letter: which stage refused a record of which topic, and why."""

    topic: str
    stage: str
    reason: str


class LookAt(NamedTuple):
    """The topic and the symbol that got furthest; ``symbol`` is empty if no bar was played."""

    topic: str
    symbol: str


@dataclass(kw_only=True)
class Summary:
    """One demo. ``rows``: rows of the audit tables by topic; ``failures`` is empty if all is well.

    ``regular_bars``: bars of the session in its regular hours; ``conflicts``: event_ids by topic that have
    two bodies; ``letters``: dead letters by topic, stage and reason; ``look_at``: what to look at next;
    ``news``: what came of articles and posts, None if there were none.
    """

    tape: Mapping[str, Any]
    config_digest: str
    records: Mapping[str, int]
    events: Mapping[str, int]
    rows: Mapping[str, int]
    synthetic: Mapping[str, Mapping[str, int]]
    funnel: Sequence[FunnelLine]
    accounts: Sequence[AccountTold]
    digests: Sequence[DigestLine]
    regular_bars: int
    conflicts: Mapping[str, int]
    letters: Mapping[Letter, int]
    look_at: LookAt
    news: NewsTold | None = None
    timings: dict[str, float] = field(default_factory=dict)
    bytes_on_disk: int = 0
    failures: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The document of ``summary.json``."""
        return {
            "tape": dict(self.tape),
            "config_digest": self.config_digest,
            "failures": self.failures,
            "timings_s": self.timings,
            "bytes_on_disk": self.bytes_on_disk,
            "records": dict(self.records),
            "rows": {table_name(name): n for name, n in self.rows.items()},
            "synthetic": {name: dict(found) for name, found in self.synthetic.items()},
            "funnel": [_funnel_json(line) for line in self.funnel],
            "regular_bars": self.regular_bars,
            "dead_letters": [each._asdict() | {"count": n} for each, n in self.letters.items()],
            "accounts": [_account_json(account) for account in self.accounts],
            "news": None if self.news is None else self.news.to_json(),
            "digests": [vars(line) | {"agrees": line.agrees} for line in self.digests],
        }

    def write(self, path: Path) -> None:
        """Write the document."""
        path.write_text(json.dumps(self.to_json(), indent=1) + "\n")


def _funnel_json(line: FunnelLine) -> dict[str, Any]:
    return {
        "stage": line.stage,
        "account": line.account,
        "unit": line.unit,
        "in": line.taken,
        "out": line.given,
        "reasons": dict(line.reasons),
        "unexplained": line.unexplained,
    }


def _account_json(account: AccountTold) -> dict[str, Any]:
    told_ = {**vars(account), "orders": [vars(order) for order in account.orders]}
    return told_ | {"filled": dict(account.filled())}


def account_told(recording: Recording, account: Account) -> AccountTold:
    """What ``account`` did, from its topics."""
    book = AccountBook(recording, account.account_id)
    orders = []
    for order_id, records in sorted(book.orders.items(), key=lambda pair: pair[1][0]["event_time"]):
        last = records[-1]
        orders.append(
            OrderTold(
                client_order_id=order_id,
                instrument=last["instrument"],
                kind=describe(last["instrument"]).kind.value,
                side=last["side"],
                qty=_plain(last["qty"]),
                limit_price=None if last["limit_price"] is None else _plain(last["limit_price"]),
                state=last["state"],
                reason=last["reason"],
                filled_qty=_plain(last["filled_qty"]),
                filled_avg_price=(
                    None if last["filled_avg_price"] is None else _plain(last["filled_avg_price"])
                ),
            )
        )
    newest = book.newest_positions
    closed = [body for body in newest if not body["qty"]]
    realised = sum((body["realised"] for body in newest), ZERO)
    fees = sum((body["fee"] for body in book.executions), ZERO)
    return AccountTold(
        account_id=account.account_id,
        tier=account.tier,
        signals=book.signals,
        verdicts=told(Counter(body["verdict"] for body in book.proposals)),
        reasons=book.proposed().reasons,
        orders=orders,
        executions=len(book.executions),
        positions={name: _plain(body["qty"]) for name, body in book.positions.items() if body["qty"]},
        exits=told(Counter(body["exit_reason"] or NO_EXIT for body in closed)),
        pnl=None if any(body["needs_review"] for body in newest) else _plain(realised - fees),
        kept=sorted(b["instrument"] for b in newest if b["qty"] and not is_swing(b["strategy"] or "")),
    )


def _plain(number: Any) -> str:
    return f"{number.normalize():f}"


def synthetic_records(recording: Recording) -> dict[str, dict[str, int]]:
    """For each topic with an origin field, the number of records by origin."""
    found: dict[str, Counter[str]] = {}
    for name in ("bars", "quotes", "universe", "news", "posts"):
        if name in recording.topics:
            found[name] = Counter(body["origin"] for body in recording.bodies(name))
    answers = [body["payload"] for body in recording.bodies("account_inbox")]
    for kind in ("InboxQuote", "InboxChain"):
        origins = Counter(
            content["origin"] for what, content in answers if what.endswith(kind) and content["origin"]
        )
        found[f"account_inbox {kind}"] = origins
    return {name: dict(sorted(origins.items())) for name, origins in found.items()}


def look_at(recording: Recording) -> LookAt:
    """The last topic on the way to a trade that has records, and the symbol of its newest one.

    A symbol without bars is skipped: an option's root is not always the name of its stock.
    """
    played = {body["symbol"] for body in recording.bodies("bars")}
    way = [name for name in (*_DECIDED, *recording.signal_topics, *_MADE) if recording.bodies(name)]
    for name in way:
        newest = ((body["event_time"], _symbol(body)) for body in recording.bodies(name))
        if found := max((each for each in newest if each[1] in played), default=None):
            return LookAt(way[0], found[1])
    return LookAt("bars", "")


def _symbol(body: Mapping[str, Any]) -> str:
    return str(body["symbol"] if "symbol" in body else describe(body["instrument"]).underlying)


def is_synthetic(origin: str) -> bool:
    """Whether records of this origin are synthetic."""
    return origin.startswith(_SYNTHETIC)


def regular_bars(recording: Recording, session: int, calendar: Calendar) -> int:
    """How many bars of ``session`` (days since the epoch) are in its regular hours."""
    hours = calendar.session_on(session)
    return 0 if hours is None else sum(hours.open <= b["t"] < hours.close for b in recording.bodies("bars"))


def conflicts_in(recording: Recording) -> dict[str, int]:
    """How many event_ids have two bodies, by topic; topics without any are left out."""
    found = {name: len(set(each.digest.conflicts)) for name, each in recording.topics.items()}
    return {name: count for name, count in found.items() if count}


def letters_in(recording: Recording) -> dict[Letter, int]:
    """The dead letters by kind."""
    found = Counter(Letter(each.topic, each.stage, each.reason) for each in recording.refused())
    return dict(sorted(found.items()))


def failures(summary: Summary, *, orders_due: bool, exits_due: bool = False) -> list[str]:
    """Everything that failed, one sentence each.

    ``orders_due``: the tape must lead to orders; ``exits_due``: it goes to the close, and to exits on its
    way.
    """
    found = [
        f"{table_name(name)} has {summary.rows.get(name, 0)} rows, its topic {events} different events"
        for name, events in summary.events.items()
        if summary.rows.get(name) != events
    ]
    found += [
        f"the funnel of {line.name} does not add up: {line.taken} in, {line.given} out,"
        f" {sum(line.reasons.values())} with a reason, {line.unexplained} unexplained"
        for line in summary.funnel
        if not line.balanced
    ]
    found += [_digest_failure(line) for line in summary.digests if not line.agrees]
    found += _red_alarms(summary)
    found += [
        f"{count} records of {letter.topic} were refused by {letter.stage} ({letter.reason}): `tape tail"
        " dead_letters` shows them; correct the rows of the tape that they came from"
        for letter, count in summary.letters.items()
        if letter.reason != BODY_CONFLICT
    ]
    if not summary.regular_bars:
        found.append(_no_regular_bar(summary))
    found += _missing_orders(summary.accounts) if orders_due else []
    return found + (list(_missing_exits(summary.accounts)) if exits_due else [])


def _red_alarms(summary: Summary) -> Iterator[str]:
    """One event with two bodies. What is audited and decided depends on which came first."""
    letters = {each.topic for each in summary.letters if each.reason == BODY_CONFLICT}
    for name in sorted(letters | summary.conflicts.keys()):
        count = summary.conflicts.get(name, 0)
        yield (
            f"RED ALARM: {count or 'some'} event_ids of {name} were written again with a different body:"
            f" {CONFLICT_CAUSES}; `tape tail dead_letters` shows both; of two rows in a tape, delete one"
        )


def _no_regular_bar(summary: Summary) -> str:
    session, hours = summary.tape.get("session"), summary.tape.get("hours")
    return (
        f"no bar of the session {session} is in its regular hours ({hours}), so nothing was decided:"
        " are the file's times in UTC, one row a minute? name another --session, or play more --minutes"
    )


def _digest_failure(line: DigestLine) -> str:
    if line.conflicts:
        return f"{line.conflicts} event_ids of {line.stage} have two bodies in {line.what}"
    return f"{line.stage}: {line.what} rebuilt from the topics differs from live, first at {line.differs_at}"


def _missing_orders(accounts: Sequence[AccountTold]) -> list[str]:
    """Each account must have filled an option order, and one of them a stock order."""
    found = [
        f"{account.account_id} ({account.tier}) filled no option order"
        for account in accounts
        if not account.filled()[Kind.CALL] + account.filled()[Kind.PUT]
    ]
    if not any(account.filled()[Kind.STOCK] for account in accounts):
        found.append("no account filled a stock order")
    return found


def _missing_exits(accounts: Sequence[AccountTold]) -> Iterator[str]:
    """The day must end without day trades, and with an exit by price and one by time."""
    for account in accounts:
        if account.kept:
            yield f"{account.account_id} still holds day trades after the close: {', '.join(account.kept)}"
    fired = {R(rule) for account in accounts for rule in account.exits if rule in R.__members__}
    if not fired & BY_PRICE:
        yield "no position was closed by its price"
    if not fired - NOT_BY_TIME:
        yield "no position was closed by the time"
