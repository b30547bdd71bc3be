"""The check of what accounts themselves warn of, and of a halt that is not over: what a person does first."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tapedeck.streams.stages.account.rules.orders import OrderState
from tapedeck.tape.doctor.check import Check, amber, green, idle, red
from tapedeck.tape.doctor.findings import Finding
from tapedeck.tape.doctor.plan import DISPATCHER
from tapedeck.tape.doctor.snapshot import AccountSeen, Section, Snapshot

FLAT = "FLAT"


class Kind(NamedTuple):
    """A kind of warning: how bad it is, what is said of its subject, and the first step of a person."""

    told: Callable[..., Finding]
    words: str
    first: str


KINDS: dict[str, Kind] = {
    "CLOSE_STUCK": Kind(
        red,
        "the close of position {subject} was tried too often",
        "tape orders {account} shows why the broker took none; close it at the broker if it must go now",
    ),
    "NEEDS_REVIEW": Kind(
        red,
        "an adjustment in {subject} waits for a person: its P&L is unknown, and openings there are blocked",
        "tape reconcile {account}, then --resolve ADJUSTMENT with the price of the broker's statement",
    ),
    "ORDER_UNKNOWN": Kind(
        red,
        "nobody knows what became of order {subject}",
        "look the order up at the broker; tape explain {subject}",
    ),
    "MARK_MISSING": Kind(
        amber,
        "{subject} has no price: exits by price do not run, those by time do",
        "see whether it trades: tape tail market_events, and the quotes in the log of the dispatcher",
    ),
    "REGIME_UNKNOWN": Kind(
        amber,
        "the volatility {subject} is unknown, so nothing opens: no value is newer than regime.max_age_s",
        "tape tail regime shows the newest value; write later ones with tape ingest regime FILE",
    ),
    "EARNINGS_UNKNOWN": Kind(
        amber,
        "nobody knows when {subject} reports earnings next: no exit before they come",
        "add its next report to the file, then tape ingest earnings FILE",
    ),
    "UNDERSIZED": Kind(
        amber,
        "position {subject} is smaller than what was decided: its entry was filled in part",
        "tape positions {account}; its exits go by what was filled, so nothing needs to be done",
    ),
    "DUST": Kind(
        amber,
        "less than one unit of {subject} is left, which no limit order can sell",
        "sell the rest at the broker; the dispatcher books it",
    ),
}


def _warnings(snap: Snapshot) -> Iterator[Finding]:
    if not snap.accounts:
        yield idle("no account has a record yet")
        return
    found = False
    doubtful = {each.order for each in snap.orders if each.state == OrderState.UNKNOWN}
    for seen in snap.accounts:
        for text in seen.warnings:
            kind, _, subject = text.partition(":")
            if kind == "ORDER_UNKNOWN" and subject in doubtful:
                continue  # the check of orders says it, with its age
            found = True
            yield _told(seen, kind, subject)
        if seen.halt_step not in (None, FLAT):
            found = True
            yield amber(
                f"account {seen.account} is being halted: {seen.halt_step}",
                since=seen.at,
                stage=f"{DISPATCHER}{seen.account}",
                remedy=f"tape positions {seen.account} and tape orders {seen.account} show what is left",
            )
    if not found:
        yield green(f"{len(snap.accounts)} accounts warn of nothing")


def _told(seen: AccountSeen, kind: str, subject: str) -> Finding:
    known = KINDS.get(kind, Kind(amber, f"it warns of {kind} {{subject}}", "tape accounts"))
    told = {"subject": subject, "account": seen.account}
    return known.told(
        f"account {seen.account}: {known.words.format(**told)}",
        since=seen.at,
        stage=f"{DISPATCHER}{seen.account}",
        remedy=known.first.format(**told),
    )


WARNINGS = Check(
    name="warnings",
    rule="no account warns of a close that is stuck, an adjustment to review or an order in doubt (red), nor "
    "of a missing mark, an unknown regime, unknown earnings, an entry filled in part or a rest that cannot "
    "be sold (amber); a halt ends FLAT",
    steps=(
        "`tape accounts` shows the warnings, `tape positions` and `tape orders` what they are about",
        "`tape reconcile ACCOUNT` compares with the broker; `--resolve` settles an adjustment",
        "`tape halt ACCOUNT --person NAME --reason WHY` closes everything if you are not sure",
    ),
    look=_warnings,
    needs=(Section.BROKER, Section.STANDING),
)
