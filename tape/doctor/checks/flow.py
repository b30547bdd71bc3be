"""Checks of the flow of records: sources, watermarks, lag, groups, the sink, staleness, dead letters."""

from collections.abc import Iterator
from dataclasses import replace

from tapedeck.connectors.alpaca.market.states import RED_AFTER_S
from tapedeck.connectors.tapes.player import SOURCES
from tapedeck.connectors.tapes.writers import LIVE, LIVE_NEWS, LIVE_POSTS
from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.tape.doctor.check import (
    Check,
    amber,
    clock,
    graded,
    green,
    idle,
    lasting,
    red,
    some,
    unknown,
)
from tapedeck.tape.doctor.checks.processes import is_young
from tapedeck.tape.doctor.findings import Finding
from tapedeck.tape.doctor.nodes import Node, nodes
from tapedeck.tape.doctor.snapshot import Feed, Section, Snapshot
from tapedeck.tape.status.standings import Severity as State
from tapedeck.tape.status.standings import standings_in

FEED_US = 90 * SECOND_US
"""How long after its end a minute of the sources may lack its watermark."""
LAG = 10_000
"""Offsets: more are a matter of capacity, even if the minutes are on time."""
_STALE = "STALE"
_QUIET_STATES = ("PARTIAL",)


def _sources(snap: Snapshot) -> Iterator[Finding]:
    if snap.feed is Feed.TAPE:
        yield idle("tapes are played into the sources: no connection is expected")
        return
    well = 0
    for beat in snap.beats:
        for each in standings_in(beat.counts):
            if each.severity is State.GREEN or each.state in _QUIET_STATES:
                well += 1
                continue
            bad = each.severity is State.RED or (not each.source and each.for_s >= RED_AFTER_S)
            name = f"{beat.stage}'s source {each.source}" if each.source else beat.stage
            yield (red if bad else amber)(
                f"{name} has been {each.state} for {lasting(each.for_s * SECOND_US)}",
                since=beat.at - each.for_s * SECOND_US,
                stage=beat.stage,
                remedy=_REMEDIES.get(each.state, f"the log of {beat.stage} says what it answers"),
            )
    yield green(f"{well} sources are connected") if well else idle("no source says how it is")


_REMEDIES = {
    "REFUSED": "the login was refused or revoked: renew TAPE_DATA_KEY_REF and TAPE_DATA_SECRET_REF's values, "
    "then restart it",
    "NO_APP": "set the credentials of the Reddit app, then restart it",
    "TOKEN_EXPIRED": "renew the credentials of the Reddit app, then restart it",
    "HELD_BY_GHOST": "wait three minutes; then look for another process with the same key",
    _STALE: "the feed is mute: look at its status page; it is asked again by itself",
}


def _entitlement(snap: Snapshot) -> Iterator[Finding]:
    if snap.feed is Feed.TAPE or snap.config is None:
        yield idle("no live feed is configured here")
        return
    wanted = snap.config.bars.feed
    others = sorted(snap.feeds - {wanted})
    if others and wanted not in snap.feeds:
        yield red(
            f"the newest bars are of feed {some(others)}, configured is {wanted}: nothing is decided on them",
            stage=LIVE,
            remedy=f"set bars.feed, or give the plan the feed {wanted}; then restart `tape ingest bars`",
        )
        return
    partial = [
        each
        for beat in snap.beats_of(LIVE)
        for each in standings_in(beat.counts)
        if each.state in _QUIET_STATES
    ]
    if partial:
        yield red(
            f"the plan does not include all symbols of the universe (PARTIAL for {partial[0].for_s} s)",
            stage=LIVE,
            remedy="choose fewer symbols in [universe], or another plan; the log of ingest-bars names them",
        )
    else:
        yield (
            green(f"bars are of the configured feed {wanted}")
            if wanted in snap.feeds
            else idle("no bar was kept to tell its feed by")
        )


