"""The process of live bars, without servers: what is written in which order, and what it says of itself."""

import json
import threading
from typing import Any

import pytest

from tapedeck.connectors.alpaca.market.frames import Bar
from tapedeck.connectors.alpaca.market.history import Row
from tapedeck.connectors.alpaca.market.inbox import FrameQueue
from tapedeck.connectors.alpaca.market.ingest import Ingest
from tapedeck.connectors.alpaca.market.states import Health, State
from tapedeck.connectors.alpaca.market.steps import Ask, Why
from tapedeck.connectors.beats import BEAT_S
from tapedeck.connectors.clock import ManualClock
from tapedeck.connectors.tapes.player import SOURCES
from tapedeck.schemas.codec import decode
from tapedeck.streams.sessions import xnys
from tapedeck.tape.ingest.asker import Answer, Asker
from tapedeck.tape.ingest.bars import STAGE, BarsIngest
from tapedeck.topics.catalogue import Layout
from tests.support.market_core import MINUTE, SECOND, STARTED, TEN, WANTED, bar
from tests.support.memory_writer import Written


class Rest:
    """Answers every question with the bars of ``known`` that it asks for."""

    waiting = 0

    def __init__(self, known: list[Row]) -> None:
        self.known, self.asked, self._given = known, list[Ask](), list[Answer]()

    def ask(self, ask: Ask) -> None:
        self.asked.append(ask)
        fit = [b for b in self.known if isinstance(b, Bar) and ask.first <= b.t <= ask.last]
        self._given.append(Answer(ask, list(fit)))

    def answers(self) -> list[Answer]:
        given, self._given = self._given, []
        return given


class Running:
    """The process at ten in New York, with a clock that the test moves."""

    def __init__(self, *known: Row) -> None:
        self.clock, self.queue, self.rest, self.log = (
            ManualClock(STARTED),
            FrameQueue(),
            Rest([*known]),
            Written(),
        )
        self.health, self.time = Health(), 0.0
        self.core = Ingest("iex", WANTED, xnys(), now=STARTED)
        self.process = BarsIngest(
            self.core, self.queue, self.rest, self.log, self.health, layout=Layout(), clock=self.clock,
            about={"code_version": "1", "config_digest": "d"}, monotonic=lambda: self.time,
        )  # fmt: skip
        self.process.begin()
        self.process.turn(0.0)

    def at(self, now: int, *bars: Bar) -> "Running":
        self.clock.set(now)
        self.time += 2.0
        rows = [
            {"T": "b", "S": b.symbol, "o": b.open, "h": b.high, "l": b.low, "c": b.close, "v": b.volume,
             "t": f"2026-02-17T15:{(b.t - TEN) // MINUTE:02}:00Z"}
            for b in bars
        ]  # fmt: skip
        if rows:
            self.queue.put(json.dumps(rows).encode())
        self.process.turn(0.0)
        return self


def test_history_comes_after_the_first_watermark_and_before_live_bars() -> None:
    it = Running(bar(t=TEN - MINUTE), bar("AMD", TEN - 2 * MINUTE)).at(TEN + 61 * SECOND, bar(), bar("AMD"))
    names = [name for name, _ in it.log.said if name != "market_events"]
    assert names == [*(f"~{s}" for s in SOURCES), "bars", "bars", "bars", "bars", *(f"~{s}" for s in SOURCES)]
    assert [body["t"] for body in it.log.of("bars")] == [TEN - 2 * MINUTE, TEN - MINUTE, TEN, TEN]
    assert it.log.of("~bars") == [TEN - MINUTE, TEN]
    assert it.log.flushed == len(it.log.said), "acknowledged before the next look"


def test_gap_in_the_queue_asks_rest_and_its_bars_come_first() -> None:
    it = Running()
    it.rest.known = [bar(t=TEN + MINUTE)]
    it.queue.gap("connection 2")
    it.at(TEN + 3 * MINUTE, bar(t=TEN + 2 * MINUTE))
    it.at(TEN + 3 * MINUTE + SECOND)
    assert [body["t"] for body in it.log.of("bars")] == [TEN + MINUTE, TEN + 2 * MINUTE]
    assert [ask.why for ask in it.rest.asked].count(Why.BACKFILL) == 2


