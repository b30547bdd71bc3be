"""Checks of what trades: universe, accounts, orders, positions, controls, gates, calendar, alarms."""

from collections.abc import Iterator

from tapedeck.connectors.controls import EVERY_ACCOUNT
from tapedeck.connectors.tapes.writers import LIVE
from tapedeck.streams.config.accounts import Action
from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.streams.sessions import iso_date
from tapedeck.streams.stages.account.rules.gate_types import (
    GateInputs,
    Identity,
    KillState,
    Regime,
    Rules,
)
from tapedeck.streams.stages.account.rules.gates import GATES, evaluate
from tapedeck.streams.stages.account.rules.orders import OrderState
from tapedeck.streams.stages.account.rules.positions import Kind
from tapedeck.tape.doctor.check import Check, amber, graded, green, idle, lasting, red, some
from tapedeck.tape.doctor.checks.processes import is_young
from tapedeck.tape.doctor.findings import Finding
from tapedeck.tape.doctor.plan import DISPATCHER
from tapedeck.tape.doctor.snapshot import Feed, Section, Snapshot
from tapedeck.tape.status.standings import standings_in

CLOSING_US = 5 * MINUTE_US
DOUBT_US = MINUTE_US
HEARD_US = MINUTE_US
"""How long the broker may be silent. Its stream of updates is pinged every ten seconds."""
VERIFY_US = 10 * MINUTE_US
"""How long an account may be unverified: it is asked every five minutes."""
HORIZON_DAYS = 30
BROKER = "broker"
"""The source that a dispatcher's heartbeat names."""
CLOSING = "CLOSING"
ACTIVE = "ACTIVE"
_SETTLED_US = 2 * MINUTE_US
"""How long a new universe may take to reach the watchlist."""


def _universe(snap: Snapshot) -> Iterator[Finding]:
    seen, found = snap.universe, False
    if seen is None:
        if snap.feed is Feed.TAPE:
            yield idle("no tape was played yet, so there is no universe")
        else:
            yield red("there is no universe", stage=LIVE, remedy="tape universe")
        return
    if snap.feed is Feed.LIVE and snap.config is not None:
        wanted = frozenset(snap.config.universe.symbols)
        if odd := sorted(wanted ^ seen.symbols):
            found = True
            yield red(
                f"universe {seen.version} differs from the configured one in {len(odd)} symbols: {some(odd)}",
                since=seen.at,
                remedy="tape universe",
            )
    listed = snap.watchlist
    if listed is not None:
        if strangers := sorted(listed.symbols - seen.symbols):
            found = True
            yield red(
                f"the watchlist has symbols outside universe {seen.version}: {some(strangers)}",
                stage=_lister(snap),
                remedy=f"tape logs {_lister(snap)}; restart it",
            )
        elif snap.session and listed.universe != seen.version and _is_settled(snap, seen.at):
            found = True
            yield red(
                f"the watchlist is ranked from universe {listed.universe}, in force is {seen.version}",
                since=seen.at,
                stage=_lister(snap),
                remedy=f"tape logs {_lister(snap)}; restart it",
            )
    if not found:
        yield green(f"universe {seen.version} with {len(seen.symbols)} symbols is the one in use")


def _is_settled(snap: Snapshot, at: int) -> bool:
    session, now = snap.session, snap.market_now
    return session is not None and now is not None and now - max(at, session.open) > _SETTLED_US


def _lister(snap: Snapshot) -> str:
    writer = snap.topology.writer("watchlist")
    return writer.name if writer else ""


def _accounts(snap: Snapshot) -> Iterator[Finding]:
    if snap.config is None or not snap.config.accounts or not snap.topology.accounts:
        yield idle("no account is configured")
        return
    found = {each.account: each for each in snap.accounts}
    for account in snap.config.accounts:
        name = account.account_id
        stage, seen, remedy = f"{DISPATCHER}{name}", found.get(name), f"the log of {DISPATCHER}{name}"
        if seen is None:
            early = snap.market_now is None or (snap.feed is Feed.TAPE and not _has_marks(snap))
            if early or is_young(snap, stage):
                yield idle(f"account {name} waits for the market's first minute")
            else:
                yield red(f"account {name} has no record: its dispatcher never asked the broker",
                          stage=stage, remedy=remedy)  # fmt: skip
        elif seen.identity == Identity.ACCOUNT_MISMATCH or (
            seen.broker_account is not None and seen.broker_account != account.broker_account_id
        ):
            yield red(
                f"the credentials of account {name} reach broker account {seen.broker_account}, "
                f"configured is {account.broker_account_id}",
                since=seen.at,
                stage=stage,
                remedy=f"correct {account.key_ref} and {account.secret_ref}, then restart {stage}",
            )
        elif seen.identity != Identity.VERIFIED:
            yield _unverified(snap, name, seen.at, stage, remedy)
        elif seen.status not in (ACTIVE, None):
            yield red(
                f"account {name} is {seen.status} at the broker", since=seen.at, stage=stage, remedy=remedy
            )
        elif seen.alarm:
            yield red(
                f"openings of account {name} are blocked: {seen.alarm}",
                since=seen.at,
                stage=stage,
                remedy=f"compare the broker's positions with ours; tape tail positions, then {remedy}",
            )
        else:
            yield _heard(snap, name, stage) or green(f"account {name} is {seen.broker_account}, verified")


