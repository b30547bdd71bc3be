"""How the tapes in this folder were made: ``python -m tests.tapes.make NAME...`` records one again.

Each is a window of a synthetic run, with its digests. What a bug leaves is recorded from its cluster with
``tape record`` instead, and stands here beside them. ``tape record --update`` makes digests again. Those of
OLDER were recorded by a release that had no news, and stay as they are: such tapes must be read too.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date

from tapedeck.connectors.recorded.format import RecordedTape, save
from tapedeck.connectors.recorded.window import kept, window_of
from tapedeck.connectors.tapes.generator import generate
from tapedeck.connectors.tapes.tape import Body, Minute, Tape
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.config.document import Config
from tapedeck.streams.identity import event_id
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.record.making import record
from tapedeck.tape.sim.simulation import Simulation
from tapedeck.topics.catalogue import CATALOGUE
from tests.support.paths import ACCOUNTS, CONFIG, morning
from tests.tapes import HERE


def session_edge_with_a_gap() -> RecordedTape:
    """A session, the night, and the next morning, of which a quarter of an hour is missing."""
    tape = generate(11, symbols=("AMD", "XOM"))
    minutes = tape.minutes[:20] + tape.minutes[35:70]
    return _recorded(replace(tape, minutes=minutes), "session_edge_with_a_gap")


def revisions_and_inserted_bars() -> RecordedTape:
    """Bars revised and inserted inside the roll-back depth, at its edge and beyond it; one comes twice."""
    tape = generate(12, symbols=("BAC", "NVDA"))
    minutes = list(tape.minutes[:100])
    for at, back in ((40, 1), (55, 5), (70, 15), (80, 16), (90, 17)):
        minutes[at] = _with(minutes[at], *(_revised(bar) for bar in minutes[at - back].bars[:1]))
    held = minutes[60].bars[:1]
    minutes[60] = minutes[60]._replace(bars=minutes[60].bars[1:])
    minutes[67] = _with(minutes[67], *held)
    minutes[75] = _with(minutes[75], *minutes[74].bars[-1:])
    return _recorded(replace(tape, minutes=tuple(minutes)), "revisions_and_inserted_bars")


def signal_morning_of_two_accounts() -> RecordedTape:
    """Two planted moves, an option and a stock, with everything that reached two accounts."""
    return _of(morning(), "signal_morning_of_two_accounts", CONFIG, accounts=ACCOUNTS)


def half_day_after_a_holiday() -> RecordedTape:
    """The last hour of a session that closes at one, two days after the one before."""
    tape = generate(13, session=date(2026, 11, 27), symbols=("HD", "WMT"))
    return _recorded(replace(tape, minutes=tape.minutes[-75:]), "half_day_after_a_holiday")


def monday_after_the_clock_change() -> RecordedTape:
    """The first session in summer time: its warm-up opened an hour later by UTC."""
    tape = generate(14, session=date(2026, 3, 9), symbols=("JPM", "MSFT"))
    return _recorded(replace(tape, minutes=tape.minutes[:60]), "monday_after_the_clock_change")


TAPES: dict[str, Callable[[], RecordedTape]] = {
    each.__name__: each
    for each in (
        session_edge_with_a_gap,
        revisions_and_inserted_bars,
        signal_morning_of_two_accounts,
        half_day_after_a_holiday,
        monday_after_the_clock_change,
    )
}

OLDER = ("session_edge_with_a_gap", "half_day_after_a_holiday", "monday_after_the_clock_change")


def _recorded(tape: Tape, name: str) -> RecordedTape:
    config = Config()
    return _of(Simulation(TOPOLOGY, tape, config).play(), name, config)


def _of(run: Simulation, name: str, config: Config, accounts: tuple[str, ...] = ()) -> RecordedTape:
    """Everything that was played and scored, the warm-up before it."""
    source = MemorySource(run.log.layout, (m for each in CATALOGUE for m in run.log.messages(each.name)))
    there = kept(source)
    window = window_of(source, there.first, there.last + MINUTE_US, sessions_before=1, calendar=xnys())
    note = (TAPES[name].__doc__ or "").strip()
    return record(TOPOLOGY, source, window, config, xnys(), name=name, note=note, accounts=accounts)


def _revised(bar: Body) -> Body:
    """The next revision of ``bar``: its close moved by a cent, twice the volume."""
    revision = bar["revision"] + 1
    close = round(bar["close"] + 0.01, 2)
    changed = {
        "revision": revision,
        "close": close,
        "high": max(bar["high"], close),
        "volume": bar["volume"] * 2,
    }
    identity = event_id("bars", (bar["feed"], bar["symbol"], bar["t"]), revision=revision)
    return bar | changed | {"event_id": identity}


def _with(minute: Minute, *bars: Body) -> Minute:
    return minute._replace(bars=(*minute.bars, *bars))


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(TAPES.keys() - set(OLDER)):
        save(HERE / name, TAPES[name]())
