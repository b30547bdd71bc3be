"""Small tapes for the sim driver: a few symbols, a short window, faults of the tape included."""

from functools import cache

from tapedeck.connectors.scoring.simulated import SimScorer
from tapedeck.connectors.tapes.generator import generate
from tapedeck.connectors.tapes.openings import OptionalInputs
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.streams.config.document import Config, from_dict
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.task import SimTask, drain, market_tasks
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.topics.catalogue import Layout

SOURCES = ("bars", "quotes", "universe")
TEXTS = ("news", "posts")
CONFIG: Config = from_dict({})
NONE_THERE = OptionalInputs(TOPOLOGY.optional, lambda name: None, absent_after_s=0.0)
"""For a player: no optional input is there, and none is waited for."""


@cache
def small_tape() -> Tape:
    """Five symbols, one synthetic session with the one before."""
    return generate(7, symbols=("AMD", "BAC", "MSFT", "NVDA", "WMT"))


def written(
    tape: Tape,
    *,
    minutes: slice = slice(None),
    history_tail: int | None = None,
    absent: tuple[str, ...] = TOPOLOGY.optional,
) -> MemoryLog:
    """A log that holds the tape as the player writes it; the inputs ``absent`` are so in every minute."""
    log = MemoryLog(Layout())
    writer = log.writer()
    writer.send("universe", tape.universe)
    chosen = tape.minutes[minutes]

    def end(label: int) -> None:
        for name in SOURCES:
            writer.watermark(name, label)
            writer.opening(name, label, absent)

    for name in TEXTS:
        writer.watermark(name, chosen[0].label - 60_000_000)
    end(chosen[0].label - 60_000_000)
    for symbol in tape.symbols:
        bars = [bar for bar in tape.history if bar["symbol"] == symbol]
        for bar in bars if history_tail is None else bars[-history_tail:]:
            writer.send("bars", bar)
    for minute in chosen:
        for name in TEXTS:
            for body in getattr(minute, name):
                writer.send(name, body)
            writer.watermark(name, minute.label)
        for bar in minute.bars:
            writer.send("bars", bar)
        end(minute.label)
    return log


def run_clean(log: MemoryLog, config: Config = CONFIG) -> list[SimTask]:
    """Run the market stages without faults."""
    tasks = market_tasks(TOPOLOGY, log, config, xnys())
    drain(tasks)
    return tasks


def run_with_news(log: MemoryLog, config: Config = CONFIG) -> list[SimTask]:
    """Run the market stages and the scorer without faults, over a log in which no input is absent."""
    tasks, scorer = market_tasks(TOPOLOGY, log, config, xnys()), SimScorer(log, config)
    drain(tasks)
    while scorer.work():
        drain(tasks)
    return tasks
