"""Snapshots of a healthy pipeline for the doctor's tests, made from the topology: a new stage is in them."""

from dataclasses import replace
from random import Random
from typing import Any

from tapedeck.connectors.kafka.admin import Found
from tapedeck.connectors.postgres.offsets import DEFAULT_GROUP as SINK
from tapedeck.connectors.tapes.player import SOURCES
from tapedeck.connectors.tapes.writers import LIVE, LIVE_NEWS
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.funnel import FunnelLine
from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.streams.sessions import day_number, xnys
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.topology import Topology
from tapedeck.tape.doctor.plan import DISPATCHER, expected
from tapedeck.tape.doctor.snapshot import (
    AccountSeen,
    Beat,
    BrokerSeen,
    CertificateSeen,
    ComparedSeen,
    ControlSeen,
    DataSeen,
    DiskSeen,
    ExchangeSeen,
    Expected,
    Feed,
    FunnelSeen,
    GroupSeen,
    LocalProcess,
    MarkSeen,
    OrderSeen,
    PositionSeen,
    Snapshot,
    StoreSeen,
    UniverseSeen,
    WatchlistSeen,
)
from tapedeck.topics.catalogue import CATALOGUE, Layout, topic

CONFIG = Config(accounts=EXAMPLE_ACCOUNTS)
DAY_US = 24 * 60 * MINUTE_US
RELEASE, RULES = "1.2.3", "rules-1"


def at(year: int, month: int, day: int, minutes: int = 60) -> int:
    """So many minutes after the open of a session."""
    from datetime import date

    session = xnys().session_on(day_number(date(year, month, day)))
    assert session is not None
    return session.open + minutes * MINUTE_US + 20 * SECOND_US


IN_SESSION = at(2026, 2, 17)


def healthy(
    now: int = IN_SESSION,
    feed: Feed = Feed.LIVE,
    *,
    topology: Topology = TOPOLOGY,
    seed: int = 0,
    up_s: int = 3_600,
    **changes: Any,
) -> Snapshot:
    """Everything is well at ``now``, with processes that started ``up_s`` seconds ago."""
    random, layout = Random(seed), Layout()
    label = (now - 3 * SECOND_US) // MINUTE_US * MINUTE_US - MINUTE_US
    plan = expected(topology, layout, CONFIG, feed)
    marked = [name for name in (*topology.sources, *topology.marked) if topic(name).watermarked]
    sources = {name for name in topology.sources if name != "sentiment"}
    back = [0] if up_s > 120 else [0, 3, 30]
    labels = {
        name: label if name in sources else label - random.choice((0, 1, *back)) * MINUTE_US
        for name in marked
    }
    made = Snapshot(
        now=now,
        feed=feed,
        topology=topology,
        calendar=xnys(),
        layout=layout,
        config=CONFIG,
        release=RELEASE,
        rules=RULES,
        expected=plan,
        broker=BrokerSeen("127.0.0.1:9092", "cluster-1", "cluster-1"),
        topics={
            layout.wire_name(each.name): Found(
                layout.partitions(each.name), layout.topic_config(each.name), copies=1
            )
            for each in CATALOGUE
        },
        beats=tuple(
            beat(each, partition, now, label, random, up_s) for each in plan for partition in each.partitions
        ),
        groups={
            each.stage: GroupSeen(1, {topology.stage(each.stage).trigger: random.randrange(50)})
            if each.stage in topology.names
            else GroupSeen(1, {})
            for each in plan
            if each.stage in topology.names or each.stage.startswith(DISPATCHER)
        },
        marks={name: MarkSeen(labels[name]) for name in marked},
        newest={
            "bars": label, "features": label, "watchlist": label - random.randrange(5) * MINUTE_US,
            "news": label - random.randrange(10) * MINUTE_US,
            "accounts": now - random.randrange(300) * SECOND_US,
        },
        fresh=dict.fromkeys(CONFIG.universe.symbols, label + MINUTE_US),
        feeds=frozenset({CONFIG.bars.feed}),
        orders=(OrderSeen("tiny", "td-1", "ACCEPTED", now - 5 * MINUTE_US),),
        positions=(PositionSeen("tiny", "AAPL", "OPEN", now - DAY_US),),
        accounts=tuple(
            AccountSeen(each.account_id, now - MINUTE_US, "VERIFIED", each.broker_account_id, "ACTIVE", None)
            for each in CONFIG.accounts
        ),
        compared=tuple(ComparedSeen(each.account_id, now - MINUTE_US) for each in CONFIG.accounts),
        funnel=(funnel_of(label),),
        controls=(ControlSeen("*", "ACTIVE", "ada", "begin", now - DAY_US),),
        universe=UniverseSeen(3, frozenset(CONFIG.universe.symbols), now - 2 * DAY_US),
        watchlist=WatchlistSeen(frozenset(CONFIG.universe.symbols[:8]), 3),
        store=StoreSeen("0007", "0007", random.randrange(200), (), random.randrange(-500_000, 500_000)),
        store_named=True,
        data=DataSeen("stack/kafka", "4.3.1", "4.3.1"),
        disk=DiskSeen("stack", 50 << 30, 2 << 30, 256 << 20),
        certificates=(CertificateSeen("KAFKA_SSL_CA_LOCATION", "ca.crt", now + 200 * DAY_US),),
        exchange=ExchangeSeen("http://127.0.0.1:9000"),
        local=(LocalProcess("kafka", 10, True, 0), *(LocalProcess(each.stage, 11, True, 0) for each in plan)),
        is_local=True,
        sinks=("TAPE_ALERT_WEBHOOK",),
    )  # fmt: skip
    return replace(made, **changes)


