"""Days of the toy pipeline: one note per minute and symbol, and minutes declared to be without moods."""

from typing import Any

from tapedeck.streams.digests import of_messages, of_state
from tapedeck.streams.identity import event_id
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.task import SimTask, drain, market_tasks
from tapedeck.streams.topology import Topology
from tapedeck.streams.wire import opening_wires
from tapedeck.topics.catalogue import Layout
from tests.support.sim_tapes import CONFIG, SOURCES, small_tape

MINUTES = 40
BEGIN = 60
AWAY = range(15, 25)
"""The minutes, by number, in which the input is absent for a while."""
SCENARIOS = {"present": range(0), "absent all day": range(MINUTES + 1), "absent for a while": AWAY}


def first_label() -> int:
    """The label before the first minute."""
    return small_tape().minutes[BEGIN].label - MINUTE_US


def log_of(scenario: str) -> MemoryLog:
    """The sources of a day. Records of absent minutes are included: they came too late."""
    away, tape, log = SCENARIOS[scenario], small_tape(), MemoryLog(Layout())
    writer = log.writer()
    minutes = tape.minutes[BEGIN : BEGIN + MINUTES]
    labels = [first_label(), *(minute.label for minute in minutes)]
    writer.send("universe", tape.universe)
    for number, label in enumerate(labels):
        absent = ("sentiment_windows", *(("toy_moods",) if number in away else ()))
        for name in SOURCES:
            for bar in minutes[number - 1].bars if number and name == "bars" else ():
                writer.send("bars", bar)
            writer.watermark(name, label)
            for wire in opening_wires(name, label, absent, range(log.layout.partitions(name))):
                log.append(wire)
        if number == 0:
            for bar in tape.history:
                writer.send("bars", bar)
    for number, label in enumerate(labels if len(away) < len(labels) else ()):
        for symbol in tape.symbols if number else ():
            writer.send("toy_notes", note(symbol, label))
        writer.watermark("toy_notes", label)
    return log


def note(symbol: str, t: int) -> dict[str, Any]:
    return {
        "event_id": event_id("toy_notes", (symbol, t)),
        "event_time": t + MINUTE_US,
        "symbol": symbol,
        "t": t,
        "good": (t // MINUTE_US) % 7 / 7,
    }


def digests(topology: Topology, log: MemoryLog, tasks: list[SimTask]) -> dict[str, str]:
    """The digests of every output and table."""
    found = {
        name: of_messages(name, log.messages(name)).hexdigest()
        for spec in topology.market
        for name in spec.outputs
    }
    for spec in topology.market:
        mine = [task for task in tasks if task.spec == spec]
        found[f"{spec.name} state"] = of_state({k: v for task in mine for k, v in task.disk.items()})
    return found


def clean(topology: Topology, scenario: str) -> tuple[MemoryLog, dict[str, str]]:
    """A day without faults: the log with all outputs, and the digests."""
    log = log_of(scenario)
    tasks = market_tasks(topology, log, CONFIG, xnys())
    drain(tasks)
    return log, digests(topology, log, tasks)