def _heard(snap: Snapshot, name: str, stage: str) -> Finding | None:
    """How long the broker has been silent, if that is too long. An older release does not say."""
    for beat in snap.beats_of(stage):
        for each in standings_in(beat.counts):
            silent = each.for_s * SECOND_US + max(0, snap.now - beat.at)
            if each.source == BROKER and silent > HEARD_US:
                return graded(
                    silent, HEARD_US,
                    f"the broker of account {name} was last heard {lasting(silent)} ago",
                    since=snap.now - silent, stage=stage,
                    remedy=f"the log of {stage} says what it answers; look at the broker's status page",
                )  # fmt: skip
    return None


def _has_marks(snap: Snapshot) -> bool:
    return any(mark.label is not None for mark in snap.marks.values())


def _unverified(snap: Snapshot, name: str, at: int, stage: str, remedy: str) -> Finding:
    if is_young(snap, stage):
        return green(f"account {name} is being verified")
    now = snap.market_now
    told = red if now is not None and now - at > VERIFY_US else amber
    return told(
        f"account {name} is not verified: nothing opens", since=at, stage=stage,
        remedy=f"{remedy} has the self-test; its credentials may be revoked",
    )  # fmt: skip


def _orders(snap: Snapshot) -> Iterator[Finding]:
    now = snap.market_now
    doubtful = [
        each
        for each in snap.orders
        if each.state in (OrderState.UNKNOWN, OrderState.UNRECOGNISED)
        and (now is None or now - each.since > DOUBT_US)
    ]
    for each in doubtful:
        age = lasting(now - each.since) if now is not None else "an unknown time"
        yield red(
            f"order {each.order} of account {each.account} has been {each.state} for {age}",
            since=each.since,
            stage=f"{DISPATCHER}{each.account}",
            remedy=f"look the order up at the broker; tape explain {each.order}",
        )
    if not doubtful:
        yield green(f"{len(snap.orders)} orders work, none is in doubt")


def _positions(snap: Snapshot) -> Iterator[Finding]:
    now = snap.market_now
    stuck = [
        each
        for each in snap.positions
        if each.state == CLOSING and (now is None or now - each.since > CLOSING_US)
    ]
    for each in stuck:
        age = lasting(now - each.since) if now is not None else "an unknown time"
        yield red(
            f"position {each.instrument} of account {each.account} has been CLOSING for {age}",
            since=each.since,
            stage=f"{DISPATCHER}{each.account}",
            remedy=f"tape why {each.instrument} --held shows the close; look its order up at the broker",
        )
    differ = [(seen, *each) for seen in snap.compared for each in seen.differs]
    for seen, instrument, ours, theirs in differ:
        yield red(
            f"the broker holds {theirs:f} {instrument} for account {seen.account}, ours is {ours:f}",
            since=seen.at,
            stage=f"{DISPATCHER}{seen.account}",
            remedy=f"tape tail positions; the log of {DISPATCHER}{seen.account} has the comparison",
        )
    if not stuck and not differ:
        yield green(
            f"{len(snap.positions)} positions are held, none is stuck in closing, and "
            f"{len(snap.compared)} accounts agree with their broker"
        )


def _controls(snap: Snapshot) -> Iterator[Finding]:
    if not snap.topology.accounts:
        yield idle("the pipeline has no accounts")
        return
    known = {each.scope: each for each in snap.controls}
    if EVERY_ACCOUNT not in known:
        yield red(
            "no control was ever written for all accounts: nothing can open (KILL_SWITCH_UNKNOWN)",
            remedy="tape init",
        )
        return
    stopped = [each for each in snap.controls if each.state != KillState.ACTIVE]
    for each in stopped:
        name = "all" if each.scope == EVERY_ACCOUNT else each.scope
        yield amber(
            f"openings of {name} are stopped, {each.state} by {each.person}: {each.reason}",
            since=each.at,
            remedy=f"tape release {name} --person NAME --reason WHY",
        )
    if not stopped:
        yield green(f"{len(known)} controls are {KillState.ACTIVE}")


def _gates(snap: Snapshot) -> Iterator[Finding]:
    """Each gate must refuse when everything that it judges is missing."""
    if snap.config is None or not snap.config.accounts:
        yield idle("no account is configured")
        return
    passing = list(_passing(snap))
    if passing:
        yield red(
            f"gates let pass what they know nothing of: {some(passing)}",
            remedy="tape pause all --person NAME --reason WHY",
        )
    else:
        yield green(f"{len(GATES)} gates refuse an unknown input")


