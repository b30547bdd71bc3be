"""Kinds of break: what each changes in a healthy snapshot, which check names it, and in which words."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from tapedeck.connectors.tapes.writers import LIVE, LIVE_NEWS
from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.streams.sessions import Calendar, xnys
from tapedeck.tape.doctor.snapshot import (
    ComparedSeen,
    DataSeen,
    ExchangeSeen,
    Fault,
    LettersSeen,
    MarkSeen,
    Section,
    SinkSeen,
    Snapshot,
)
from tests.support.doctor import DAY_US, IN_SESSION, behind, funnel_of, with_beats, without

Break = Callable[[Snapshot], Snapshot]
OF_KAFKA = (
    Section.TOPICS, Section.BEATS, Section.GROUPS, Section.MARKS, Section.NEWEST, Section.LETTERS,
    Section.STANDING, Section.FUNNEL,
)  # fmt: skip


def broker_away(snap: Snapshot) -> Snapshot:
    fault = Fault("no Kafka broker listens there: it is stopped", "start it")
    unread = {Section.BROKER: fault} | dict.fromkeys(OF_KAFKA, Fault("the broker does not answer"))
    return replace(
        snap, unread=unread, broker=None, beats=(), marks={}, groups={}, topics={}, newest={}, accounts=()
    )


def topics(**changes: Any) -> Break:
    def broken(snap: Snapshot) -> Snapshot:
        name = snap.layout.wire_name("features")
        return replace(snap, topics={**snap.topics, name: snap.topics[name]._replace(**changes)})

    return broken


def missing_topic(snap: Snapshot) -> Snapshot:
    left = {name: seen for name, seen in snap.topics.items() if name != "features"}
    marks = {name: mark for name, mark in snap.marks.items() if name != "features"}
    return replace(snap, topics=left, marks=marks, newest={**snap.newest, "features": None})


def changed(**changes: Any) -> Break:
    return lambda snap: replace(snap, **changes)


def account(**changes: Any) -> Break:
    return lambda snap: replace(snap, accounts=(snap.accounts[0], snap.accounts[1]._replace(**changes)))


def store(**changes: Any) -> Break:
    return lambda snap: replace(snap, store=snap.store._replace(**changes) if snap.store else None)


def beats(stage: str, **changes: Any) -> Break:
    return lambda snap: with_beats(snap, stage, **changes)


def no_mark(name: str) -> Break:
    return lambda snap: replace(snap, marks={**snap.marks, name: MarkSeen(None)})


def lagging(snap: Snapshot) -> Snapshot:
    group = snap.groups["features"]._replace(lag={"bars": 50_000})
    return replace(snap, groups={**snap.groups, "features": group})


def lag_unknown(snap: Snapshot) -> Snapshot:
    group = snap.groups["features"]._replace(lag={"bars": None})
    return with_beats(replace(snap, groups={**snap.groups, "features": group}), "features", lag=None)


def no_member(snap: Snapshot) -> Snapshot:
    return replace(snap, groups={**snap.groups, "signals": snap.groups["signals"]._replace(members=0)})


def clock_behind(snap: Snapshot) -> Snapshot:
    """Beats arrive, and say that they are a minute old."""
    looked = (snap.now - 6 * SECOND_US, snap.now)
    return with_beats(snap, "features", at=snap.now - MINUTE_US, moved=True, advanced=True, looked=looked)


def dead(snap: Snapshot) -> Snapshot:
    local = tuple(each._replace(alive=False) if each.name == "features" else each for each in snap.local)
    return replace(without(snap, "features", ago_s=8), local=local)


def restarting(snap: Snapshot) -> Snapshot:
    local = tuple(each._replace(restarts=7) if each.name == "features" else each for each in snap.local)
    return with_beats(replace(snap, local=local), "features", started_at=snap.now - 9 * SECOND_US)


def one_partition(snap: Snapshot) -> Snapshot:
    old = snap.now - 50 * SECOND_US
    found = (
        replace(each, at=old) if (each.stage, each.partition) == ("features", 2) else each
        for each in snap.beats
    )
    return replace(snap, beats=tuple(found))


def stale_symbol(snap: Snapshot) -> Snapshot:
    symbol = min(snap.watchlist.symbols) if snap.watchlist else ""
    return replace(snap, fresh={**snap.fresh, symbol: snap.now - 20 * MINUTE_US})


def short_calendar(days: int) -> Break:
    today = xnys().session_date(IN_SESSION)
    first = xnys().horizon()[0]
    ends = today + days
    known = Calendar(xnys().between(first, max(today, ends)), (first, ends))
    return changed(calendar=known)


def other_universe(snap: Snapshot) -> Snapshot:
    assert snap.universe is not None
    return replace(snap, universe=snap.universe._replace(symbols=snap.universe.symbols | {"ZZZZ"}))


def older_universe(snap: Snapshot) -> Snapshot:
    assert snap.watchlist is not None
    return replace(snap, watchlist=snap.watchlist._replace(universe=2))


def stranger_listed(snap: Snapshot) -> Snapshot:
    assert snap.watchlist is not None
    return replace(snap, watchlist=snap.watchlist._replace(symbols=snap.watchlist.symbols | {"GHOST"}))


def letters(number: int, reason: str = "BAD_BAR", ago: int = MINUTE_US) -> Break:
    return lambda snap: replace(snap, letters=(LettersSeen(reason, "features", number, snap.now - ago),))


def order(state: str, ago: int) -> Break:
    return lambda snap: replace(snap, orders=(snap.orders[0]._replace(state=state, since=snap.now - ago),))


def closing(snap: Snapshot) -> Snapshot:
    return replace(
        snap, positions=(snap.positions[0]._replace(state="CLOSING", since=snap.now - 6 * MINUTE_US),)
    )


def stalled_sink(snap: Snapshot) -> Snapshot:
    assert snap.store is not None
    stuck = with_beats(snap, "sink", lag=40_000, moved=True, advanced=False)
    return replace(stuck, store=snap.store._replace(lag=40_000))


def expired(snap: Snapshot) -> Snapshot:
    return replace(snap, certificates=(snap.certificates[0]._replace(expires=snap.now - 3 * DAY_US),))


def expires_soon(snap: Snapshot) -> Snapshot:
    return replace(snap, certificates=(snap.certificates[0]._replace(expires=snap.now + 3 * DAY_US),))


def controls(*rows: tuple[str, str]) -> Break:
    def broken(snap: Snapshot) -> Snapshot:
        made = (snap.controls[0]._replace(scope=scope, state=state) for scope, state in rows)
        return replace(snap, controls=tuple(made))

    return broken


def slow(stage: str) -> Break:
    return lambda snap: behind(snap, stage, 6, later=True)


def stuck(stage: str) -> Break:
    return lambda snap: behind(snap, stage, 5, later=False)


BREAKS: dict[str, tuple[Break, str, str]] = {
    "broker away": (broker_away, "broker", "it is stopped"),
    "kafka credentials revoked": (
        lambda snap: replace(
            broker_away(snap), unread={**broker_away(snap).unread, Section.BROKER: Fault("refused the login")}
        ),
        "broker", "refused the login",
    ),
    "certificate expired": (expired, "certificates", "ca.crt of KAFKA_SSL_CA_LOCATION expired 3 d ago"),
    "certificate unreadable": (
        lambda snap: replace(snap, certificates=(snap.certificates[0]._replace(expires=None),)),
        "certificates", "cannot be read",
    ),
    "certificate expires soon": (expires_soon, "certificates", "expires in 3 d"),
    "another cluster": (
        lambda snap: replace(snap, broker=snap.broker._replace(cluster_id="x") if snap.broker else None),
        "cluster", "another cluster answers",
    ),
    "a process's clock is ahead": (
        lambda snap: with_beats(snap, "signals", at=snap.now + 40 * SECOND_US), "clocks", "40.0 s ahead",
    ),
    "a process's clock is behind": (clock_behind, "clocks", "the clock of features is 51.0 s behind"),
    "postgres's clock": (store(clock=5_000_000), "clocks", "the clock of Postgres is 5.0 s ahead"),
    "disk full": (
        lambda snap: replace(snap, disk=snap.disk._replace(free=1 << 20) if snap.disk else None),
        "disk", "the disk is full: 1 MiB",
    ),
    "disk nearly full": (
        lambda snap: replace(snap, disk=snap.disk._replace(free=1 << 30) if snap.disk else None),
        "disk", "nearly full",
    ),
    "topic missing": (missing_topic, "topics", "topic features: the topic is missing"),
    "wrong partitions": (topics(partitions=3), "topics", "the number of partitions is 3, expected 4"),
    "retention too short": (topics(config={}), "topics", "topic features"),
    "postgres away": (
        changed(store=None, unread={Section.STORE: Fault("Postgres does not answer: refused")}),
        "store", "Postgres does not answer",
    ),
    "old migration": (store(revision="0006"), "store", "at revision 0006, this release needs 0007"),
    "newer migration": (store(revision="0008"), "store", "at revision 0008"),
    "topic made anew": (store(other_logs=("links",)), "store", "topic links was made anew"),
    "local process dead": (dead, "stack", "process features (pid 11) of the local stack is dead"),
    "local process restarts": (restarting, "stack", "features was restarted 7 times"),
    "exchange away": (
        changed(exchange=ExchangeSeen("http://127.0.0.1:9000", "refused")),
        "exchange", "does not answer: refused",
    ),
    "exchange not named": (changed(exchange=None), "exchange", "no address of the paper exchange is known"),
    "one partition has no owner": (
        one_partition, "heartbeats", "features partition 2 has been silent for 50 s",
    ),
    "process under another document": (
        lambda snap: replace(snap, beats=(*snap.beats, replace(snap.beats[-1], stage="dispatch-old"))),
        "heartbeats", "dispatch-old reports, and neither",
    ),
    "never ready": (
        beats("features", ready=False, restored=5, to_restore=9), "ready", "5 of 9 records restored",
    ),
    "version mix": (
        beats("signals", version="1.2.2"), "versions", "signals runs code version 1.2.2, expected is 1.2.3",
    ),
    "config mix": (beats("watchlist", digest="ffff"), "configs", "watchlist runs configuration ffff"),
    "rules mix": (beats("signals", rules="rules-0"), "rules", "signals runs rules rules-0"),
    "universe mismatch": (other_universe, "universe", "differs from the configured one in 1 symbols: ZZZZ"),
    "agents on another universe": (older_universe, "universe", "ranked from universe 2, in force is 3"),
    "watchlist outside the universe": (stranger_listed, "universe", "GHOST"),
    "no universe": (changed(universe=None), "universe", "there is no universe"),
    "entitlement mismatch": (
        changed(feeds=frozenset({"sip"})), "entitlement", "of feed sip, configured is iex",
    ),
    "plan lacks symbols": (
        beats(LIVE, counts={"NOW_PARTIAL": 60}), "entitlement", "does not include all symbols",
    ),
    "data credentials revoked": (beats(LIVE, counts={"NOW_REFUSED": 60}), "sources", "REFUSED for 60 s"),
    "feed reconnects": (beats(LIVE, counts={"NOW_CONNECTING": 20}), "sources", "CONNECTING for 20 s"),
    "news feed stale": (
        beats(LIVE_NEWS, counts={"STALE:wire": 4000}), "sources", "source wire has been STALE",
    ),
    "stale feed in session": (lambda snap: behind(snap, LIVE, 4), "feed", "ingest-bars ends no minutes"),
    "sources without watermark": (
        no_mark("bars"),
        "feed", "bars has no watermark",
    ),
    "slow stage": (slow("features"), "delay", "features is 5 min behind its input, and is slow"),
    "stuck stage": (stuck("scores"), "delay", "behind its input, and stands still"),
    "stage without a watermark": (
        no_mark("features"),
        "delay", "features is the first without a watermark",
    ),
    "lag": (lagging, "lag", "features is 50000 records behind"),
    "lag unknown": (lag_unknown, "lag", "the lag of features is not known"),
    "group without members": (no_member, "groups", "the consumer group of signals has no members"),
    "sink stalled": (stalled_sink, "sink", "the sink stands still, 40000 records behind"),
    "sink's lag unknown": (
        lambda snap: with_beats(store(lag=None)(snap), "sink", lag=None), "sink", "not known",
    ),
    "body conflict": (beats("sink", counts={"BODY_CONFLICT": 2}), "sink", "RED ALARM: 2 events"),
    "old records in session": (
        lambda snap: replace(snap, newest={**snap.newest, "news": snap.now - 40 * MINUTE_US}),
        "staleness", "the newest record of news",
    ),
    "no record at all": (
        lambda snap: replace(snap, newest={**snap.newest, "accounts": None}),
        "staleness", "accounts has no record",
    ),
    "stale symbol": (stale_symbol, "symbols", "lack a fresh bar for up to 20 min"),
    "dead letters filling": (letters(60), "dead_letters", "60 dead letters BAD_BAR by features"),
    "a dead letter": (letters(1), "dead_letters", "1 dead letters BAD_BAR"),
    "red alarm": (letters(1, "BODY_CONFLICT", DAY_US), "dead_letters", "RED ALARM"),
    "wrong account": (
        account(identity="ACCOUNT_MISMATCH", broker_account="PA-9"), "accounts", "reach broker account PA-9",
    ),
    "broker credentials revoked": (
        account(identity="ACCOUNT_UNVERIFIED", at=IN_SESSION - 20 * MINUTE_US), "accounts", "is not verified",
    ),
    "account blocked": (account(status="ACCOUNT_BLOCKED"), "accounts", "ACCOUNT_BLOCKED at the broker"),
    "position mismatch": (account(alarm="UNEXPECTED_SHORT"), "accounts", "are blocked: UNEXPECTED_SHORT"),
    "close stuck": (
        account(warnings=("CLOSE_STUCK:0123abcd",)), "warnings", "the close of position 0123abcd was",
    ),
    "adjustment to review": (
        account(warnings=("NEEDS_REVIEW:NVDA260220C00150000",)), "warnings", "waits for a person",
    ),
    "regime unknown": (
        account(warnings=("REGIME_UNKNOWN:regime",)), "warnings", "the volatility regime is unknown",
    ),
    "earnings unknown": (
        account(warnings=("EARNINGS_UNKNOWN:AMD",)), "warnings", "nobody knows when AMD reports",
    ),
    "mark missing": (account(warnings=("MARK_MISSING:AMD",)), "warnings", "AMD has no price"),
    "halt not over": (account(halt_step="FLATTENING"), "warnings", "is being halted: FLATTENING"),
    "broker silent": (
        beats("dispatch-tiny", counts={"OK:broker": 70}),
        "accounts", "the broker of account tiny was last heard",
    ),
    "positions differ": (
        changed(compared=(ComparedSeen("tiny", IN_SESSION, (("AAPL", Decimal(2), Decimal(0)),)),)),
        "positions", "the broker holds 0 AAPL for account tiny, ours is 2",
    ),
    "records vanish": (
        lambda snap: replace(snap, funnel=(funnel_of(IN_SESSION, missing=3),)),
        "funnel", "decisions does not add up: 3 of 140 feature events of the minutes to 2026-02-17",
    ),
    "records from nowhere": (
        lambda snap: replace(snap, funnel=(funnel_of(IN_SESSION, missing=-2),)),
        "funnel", "decisions does not add up: 2 more came out than 140 feature events",
    ),
    "account without record": (
        lambda snap: replace(snap, accounts=snap.accounts[:1]), "accounts", "has no record",
    ),
    "unknown order": (
        order("UNKNOWN", 70 * SECOND_US), "orders", "td-1 of account tiny has been UNKNOWN for 70 s",
    ),
    "closing too long": (closing, "positions", "AAPL of account tiny has been CLOSING for 6 min"),
    "no control": (controls(), "controls", "no control was ever written"),
    "paused": (controls(("*", "ACTIVE"), ("tiny", "REDUCING")), "controls", "openings of tiny are stopped"),
    "calendar horizon short": (short_calendar(12), "calendar", "the calendar ends in 12 days"),
    "calendar over": (short_calendar(-1), "calendar", "nothing opens"),
    "no document": (changed(config=None), "document", "no configuration is named"),
    "data of another broker": (
        changed(data=DataSeen("stack/kafka", "3.9.1", "4.3.1")), "data", "written by Kafka 3.9.1",
    ),
    "alert sink fails": (
        changed(sink_faults=(SinkSeen("TAPE_ALERT_WEBHOOK", "https://h answered 500", "", IN_SESSION),)),
        "alerts", "TAPE_ALERT_WEBHOOK takes no alarms: https://h answered 500",
    ),
    "no alert sink": (changed(sinks=()), "alerts", "no alert sink is set"),
}  # fmt: skip
