"""A day and more of items in memory, and what mentions and surges make of it without faults."""

import random
from functools import cache

from tapedeck.streams.config.document import from_dict
from tapedeck.streams.digests import of_messages, of_state
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.task import SimTask, drain, market_tasks
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.topology import Topology
from tapedeck.topics.catalogue import Layout
from tests.support.sentiments import HOUR_US, sentiment

STAGES = Topology(*TOPOLOGY.only(("mentions", "surges")))
CONFIG = from_dict({"surge": {"days": 1, "min_days": 1}})
T0 = 1_770_202_800_000_000
HOURS = 30
EVERY_MIN = 9
SYMBOLS = ("AMD", "BAC", "NVDA", "WMT")


def log_of(hours: int = HOURS) -> MemoryLog:
    """Items with newer versions, some of them folded, retracted or late; the writer repeats."""
    rng, log = random.Random(5), MemoryLog(Layout())
    writer = log.writer()
    writer.watermark("sentiment", T0 - MINUTE_US)
    items: list[tuple[str, str, int, str]] = []
    for label in range(T0, T0 + hours * HOUR_US, EVERY_MIN * MINUTE_US):
        minute = []
        for n in range(rng.randint(0, 3)):
            late = rng.choice((0, 0, 20, 90)) * MINUTE_US
            item = (rng.choice(SYMBOLS), f"{label}-{n}", label - late, rng.choice(("NEWS", "SOCIAL")))
            items.append(item)
            minute.append(item)
        minute += rng.sample(items, min(2, len(items)))
        bodies = [
            sentiment(
                symbol, name, t, scope=scope, version=label, score=rng.choice((-0.7, 0.0, 0.4)),
                author=rng.choice("xyz") if scope == "SOCIAL" else None,
                folded=scope == "NEWS" and rng.random() < 0.3,
                reason=rng.choice(("SCORED", "SCORED", "SCORED", "RETRACTED", "EMPTY_TEXT")),
            )
            for symbol, name, t, scope in minute
        ]  # fmt: skip
        for body in (*bodies, *bodies[:1]):
            writer.send("sentiment", body)
        writer.watermark("sentiment", label)
    return log


def digests(log: MemoryLog, tasks: list[SimTask]) -> dict[str, str]:
    """The digests of both topics and tables."""
    found = {name: of_messages(name, log.messages(name)).hexdigest() for name in ("mentions", "surges")}
    for spec in STAGES.market:
        mine = [task for task in tasks if task.spec == spec]
        found[f"{spec.name} state"] = of_state({k: v for task in mine for k, v in task.disk.items()})
    return found


@cache
def clean(hours: int = HOURS) -> tuple[MemoryLog, dict[str, str]]:
    """The log with all outputs, and the digests."""
    log = log_of(hours)
    tasks = market_tasks(STAGES, log, CONFIG, xnys())
    drain(tasks)
    return log, digests(log, tasks)
