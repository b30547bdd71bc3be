"""A recording of market sessions for ``whatif``, on disk and without a broker."""

from collections import Counter

from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.config.document import Config
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.whatif.market_run import run_stages
from tapedeck.tape.whatif.overlay import Chained
from tapedeck.topics.catalogue import Layout
from tests.bench.year_tape import year_blocks


def recorded_year(sessions: int, config: Config) -> Chained:
    """The last ``sessions`` sessions of the year's tape, and what the market stages make of them."""
    layout = Layout()
    recorded = Chained(MemorySource(layout, []))
    written: Counter[tuple[str, int]] = Counter()
    for name in ("bars", "universe", "sentiment"):
        recorded.replace(name)
    for block in year_blocks(layout, sessions):
        if block.topic == "sentiment_windows":
            continue  # its stage writes it
        recorded.take(block.placed_at(written[block.part]))
        written[block.part] += len(block)
    run_stages(TOPOLOGY.market, config, xnys(), recorded)
    return recorded