def _feed(snap: Snapshot) -> Iterator[Finding]:
    if snap.feed is Feed.TAPE:
        yield idle("tapes are played into the sources: no minute is due")
        return
    session, now = snap.session, snap.market_now
    if session is None or now is None:
        yield idle(closed(snap))
        return
    wanted = {each.stage for each in snap.expected}
    for name in snap.topology.sources:
        writer = writer_of(name)
        if writer not in wanted:
            continue
        mark = snap.marks.get(name)
        if mark is None or mark.label is None:
            yield red(f"{name} has no watermark", stage=writer, remedy=f"the log of {writer}")
            continue
        end = max(mark.later or mark.label, mark.label) + MINUTE_US
        late = now - max(end, session.open)
        what = f"the last minute of {name} ended at {clock(end)}, {lasting(late)} ago"
        if late <= FEED_US:
            yield green(what)
        else:
            yield red(
                f"{what}: {writer} ends no minutes", since=end, stage=writer, remedy=f"the log of {writer}"
            )


def writer_of(name: str) -> str:
    if name in SOURCES:
        return LIVE
    return {"news": LIVE_NEWS, "posts": LIVE_POSTS}.get(name, "")


def closed(snap: Snapshot) -> str:
    """Why no data is expected."""
    now = snap.market_now
    if now is None:
        return "the market has no time yet"
    try:
        date = snap.calendar.session_date(now)
        today = snap.calendar.session_on(date)
    except Exception:
        return "the calendar does not reach this day"
    if today is None:
        return "no session today: a holiday or a weekend"
    return f"the {today.kind.lower()} session is {clock(today.open)} to {clock(today.close)}"


def _delay(snap: Snapshot) -> Iterator[Finding]:
    found = [
        replace(finding, follows=node.waits)
        for node in nodes(snap)
        if (finding := _behind(snap, node)) is not None
    ]
    yield from found
    if not found:
        yield idle("no source has a watermark yet")


def _behind(snap: Snapshot, node: Node) -> Finding | None:
    """How far one is behind what it waits for; None where that has no watermark itself."""
    if node.ahead is None:
        return None
    young = is_young(snap, node.stage)
    remedy = f"tape status --watch, and the log of {node.stage}"
    if node.own is None:
        if young:
            return green(f"{node.stage} has just started")
        if _has_read_all(snap, node):
            return green(f"{node.stage} has read its input, of which no minute ended since it started")
        return red(
            f"{node.stage} is the first without a watermark; its input is at {clock(node.ahead)}",
            stage=node.stage,
            remedy=remedy,
        )
    late = max(0, node.ahead - node.own)
    what = f"{node.stage} is {lasting(late)} behind its input"
    if late <= node.limit:
        return green(what)
    if young:
        return green(f"{what}, and has just started")
    if snap.feed is Feed.TAPE and node.moved:
        return green(f"{what} of a tape, and goes on")
    way = {None: "", True: ", and is slow", False: ", and stands still"}[node.moved]
    since = node.own + MINUTE_US
    if node.moved is False:
        return red(f"{what}{way}", since=since, stage=node.stage, remedy=remedy)
    return graded(late, node.limit, f"{what}{way}", since=since, stage=node.stage, remedy=remedy)


def _has_read_all(snap: Snapshot, node: Node) -> bool:
    """Whether its group has read everything but what opens the next minute, one message per partition."""
    group = snap.groups.get(node.stage)
    lags = {name: group.lag.get(name) if group else None for name in node.inputs}
    return bool(lags) and all(n is not None and n <= snap.layout.partitions(name) for name, n in lags.items())


