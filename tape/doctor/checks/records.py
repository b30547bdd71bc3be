"""Checks of the records: in the audit store, new enough in a session, and none refused."""

from collections.abc import Iterator

from tapedeck.connectors.dead_letters import BODY_CONFLICT
from tapedeck.connectors.postgres.offsets import DEFAULT_GROUP as SINK
from tapedeck.connectors.tapes.writers import LIVE
from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.streams.topology import Topology
from tapedeck.tape.doctor.check import Check, amber, clock, graded, green, idle, lasting, red, some, unknown
from tapedeck.tape.doctor.checks.flow import LAG, closed, writer_of
from tapedeck.tape.doctor.checks.processes import START_US
from tapedeck.tape.doctor.findings import Finding
from tapedeck.tape.doctor.snapshot import Feed, Section, Snapshot

LETTERS_US = 15 * MINUTE_US
"""How far back a dead letter is still news."""
MANY_LETTERS = 50
LIMITS_US = {
    "bars": 180 * SECOND_US, "features": 240 * SECOND_US, "watchlist": 600 * SECOND_US,
    "news": 1_800 * SECOND_US, "accounts": 360 * SECOND_US,
}  # fmt: skip
"""How old the newest record may be in a session. An account's record follows the broker's answer every 300 s:
60 s after that; that the broker is heard every 60 s, the check of accounts sees in heartbeats."""
SYMBOL_US = 180 * SECOND_US


def _sink(snap: Snapshot) -> Iterator[Finding]:
    beats = snap.beats_of(SINK)
    if not beats:
        yield unknown("the sink has never reported", stage=SINK, remedy="tape sink", follows=True)
        return
    beat = beats[0]
    lag = snap.store.lag if snap.store is not None and snap.store.lag is not None else beat.lag
    conflicts = beat.counts.get(BODY_CONFLICT, 0)
    if conflicts:
        yield red(
            f"RED ALARM: {conflicts} events came again with another body",
            stage=SINK,
            remedy="tape tail dead_letters; keep the folder as evidence",
        )
    if lag is None:
        young = beat.started_at is not None and snap.now - beat.started_at < START_US
        yield (
            green("the sink has just started")
            if young
            else unknown("the lag of the sink is not known", stage=SINK, remedy="tape logs sink")
        )
    elif lag > LAG and beat.advanced is False:
        yield red(
            f"the sink stands still, {lag} records behind",
            since=beat.at,
            stage=SINK,
            remedy="tape logs sink; then look at Postgres",
        )
    elif lag > LAG and snap.feed is Feed.LIVE:
        yield amber(
            f"the sink is {lag} records behind", stage=SINK, remedy="tape logs sink; then look at Postgres"
        )
    else:
        yield green(f"the sink is {lag} records behind")


def _staleness(snap: Snapshot) -> Iterator[Finding]:
    session, now = snap.session, snap.market_now
    if session is None or now is None:
        yield idle("a tape is played: no record is due" if snap.feed is Feed.TAPE else closed(snap))
        return
    for name, limit in LIMITS_US.items():
        if not _is_of(snap.topology, name):
            continue
        newest = snap.newest.get(name)
        age = now - max(newest or 0, session.open)
        if newest is None and age > limit:
            yield unknown(
                f"{name} has no record", stage=_made_by(snap, name), remedy=f"tape tail {name}", follows=True
            )
        else:
            ended = clock(newest) if newest else "before the session"
            yield graded(
                age, limit, f"the newest record of {name} is from {ended}, {lasting(age)} ago",
                since=newest, stage=_made_by(snap, name), remedy=f"tape tail {name}",
            )  # fmt: skip


def _is_of(topology: Topology, name: str) -> bool:
    """Whether a topic belongs to the pipeline."""
    return name in topology.sources or topology.writer(name) is not None


def _made_by(snap: Snapshot, name: str) -> str:
    writer = snap.topology.writer(name)
    return writer.name if writer is not None else writer_of(name)


def _symbols(snap: Snapshot) -> Iterator[Finding]:
    session, now = snap.session, snap.market_now
    if session is None or now is None or snap.watchlist is None:
        yield idle(closed(snap) if snap.feed is Feed.LIVE else "a tape is played: no bar is due")
        return
    ages = {
        symbol: now - max(snap.fresh.get(symbol, 0), session.open)
        for symbol in sorted(snap.watchlist.symbols)
    }
    old = {symbol: age for symbol, age in ages.items() if age > SYMBOL_US}
    if old:
        age = max(old.values())
        yield graded(
            age, SYMBOL_US, f"watched symbols lack a fresh bar for up to {lasting(age)}: {some(old)}",
            since=now - age, stage=LIVE, remedy=f"tape why {next(iter(old))}",
        )  # fmt: skip
    else:
        yield green(f"{len(ages)} watched symbols have a bar within {SYMBOL_US // SECOND_US} s")


def _letters(snap: Snapshot) -> Iterator[Finding]:
    now = snap.market_now
    recent = [each for each in snap.letters if now is not None and now - each.newest <= LETTERS_US]
    alarms = [each for each in snap.letters if each.reason == BODY_CONFLICT]
    for each in alarms:
        yield red(
            f"RED ALARM: {each.number} dead letters {BODY_CONFLICT} by {each.stage}",
            since=each.newest,
            stage=each.stage,
            remedy="tape tail dead_letters",
        )
    for each in sorted(recent, key=lambda each: -each.number):
        if each in alarms:
            continue
        told = red if each.number >= MANY_LETTERS else amber
        yield told(
            f"{each.number} dead letters {each.reason} by {each.stage}, the newest at {clock(each.newest)}",
            since=each.newest,
            stage=each.stage,
            remedy="tape tail dead_letters",
        )
    if not recent and not alarms:
        yield green(f"no dead letter in the last {LETTERS_US // MINUTE_US} min")


SINK_CHECK = Check(
    name="sink",
    rule="the sink is 10,000 records behind or fewer; amber above, red if it stands still or bodies conflict",
    steps=(
        "`tape logs sink`, or the log of its process",
        "look at Postgres: locks, disk, connections",
        "restart the sink: no row is lost or written twice",
    ),
    look=_sink,
    needs=(Section.BROKER, Section.BEATS),
)
STALENESS = Check(
    name="staleness",
    rule="in a session, the newest record is no older than: bars 180 s, features 240 s, watchlist 600 s, "
    "news 30 min, accounts 360 s; amber to twice that, red above",
    steps=(
        "look at feed and delay first: they name the process",
        "`tape tail TOPIC` shows the newest record",
        "`tape why SYMBOL` says where a symbol's records end",
    ),
    look=_staleness,
    needs=(Section.BROKER, Section.NEWEST),
)
SYMBOLS = Check(
    name="symbols",
    rule="in a session, every watched symbol has a bar of the last 180 s; amber to twice that, red above",
    steps=(
        "`tape why SYMBOL` for the first symbol in the finding",
        "see whether it is halted: `tape tail market_events`",
        "look at the ingester's log for symbols that the plan lacks",
    ),
    look=_symbols,
    needs=(Section.BROKER, Section.NEWEST),
)
LETTERS = Check(
    name="dead_letters",
    rule="none in the last 15 min; amber if there are some, red from 50 on and for BODY_CONFLICT",
    steps=(
        "`tape tail dead_letters` shows the record, the stage and the error",
        "correct the producer, or upgrade the stage that cannot read it",
        "keep the folder as evidence for BODY_CONFLICT: an event came again with another body",
    ),
    look=_letters,
    needs=(Section.BROKER, Section.LETTERS),
)
