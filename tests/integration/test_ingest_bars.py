"""`tape ingest bars` on a broker, against a scripted data server: what the log holds, after a restart too."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tapedeck.agents.settings import Settings
from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.scan import read_topic
from tapedeck.connectors.tapes.marks import last_watermarks
from tapedeck.connectors.tapes.player import SOURCES
from tapedeck.schemas.codec import decode
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.groups import Universe
from tapedeck.streams.watermarks import readable_label
from tapedeck.tape.ingest.live import run
from tapedeck.topics.catalogue import WATERMARK_KEY, Layout
from tests.conftest import Broker
from tests.support.live import eventually
from tests.support.market_core import MINUTE, SECOND, TEN
from tests.support.market_script import Step, log_in, say, scripted, stay, subscribe

pytestmark = pytest.mark.integration

SYMBOLS = ("NVDA", "AMD")


def row(t: int, close: float = 2.0) -> dict[str, Any]:
    moment = datetime.fromtimestamp(t / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"t": moment, "o": 1, "h": 3, "l": 0.5, "c": close, "v": 10}


def message(symbol: str, t: int, kind: str = "b", close: float = 2.0) -> dict[str, Any]:
    return {"T": kind, "S": symbol, **row(t, close)}


class Moved:
    """A clock that the test moves: however slow the machine is, no minute ends by itself."""

    def __init__(self, time: int) -> None:
        self.time = time

    def now(self) -> int:
        return self.time


@contextmanager
def serving(rest: dict[str, list[dict[str, Any]]], *script: Step) -> Iterator[str]:
    """A data server in a thread of its own."""
    ready, ended, urls = threading.Event(), asyncio.Event(), list[str]()
    loop = asyncio.new_event_loop()

    def answer(path: str) -> dict[str, Any]:
        return {"bars": rest if "symbols=" in path else {}, "next_page_token": None}

    async def main() -> None:
        async with scripted(script) as server:
            server.rest = answer
            urls.append(server.url)
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    yield urls[0]
    loop.call_soon_threadsafe(ended.set)
    thread.join(10)


@contextmanager
def ingesting(settings: Settings, url: str, now: int) -> Iterator[Moved]:
    """The process in a thread, and its clock; it is stopped at the end, and what it raised fails the test."""
    stop, started, raised = threading.Event(), threading.Event(), list[BaseException]()
    clock = Moved(now)

    def work() -> None:
        try:
            with ExitStack() as ending:
                keys = ("DATA_KEY", "DATA_SECRET")
                run(settings, url, keys, stop, ending, started=started.set, version="1", clock=clock)
        except BaseException as error:
            raised.append(error)
            started.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        assert started.wait(60) and not raised, raised
        yield clock
    finally:
        stop.set()
        thread.join(60)
    assert not raised and not thread.is_alive(), raised


def bars(cluster: Cluster) -> list[tuple[str, int, int, int | None]]:
    """Symbol, minute, revision, and the log minute that it is in."""
    found, label = [], dict[int, int | None]()
    for each in read_topic(cluster, "bars"):
        if each.key == WATERMARK_KEY:
            label[each.partition] = readable_label(each) or label.get(each.partition)
        else:
            body = decode("bars", each.value)
            found.append((body["symbol"], body["t"], body["revision"], label.get(each.partition)))
    return sorted(found)


def beats(cluster: Cluster) -> list[dict[str, Any]]:
    return [decode("heartbeats", each.value) for each in read_topic(cluster, "heartbeats")]


def test_bars_are_ended_by_watermarks_and_a_restart_goes_on_where_the_log_ends(
    kafka: Broker, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_KEY", "key-data")
    monkeypatch.setenv("DATA_SECRET", "secret-data")
    cluster = Cluster(kafka.bootstrap, Layout(prefix))
    ensure(cluster)
    document = tmp_path / "tapedeck.toml"
    document.write_text(Config(universe=Universe(symbols=SYMBOLS)).to_toml())
    settings = Settings(cluster=cluster, config_path=document, home=tmp_path)
    known = {symbol: [row(TEN - MINUTE)] for symbol in SYMBOLS}
    live = (message("NVDA", TEN), message("AMD", TEN))
    with (
        serving(known, log_in, subscribe(), say(*live), stay) as url,
        ingesting(settings, url, TEN + 50 * SECOND) as clock,
    ):
        eventually(lambda: len(bars(cluster)) == 4, 60)
        clock.time = TEN + 61 * SECOND
        eventually(lambda: set(last_watermarks(cluster, SOURCES).values()) == {TEN}, 60)
    before = TEN - MINUTE
    first = [(s, t, 0, before) for s in sorted(SYMBOLS) for t in (before, TEN)]
    assert bars(cluster) == first, "history and live bars, all after the first watermark"

    known["AMD"] += [row(TEN), row(TEN + MINUTE)]
    revised = (message("NVDA", TEN, "u", 2.5), message("NVDA", TEN + 3 * MINUTE))
    later = TEN + 3 * MINUTE + 30 * SECOND
    with serving(known, log_in, subscribe(), say(*revised), stay) as url, ingesting(settings, url, later):
        eventually(lambda: len(bars(cluster)) == 7, 60)
        eventually(lambda: beats(cluster)[-1:] and beats(cluster)[-1]["counts"].get("STATE_LIVE") == 1, 60)
    over = TEN + 2 * MINUTE
    added = [("AMD", TEN + MINUTE, 0, over), ("NVDA", TEN, 1, over), ("NVDA", TEN + 3 * MINUTE, 0, over)]
    assert bars(cluster) == sorted([*first, *added]), "nothing twice; what was missed comes after the outage"
    assert {beat["stage"] for beat in beats(cluster)} == {"ingest-bars"}
    events = [decode("market_events", each.value) for each in read_topic(cluster, "market_events")]
    assert {event["kind"] for event in events} == {"COVERAGE"}
