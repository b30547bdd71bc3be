"""A data server whose clock runs by itself, with alpaca-py's stream on it and scenarios between."""

import time

from tapedeck.connectors.clock import RunningClock
from tapedeck.connectors.paper.data.scenarios import Scenarios
from tapedeck.connectors.paper.data.service import DataService
from tapedeck.streams.sessions import xnys
from tests.support.data_server import MINUTES, SYMBOLS, Served, iso, listen_to_bars, made_tape, until
from tests.support.paper import MINUTE, OPEN, exchange, serving


def test_stream_and_rest_together_have_every_bar_with_its_last_revision() -> None:
    """A day at 300x: what the stream did not bring, because of the scenarios, REST has."""
    began: list[float] = []
    paper = exchange(now=OPEN)
    clock = RunningClock(OPEN, 300, monotonic=lambda: time.monotonic() - began[0] if began else 0.0)
    armed = Scenarios(["late-revision:count=2", "missing-minutes:count=2", "double-bar", "stream-error"])
    service = DataService(made_tape(), xnys(), paper.authenticate, now=OPEN, scenarios=armed)
    with serving(paper, clock, service) as url:
        served = Served(url, clock, service)
        ears = listen_to_bars(served, raw_data=True)
        began.append(time.monotonic())
        until(lambda: clock.now() > OPEN + (MINUTES + 2) * MINUTE, seconds=20)
        until(lambda: len(ears.heard) > 3 * MINUTES)
        final = served.bars()
        known = {}
        for raw in ears.heard:
            if raw["T"] in "bu":
                t = iso(raw["t"].seconds * 1_000_000)
                known[raw["S"], t] = (raw["c"], raw["v"])
        ears.stop()
    missing = 0
    for symbol in SYMBOLS:
        for raw in final[symbol]:
            heard = known.pop((symbol, raw["t"]), None)
            missing += heard is None
            assert heard in (None, (raw["c"], raw["v"])), (symbol, raw, heard)
    assert (missing, known) == (2, {})
    assert [len(final[symbol]) for symbol in SYMBOLS] == [MINUTES, MINUTES - 1]
    assert dict(armed.counts) == {
        "late-revision": 2,
        "missing-minutes": 2,
        "double-bar": 1,
        "stream-error": 1,
    }
