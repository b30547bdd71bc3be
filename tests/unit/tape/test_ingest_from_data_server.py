"""Live bars from the data server, scenarios between: what is written has every bar with its last revision."""

import random
import time
from collections import Counter
from contextlib import ExitStack
from typing import Any

from tapedeck.connectors.alpaca.market import frames
from tapedeck.connectors.alpaca.market.history import History
from tapedeck.connectors.alpaca.market.inbox import FrameQueue
from tapedeck.connectors.alpaca.market.ingest import Ingest
from tapedeck.connectors.alpaca.market.states import Health, State, Timing
from tapedeck.connectors.alpaca.market.stream import MarketStream
from tapedeck.connectors.clock import RunningClock
from tapedeck.connectors.paper.data.scenarios import Scenarios
from tapedeck.connectors.paper.data.service import DataService
from tapedeck.streams.sessions import xnys
from tapedeck.tape.ingest.asker import Asker
from tapedeck.tape.ingest.bars import BarsIngest
from tapedeck.tape.ingest.threads import StreamThread
from tapedeck.topics.catalogue import Layout
from tests.support.data_server import BEFORE, MINUTES, SYMBOLS, Served, iso, made_tape
from tests.support.memory_writer import Written
from tests.support.paper import LARGE_KEYS, MINUTE, OPEN, exchange, serving

SPEED = 60
TIMING = Timing(
    first_pause=0.02, longest_pause=0.2, ghost_from=0.15, ghost_to=0.2, look=0.05, stale={"iex": 2.5}
)
ARMED = (
    "late-revision:count=2", "missing-minutes:count=2", "no-trade-minutes:count=1", "double-bar",
    "unknown-frame", "stream-error:code=500", "ghost-session:seconds=60", "handshake-429:count=2",
    "rest-429:count=1", "rest-500:count=1",
)  # fmt: skip


def test_every_bar_that_rest_has_is_written_with_its_last_revision_and_none_twice() -> None:
    armed, scenarios = Scenarios([]), list(ARMED)
    random.Random(13).shuffle(scenarios)
    paper, clock = exchange(now=OPEN), RunningClock(OPEN, SPEED)
    service = DataService(made_tape(), xnys(), paper.authenticate, now=OPEN, scenarios=armed)
    log, health, queue = Written(), Health(), FrameQueue()
    with serving(paper, clock, service) as url, ExitStack() as ending:
        served = Served(url, clock, service)
        rest = Asker(lambda _: History(url, "iex", LARGE_KEYS, clock=clock, sleep=_briefly), clock)
        core = Ingest("iex", SYMBOLS, xnys(), now=clock.now())
        stream = MarketStream(
            url, "iex", lambda: LARGE_KEYS, queue, health.set, clock=clock, calendar=xnys(), timing=TIMING,
            quiet=lambda: core.quiet,
        )  # fmt: skip
        stream.want(SYMBOLS)
        about = {"code_version": "1", "config_digest": "d"}
        process = BarsIngest(
            core, queue, rest, log, health, layout=Layout(), clock=clock, about=about, stream=stream
        )
        process.begin()
        rest.start()
        ending.callback(rest.close)
        thread = StreamThread(stream, health)
        thread.start()
        ending.callback(thread.close)
        until = OPEN + (MINUTES + 5) * MINUTE
        while clock.now() < until:
            if scenarios and clock.now() > OPEN + (len(ARMED) - len(scenarios)) * MINUTE:
                name, _, how = scenarios.pop().partition(":")
                key, _, value = how.partition("=")
                served.arm(name, **({key: int(value)} if key else {}))
            process.turn(0.02)
            assert thread.failed is None and rest.failed is None
        final = served.bars(start=iso(BEFORE))
        fired = served.state()["data"]["scenarios"]["counts"]
    assert set(fired) == {each.partition(":")[0] for each in ARMED}, "every scenario happened"
    _compare(log, final)
    assert {State.LIVE, State.HELD_BY_GHOST, State.RATE_LIMITED} <= set(health.seen)
    kinds = Counter(body["kind"] for body in log.of("market_events"))
    assert kinds["NO_TRADE"] >= 1 and kinds["COVERAGE"] >= 2
    assert sum(wire.topic == "dead_letters" for wire in log.wires) == 1, "the unknown frame"


def _briefly(seconds: float) -> None:
    time.sleep(min(seconds, 0.05))


def _compare(log: Written, final: dict[str, list[dict[str, Any]]]) -> None:
    written = log.of("bars")
    keys = Counter((body["symbol"], body["t"], body["revision"]) for body in written)
    assert max(keys.values()) == 1, "none twice"
    newest: dict[tuple[str, int], dict[str, Any]] = {}
    for body in written:
        known = newest.get((body["symbol"], body["t"]))
        assert body["revision"] == (0 if known is None else known["revision"] + 1)
        newest[body["symbol"], body["t"]] = body
    expected = {
        (bar.symbol, bar.t): (bar.close, bar.volume)
        for bar in frames.bars({"bars": final}) if isinstance(bar, frames.Bar)
    }  # fmt: skip
    assert {key: (body["close"], body["volume"]) for key, body in newest.items()} == expected
    labels = log.of("~bars")
    assert labels == sorted(set(labels))
