"""The short tape of the seeded schedules: half an hour with everything that a stage must survive.

Four symbols: the last minutes of one session and the first of the next, with boundaries of the watchlist, a
signal, a revision, a late bar, one too late, an impossible bar, an unreadable record, a symbol that leaves
the universe. An article and a post a minute, with their scores. Also the inbox of two accounts over the
minutes around an order.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache

from tapedeck.connectors.dispatch.inbox import INBOX
from tapedeck.connectors.scoring.simulated import SimScorer
from tapedeck.connectors.tapes.generator import generate
from tapedeck.connectors.tapes.tape import Body, Tape
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.identity import event_id
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.task import drain, market_tasks
from tapedeck.streams.topology import Topology
from tapedeck.streams.watermarks import readable_label
from tapedeck.streams.wire import Wire, record_wire, watermark_wires
from tapedeck.tape.sim.simulation import Simulation
from tapedeck.topics.catalogue import Layout, topic

CONFIG = Config(accounts=EXAMPLE_ACCOUNTS)
SOURCES = ("bars", "universe")
TEXTS = ("news", "posts")
SENTIMENT = "sentiment"
_SYMBOLS = ("AMD", "BAC", "MSFT", "NVDA")
_SEED = 7
LAYOUT = Layout(symbol_partitions=3)
_BEFORE = 2
"""Minutes of the session before, played live."""
_UNTIL = 16
"""Minutes of the session itself, five of them before the open."""
_WARM = 390
"""Bars of each symbol before the first minute."""
_AROUND_AN_ORDER = slice(90, 113)
_REVISED, _HELD_BACK, _SPOILT, _UNREADABLE, _LEFT, _TOO_LATE = 9, 11, 12, 13, 11, 14
"""Minutes of the session at which something happens."""


@dataclass(frozen=True)
class ShortTape:
    """Records as their writers write them.

    ``warm`` is in the log at the start; ``minutes`` follow, each ending with its watermarks; ``inbox``
    is the accounts'.
    """

    warm: tuple[Wire, ...]
    minutes: tuple[tuple[Wire, ...], ...]
    inbox: tuple[Wire, ...]


@cache
def short_tape(topology: Topology) -> ShortTape:
    """The tape; the same for every call and on every machine."""
    tape = generate(_SEED, symbols=_SYMBOLS)
    first = max(bar["t"] for bar in tape.history) - (_BEFORE - 1) * MINUTE_US
    session = [minute.label for minute in tape.minutes[:_UNTIL]]
    labels = [*range(first - MINUTE_US, first + _BEFORE * MINUTE_US, MINUTE_US), *session]
    texts = _texts(topology, tape, labels)
    before = first - MINUTE_US
    warm = [*texts[before], _record("universe", tape.universe), *_marks(before)]
    for symbol in tape.symbols:
        bars = [bar for bar in tape.history if bar["symbol"] == symbol and bar["t"] < first]
        warm += [_record("bars", bar) for bar in bars[-_WARM:]]
    minutes = tuple(
        (*texts[label], *wires, *_marks(label))
        for label, wires in zip(labels[1:], (*_session_before(tape, first), *_session(tape)), strict=True)
    )
    return ShortTape(tuple(warm), minutes, tuple(_inbox(topology, tape)))


def _texts(topology: Topology, tape: Tape, labels: list[int]) -> dict[int, list[Wire]]:
    """By minute, articles and posts of the tape's day, their scores, and the watermarks of these topics."""
    log = MemoryLog(LAYOUT)
    writer = log.writer()
    left = {
        "news": [body for minute in tape.minutes for body in minute.news],
        "posts": [body for minute in tape.minutes for body in minute.posts],
    }
    for number, label in enumerate(labels):
        for name in TEXTS:
            for body in left[name][number - 1 : number] if number else ():
                writer.send(name, body | {"event_time": label + MINUTE_US // 2})
            writer.watermark(name, label)
    tasks = [
        task
        for task in market_tasks(topology, log, CONFIG, xnys())
        if topology.root(task.spec) in TEXTS and task.spec.trigger in TEXTS
    ]
    drain(tasks)
    scorer = SimScorer(log, CONFIG)
    while scorer.work():
        drain(tasks)
    found: dict[int, list[Wire]] = {label: [] for label in labels}
    for name in (*TEXTS, SENTIMENT):
        for partition in range(LAYOUT.partitions(name)):
            waiting: list[Wire] = []
            for m in log.read(name, partition, 0):
                waiting.append(Wire(name, partition, m.key, m.value, m.timestamp, list(m.headers)))
                label_there = readable_label(m)
                if label_there in found:
                    found[label_there] += waiting
                    waiting = []
    return found


def _session_before(tape: Tape, first: int) -> Iterator[tuple[Wire, ...]]:
    for label in range(first, first + _BEFORE * MINUTE_US, MINUTE_US):
        bars = [bar for bar in tape.history if bar["t"] == label]
        yield tuple(_record("bars", bar) for bar in bars)


def _session(tape: Tape) -> Iterator[tuple[Wire, ...]]:
    minutes = tape.minutes[:_UNTIL]
    held_back = [bar for bar in minutes[_HELD_BACK].bars if bar["symbol"] == "NVDA"]
    for number, minute in enumerate(minutes):
        bars = list(minute.bars)
        extra: list[Wire] = []
        if number == _HELD_BACK:
            bars = [bar for bar in bars if bar not in held_back]
        if number == _HELD_BACK + 2:
            bars += held_back
        if number == _REVISED:
            bars += [_revised(bar) for bar in minutes[number - 2].bars[:2]]
        if number == _SPOILT:
            bars.append(_revised(bars[0]) | {"high": bars[0]["low"] / 2})
        if number == _UNREADABLE:
            extra.append(_record("bars", bars[0])._replace(value=b"no Avro"))
        if number == _LEFT:
            extra.append(_record("universe", _without(tape.universe, "BAC", minute.label)))
        if number == _TOO_LATE:
            bars.append(_revised(tape.history[-30]))
        yield (*(_record("bars", bar) for bar in bars), *extra)


def _revised(bar: Body) -> Body:
    """The next revision of ``bar``, a little higher."""
    revision = bar["revision"] + 1
    identity = event_id("bars", (bar["feed"], bar["symbol"], bar["t"]), revision=revision)
    return bar | {"event_id": identity, "revision": revision, "close": bar["high"]}


def _without(universe: Body, symbol: str, at: int) -> Body:
    """Version 2 of ``universe``, with one symbol fewer."""
    members = [member for member in universe["members"] if member["symbol"] != symbol]
    changed = {"version": 2, "event_time": at, "created_at": at, "members": members}
    return universe | {"event_id": event_id("universe", (2,))} | changed


def _record(name: str, body: Body) -> Wire:
    return record_wire(name, topic(name).record_key(body), body, LAYOUT, [])


def _marks(label: int) -> Iterable[Wire]:
    for name in SOURCES:
        yield from watermark_wires(name, label, range(LAYOUT.partitions(name)))


def _inbox(topology: Topology, tape: Tape) -> Iterator[Wire]:
    cut = replace(tape, minutes=tape.minutes[_AROUND_AN_ORDER])
    run = Simulation(topology, cut, CONFIG, layout=LAYOUT).play()
    for message in run.log.messages(INBOX):
        key, headers = message.key, list(message.headers)
        yield Wire(INBOX, message.partition, key, message.value, message.timestamp, headers)