def test_what_cannot_be_used_becomes_a_dead_letter_with_its_bytes() -> None:
    it = Running()
    it.queue.put(b'[{"T":"b","S":"NVDA"}]')
    it.at(TEN + 61 * SECOND, bar()._replace(low=2.9))
    letters = [wire for wire in it.log.wires if wire.topic == "dead_letters"]
    assert [dict(wire.headers)["tape-error-reason"] for wire in letters] == [b"UNREADABLE", b"BAD_BAR"]
    assert letters[0].value == b'{"T":"b","S":"NVDA"}'


def test_heartbeat_tells_progress_state_and_delay_like_a_stage() -> None:
    it = Running()
    it.health.set(State.HELD_BY_GHOST, "an earlier connection")
    it.at(TEN + 61 * SECOND, bar(), bar("AMD"))
    (wire,) = [w for w in it.log.wires if w.topic == "heartbeats"]
    beat = decode("heartbeats", wire.value)
    assert (beat["stage"], beat["last_watermark"], beat["lag"], beat["records"]) == (STAGE, TEN, 0, 6)
    counts = beat["counts"]
    assert (counts["IN"], counts["OUT:bars"], counts["OUT:market_events"]) == (2, 2, 4)
    assert {"NOW_HELD_BY_GHOST", "STATE_HELD_BY_GHOST", "DELAY_MS", "COLD_SYMBOLS"} <= set(counts)


def test_a_wait_keeps_the_heartbeat_going_once_a_second_and_no_more() -> None:
    it = Running()

    def told() -> int:
        return sum(wire.topic == "heartbeats" for wire in it.log.wires)

    it.time += BEAT_S / 2
    it.process.beat_if_due()
    assert told() == 0, "it has just begun"
    for n in range(3):  # a wait of three seconds that calls this ten times in each
        for _ in range(10):
            it.time += BEAT_S / 10
            it.process.beat_if_due()
        assert told() == n + 1
    assert it.log.of("~bars") == [TEN - MINUTE], "a heartbeat ends no minute"


def test_time_goes_on_without_a_stream() -> None:
    it = Running()
    it.health.set(State.REFUSED, "check the key")
    it.at(TEN + 63 * SECOND).at(TEN + 123 * SECOND)
    assert it.log.of("~bars") == [TEN - MINUTE, TEN, TEN + MINUTE]


def test_thread_that_fails_ends_the_process_instead_of_going_quiet() -> None:
    class Broken:
        recent_s = 0.0

        def __init__(self, sleep: Any) -> None: ...

        def bars(self, *asked: Any) -> list[Row]:
            raise ZeroDivisionError

    asker = Asker(Broken, ManualClock(STARTED))
    asker.start()
    asker.ask(Ask(Why.GAP, WANTED, TEN, TEN))
    with pytest.raises(ZeroDivisionError):
        Running().process.run(threading.Event(), (asker,))


def test_asker_ends_at_once_while_it_waits_for_a_refused_rate() -> None:
    waits = threading.Event()

    class Slow:
        recent_s = 0.0

        def __init__(self, sleep: Any) -> None:
            self.sleep = sleep

        def bars(self, *asked: Any) -> list[Row]:
            waits.set()
            self.sleep(60.0)
            return []

    asker = Asker(Slow, ManualClock(STARTED))
    asker.start()
    asker.ask(Ask(Why.GAP, WANTED, TEN, TEN))
    assert waits.wait(5.0)
    asker.close()
    assert not asker._thread.is_alive() and asker.answers() == []


def test_asker_gives_no_answer_about_minutes_that_rest_refuses_to_tell() -> None:
    class Clamped:
        recent_s = 960.0

        def __init__(self, sleep: Any) -> None: ...

        def bars(self, *asked: Any) -> list[Row]:
            return []

    asker = Asker(Clamped, ManualClock(STARTED))
    recent, old = Ask(Why.GAP, WANTED, TEN, TEN), Ask(Why.GAP, WANTED, TEN - 20 * MINUTE, TEN - 20 * MINUTE)
    assert (asker._rows(recent), asker._rows(old)) == (None, [])