def _passing(snap: Snapshot) -> Iterator[str]:
    assert snap.config is not None
    rules = Rules(snap.config.accounts[0], snap.config)
    blind = (
        GateInputs(now=snap.now, action=Action.BUY_CALL, kind=Kind.CALL, regime=Regime(on=True)),
        GateInputs(now=snap.now, action=Action.SELL_STOCK, kind=Kind.STOCK),
        GateInputs(now=snap.now, action=Action.HOLD, kind=Kind.STOCK),
    )
    refused = {each.gate for case in blind for each in evaluate(case, rules) if not each.passed}
    yield from (gate.name for gate in GATES if gate.name not in refused)


def _calendar(snap: Snapshot) -> Iterator[Finding]:
    today = snap.calendar.session_date(snap.now)
    first, last = snap.calendar.horizon()
    left = last - today
    remedy = "upgrade this release: extend the range in streams/sessions.py"
    if not first <= today <= last:
        yield red(f"the calendar ends on {iso_date(last)}: nothing opens", remedy=remedy)
    elif left < HORIZON_DAYS:
        yield amber(f"the calendar ends in {left} days, on {iso_date(last)}", remedy=remedy)
    else:
        yield green(f"the calendar reaches to {iso_date(last)}")


def _alerts(snap: Snapshot) -> Iterator[Finding]:
    bad = {each.sink for each in snap.sink_faults}
    for each in snap.sink_faults:
        yield red(
            f"the alert sink {each.sink} takes no alarms: {each.what}",
            since=each.since,
            stage=each.sink,
            remedy=each.remedy or "tape doctor --alert",
        )
    if well := [each for each in snap.sinks if each not in bad]:
        yield green(f"alarms go to {some(well)}")
    elif not snap.sinks:
        yield red(
            "no alert sink is set: nobody hears of a red check",
            remedy="set TAPE_ALERT_WEBHOOK or TAPE_ALERT_EMAIL",
        )


_READ = (Section.BROKER, Section.STANDING)
UNIVERSE = Check(
    name="universe",
    rule="one universe: the configured one, the one that the watchlist is ranked from, and a superset of it; "
    "otherwise red",
    steps=(
        "`tape tail universe` shows the version in force",
        "`tape universe` writes the configured one",
        "restart the stage in the finding if it stays with an older version",
    ),
    look=_universe,
    needs=(Section.BROKER, Section.NEWEST),
)
ACCOUNTS = Check(
    name="accounts",
    rule="every account is verified as the configured broker account, active, and without an alarm; not "
    "verified is amber for 10 min, everything else red; its broker was heard within 60 s, amber to twice "
    "that",
    steps=(
        "the dispatcher's log has the self-test: address, account number, status",
        "correct the credentials' references, or the broker account, in the document",
        "for an alarm, compare positions at the broker with `tape tail positions`; openings stay blocked",
    ),
    look=_accounts,
    needs=_READ,
)
ORDERS = Check(
    name="orders",
    rule="no order is UNKNOWN for more than 60 s; otherwise red",
    steps=(
        "look the client order id up at the broker",
        "`tape explain ORDER` shows what was sent and answered",
        "the dispatcher asks on; `tape pause ACCOUNT` stops openings meanwhile",
    ),
    look=_orders,
    needs=_READ,
)
POSITIONS = Check(
    name="positions",
    rule="no position is CLOSING for more than 5 min, and each is what the broker listed when it was last "
    "asked; otherwise red",
    steps=(
        "look at the close: `tape why INSTRUMENT --held`, and at its order at the broker",
        "see whether the instrument trades: `tape tail market_events`",
        "close it by hand at the broker if you must; the dispatcher books what happens",
    ),
    look=_positions,
    needs=_READ,
)
CONTROLS = Check(
    name="controls",
    rule="a control exists for all accounts and none stops openings; a pause is amber, no control red",
    steps=(
        "`tape tail controls` shows who stopped what, and why",
        "`tape release SCOPE --person NAME --reason WHY` once that is over",
        "`tape init` writes the first control of a new pipeline",
    ),
    look=_controls,
    needs=_READ,
)
GATES_CHECK = Check(
    name="gates",
    rule="each gate refuses when everything that it judges is missing (self-test); otherwise red",
    steps=(
        "`tape pause all --person NAME --reason WHY`: a gate that lets everything pass protects nothing",
        "`tape step gates` shows what it judges",
        "install a release whose gates pass the self-test",
    ),
    look=_gates,
)
CALENDAR = Check(
    name="calendar",
    rule="the exchange calendar reaches 30 days ahead; amber below, red past its end",
    steps=(
        "see whether a newer release has a longer calendar",
        "upgrade, readers first",
        "past the end nothing opens, and closing asks the broker",
    ),
    look=_calendar,
)
ALERTS = Check(
    name="alerts",
    rule="a sink of alarms is set, TAPE_ALERT_WEBHOOK, TAPE_ALERT_EMAIL or a local stack's log, and took "
    "what was sent last; otherwise red",
    steps=(
        "set TAPE_ALERT_WEBHOOK or TAPE_ALERT_EMAIL where `tape doctor` runs",
        "`tape doctor --alert` sends what it finds",
        "see that the message arrives",
    ),
    look=_alerts,
)
