"""Sessions in a row through the whole path: what one day leaves, the next goes on from."""

from collections import Counter
from datetime import date
from functools import cache

import pytest

from tapedeck.connectors.recorded.playable import playable, sessions_in
from tapedeck.connectors.recorded.window import window_of
from tapedeck.connectors.tapes.generator import days
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.digests import of_messages, of_state
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import iso_date, xnys
from tapedeck.streams.sim.task import drain
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.record.making import cut as record
from tapedeck.tape.sim.simulation import Simulation
from tests.support.paths import ACCOUNTS, INBOX, OUTPUTS, account_task, at_broker, bodies, copied, cut, held
from tests.support.sim_tapes import run_clean
from tests.support.whatifs import SOURCES
from tests.support.wide import wide_config

CONFIG = wide_config()
TUESDAY, THURSDAY = date(2026, 2, 17), date(2026, 2, 19)
SYMBOLS = ("AMD", "BAC", "WMT")
UNTIL = 160
"""Minutes of each day: two planted moves lie before. The rest of a day comes as the next one's warm-up."""


@cache
def three_days() -> Simulation:
    first, *later = _tapes()
    return Simulation(TOPOLOGY, first, CONFIG).play(*later).rest(2)


@cache
def _tapes() -> tuple[Tape, ...]:
    whole = days(7, first=TUESDAY, last=THURSDAY, symbols=SYMBOLS)
    return tuple(cut(tape, slice(UNTIL)) for tape in whole)


def on_days(name: str) -> Counter[date]:
    date_of = xnys().session_date
    return Counter(iso_date(date_of(body["event_time"])) for body in bodies(three_days().log, name))


def test_orders_are_filled_on_every_day_and_accounts_agree_with_the_exchange() -> None:
    filled = Counter(
        iso_date(xnys().session_date(order["event_time"]))
        for order in bodies(three_days().log, "orders")
        if order["state"] == "FILLED"
    )
    assert set(filled) == {iso_date(tape.session) for tape in _tapes()}
    for account in ACCOUNTS:
        assert held(three_days().log, account) == at_broker(three_days(), account) != {}


def test_nothing_is_a_dead_letter_or_late_and_no_event_id_has_two_bodies() -> None:
    run = three_days()
    assert list(run.log.messages("dead_letters")) == []
    assert bodies(run.log, "bars.late") == []
    outputs = (name for spec in TOPOLOGY.market for name in spec.outputs)
    for name in ("bars", "quotes", "universe", INBOX, *OUTPUTS, *outputs):
        assert not run.outputs(name).conflicts, name


def test_each_bar_is_written_once_and_the_universe_once() -> None:
    identities = Counter(body["event_id"] for body in bodies(three_days().log, "bars"))
    assert set(identities.values()) == {1}
    assert [body["version"] for body in bodies(three_days().log, "universe")] == [1]


def test_what_was_held_overnight_stays_quoted_and_no_mark_is_missing() -> None:
    refused = Counter(body["primary_reason"] for body in bodies(three_days().log, "proposals"))
    assert not refused["DAILY_PNL_UNKNOWN"] and not refused["PRICE_MISSING"], refused
    exchange = three_days().exchange
    for account in CONFIG.accounts:
        for at in exchange.positions(account.broker_account_id):
            assert exchange.board.quote(at["symbol"], exchange.now) is not None, at["symbol"]


@pytest.mark.long
def test_stages_and_accounts_computed_again_are_those_that_ran_day_by_day() -> None:
    run = three_days()
    again = copied(run.log, *SOURCES)
    run_clean(again, CONFIG)
    for name in (name for spec in TOPOLOGY.market for name in spec.outputs):
        assert of_messages(name, again.messages(name)).hexdigest() == run.outputs(name).hexdigest(), name
    log = copied(run.log, INBOX)
    tasks = {account: account_task(log, account, CONFIG) for account in ACCOUNTS}
    drain(list(tasks.values()))
    found = {name: of_messages(name, log.messages(name)).hexdigest() for name in OUTPUTS}
    found |= {f"{account} state": of_state(dict(task.disk.items())) for account, task in tasks.items()}
    assert found == {name: digest for name, digest in run.digests().items() if name in found}


def test_a_recording_of_several_sessions_is_played_one_session_after_the_other() -> None:
    log = three_days().log
    held_there = (m for name in ("bars", "quotes", "universe", INBOX) for m in log.messages(name))
    start, end = _tapes()[0].first_live, _tapes()[1].minutes[-1].label + MINUTE_US
    source = MemorySource(log.layout, held_there)
    window = window_of(source, start, end, sessions_before=1, calendar=xnys())
    recorded = record(source, window, CONFIG, name="two days")
    assert [iso_date(day) for day in sessions_in(recorded, xnys())] == [TUESDAY, date(2026, 2, 18)]
    for tape in _tapes()[:2]:
        again = playable(recorded, xnys(), iso_date(tape.session))
        assert again.minutes[-1].label == tape.minutes[-1].label
        assert again.first_live in (tape.first_live, tape.first_live - MINUTE_US), "with its opening"
        bars = sorted(body["event_id"] for minute in again for body in minute.bars)
        assert bars == sorted(body["event_id"] for minute in tape for body in minute.bars)
        known = {body["event_id"] for body in again.history}
        assert {body["event_id"] for body in tape.history} <= known
        assert again.market.stock_quote("AMD", again.minutes[20].label) is not None