def funnel_of(label: int, missing: int = 0) -> FunnelSeen:
    """The newest minutes of signals, of which so many records ended nowhere."""
    line = FunnelLine(
        stage="decisions", unit="feature event", taken=140, given=130 - missing, reasons={"SAME_ACTION": 10}
    )
    return FunnelSeen("signals", label - 4 * MINUTE_US, label + MINUTE_US, (line,))


def beat(each: Expected, partition: int, now: int, label: int, random: Random, up_s: int) -> Beat:
    """A heartbeat of the last few seconds."""
    told = {LIVE: {"NOW_LIVE": 900}, LIVE_NEWS: {"LIVE:alpaca": 900, "OK:wire": 30}}
    if each.stage.startswith(DISPATCHER):
        told[each.stage] = {"IN": 7, "OK:broker": 0}
    restoring = up_s < 120 and random.random() < 0.5
    return Beat(
        stage=each.stage,
        partition=partition,
        at=now - random.randrange(5_000_000),
        watermark=None if restoring else label - random.randrange(2) * MINUTE_US,
        lag=None if restoring and each.stage == SINK else random.randrange(30),
        records=1_000,
        version=RELEASE,
        digest=CONFIG.digest,
        rules=RULES,
        process=f"host:{each.stage}",
        started_at=now - up_s * SECOND_US,
        ready=not restoring,
        restored=500 if restoring else None,
        to_restore=900 if restoring else None,
        counts=told.get(each.stage, {"IN": 7}),
    )


def with_beats(snap: Snapshot, stage: str, **changes: Any) -> Snapshot:
    """The heartbeats of ``stage`` changed."""
    return replace(
        snap, beats=tuple(replace(each, **changes) if each.stage == stage else each for each in snap.beats)
    )


def without(snap: Snapshot, stage: str, *, ago_s: int = 40) -> Snapshot:
    """The process of ``stage`` is gone for so long: no beat, no member, and no progress after it."""
    at_ = snap.now - ago_s * SECOND_US
    groups = {
        name: seen._replace(members=0) if name == stage and ago_s > 10 else seen
        for name, seen in snap.groups.items()
    }
    return behind(replace(with_beats(snap, stage, at=at_), groups=groups), stage, ago_s // 60 + 5)


def behind(snap: Snapshot, stage: str, minutes: int, later: bool | None = None) -> Snapshot:
    """``stage`` and what follows it are so many minutes behind. ``later``: whether it moved since."""
    late: set[str] = set()
    if stage in snap.topology.names:
        spec = snap.topology.stage(stage)
        late = {*spec.outputs, *(o for each in snap.topology.downstream(spec.outputs) for o in each.outputs)}
    elif stage == "scorer":
        late = {"sentiment"}
    elif stage == LIVE:
        late = {*SOURCES, *(o for each in snap.topology.downstream(SOURCES) for o in each.outputs)}
    marks = dict(snap.marks)
    for name in late & set(marks):
        label = (snap.marks[name].label or 0) - minutes * MINUTE_US
        moved = None if later is None else label + (MINUTE_US if later else 0)
        marks[name] = MarkSeen(label, moved)
    newest = {
        name: found - minutes * MINUTE_US if name in late and found else found
        for name, found in snap.newest.items()
    }
    found = replace(snap, marks=marks, newest=newest)
    if stage == LIVE:
        found = replace(found, fresh={name: end - minutes * MINUTE_US for name, end in snap.fresh.items()})
    if stage.startswith(DISPATCHER):
        found = with_beats(
            found, stage, watermark=min(snap.marks[n].label or 0 for n in marks) - minutes * MINUTE_US
        )
    return found