def _lag(snap: Snapshot) -> Iterator[Finding]:
    triggers = {spec.name: spec.trigger for spec in snap.topology.market}
    for name, trigger in triggers.items():
        beats = snap.beats_of(name)
        group = snap.groups.get(name)
        lag = group.lag.get(trigger) if group is not None else None
        if lag is None and beats and all(each.lag is not None for each in beats):
            lag = max(each.lag for each in beats if each.lag is not None)
        young = is_young(snap, name)
        if lag is None:
            if young or not beats:
                continue  # the heartbeats' check tells of a stage that is not there
            yield unknown(f"the lag of {name} is not known", stage=name, remedy="tape status", follows=True)
            continue
        still = bool(beats) and all(each.advanced is False for each in beats)
        what = f"{name} is {lag} records behind the end of {trigger}"
        if lag <= LAG or young or (snap.feed is Feed.TAPE and not still):
            yield green(what)
        elif still:
            yield red(f"{what}, and takes none", stage=name, remedy=f"the log of {name}; then restart it")
        else:
            yield amber(what, stage=name, remedy=f"run more processes: tape worker {name}")


def _groups(snap: Snapshot) -> Iterator[Finding]:
    well = 0
    for each in snap.expected:
        group = snap.groups.get(each.stage)
        if group is None:
            continue
        if group.members is None:
            yield unknown(
                f"the members of the group of {each.stage} are not known", stage=each.stage, follows=True
            )
        elif group.members == 0 and not is_young(snap, each.stage):
            yield red(
                f"the consumer group of {each.stage} has no members",
                stage=each.stage,
                remedy=each.start,
                follows=True,
            )
        else:
            well += 1
    yield green(f"{well} consumer groups have members") if well else idle("no consumer group is known")


SOURCES_CHECK = Check(
    name="sources",
    rule="every feed is connected; amber while it is tried again, red if it was refused or after 3 min",
    steps=(
        "the log of the ingester quotes the server's answer",
        "REFUSED: renew the key and its secret, then restart the ingester; it is not tried again by itself",
        "otherwise look at the provider's status page: it is tried again by itself",
    ),
    look=_sources,
    needs=(Section.BROKER, Section.BEATS),
)
ENTITLEMENT = Check(
    name="entitlement",
    rule="the plan gives what bars.feed and the universe ask for; otherwise red",
    steps=(
        "the log of `tape ingest bars` has the probe of its start",
        "compare bars.feed and the number of symbols with the plan of the data account",
        "change the document or the plan, then restart the ingester",
    ),
    look=_entitlement,
    needs=(Section.BROKER, Section.BEATS),
)
FEED = Check(
    name="feed",
    rule="in a session, the sources end each minute within 90 s; later is red",
    steps=(
        "read the log of the ingester in the finding",
        "check that its clock is right: `tape doctor --check clocks`",
        "restart it; it backfills what is missing",
    ),
    look=_feed,
    needs=(Section.BROKER, Section.MARKS),
)
DELAY = Check(
    name="delay",
    rule="a stage ends a minute within 180 s of its input (scorer 120 s); amber to twice that, red above or "
    "if it stands still. Only the first that lags is named",
    steps=(
        "read the log of the stage in the finding; those after it only wait for it",
        "if it is slow, look at its CPU and give it more processes",
        "if it stands still, restart it: it continues from its state",
    ),
    look=_delay,
    needs=(Section.BROKER, Section.MARKS, Section.BEATS),
)
LAG_CHECK = Check(
    name="lag",
    rule="10,000 records behind or fewer; amber above, red if none is taken. Unknown is never 0",
    steps=(
        "`tape status --watch`: does the lag fall?",
        "run more processes of the stage, up to its partitions",
        "restart it if it takes none; its log says what it waits for",
    ),
    look=_lag,
    needs=(Section.BROKER, Section.BEATS, Section.GROUPS),
)
GROUPS = Check(
    name="groups",
    rule="every consumer group of a stage has a member; none is red",
    steps=(
        "look at the heartbeats first: a group is empty if its process is gone",
        "start the process with the command in the finding",
        "check the rights of its login if it does not join: `tape topics --acls`",
    ),
    look=_groups,
    needs=(Section.BROKER, Section.GROUPS),
)
