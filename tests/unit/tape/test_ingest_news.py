"""`tape ingest news` with fakes: minutes, Alpaca's two ways, what is refused, how each source is told."""

import asyncio
import json
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tapedeck.connectors.alpaca.market.inbox import FrameQueue
from tapedeck.connectors.alpaca.market.states import Health, State
from tapedeck.connectors.broker import Doubt
from tapedeck.connectors.clock import ManualClock
from tapedeck.connectors.dispatch.lease import Lease, LeaseLost, LeaseShort, MemoryLeases
from tapedeck.connectors.news.ingest import NewsLog
from tapedeck.connectors.news.minutes import Minutes
from tapedeck.connectors.news.poller import FeedStatus, Standing
from tapedeck.connectors.news.versions import Versions
from tapedeck.connectors.news.wire import AGAIN_S, EVERY_S, FIRST_US, MARGIN_US, AlpacaNews
from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.tape.ingest.leases import LeaseThread, acquired
from tapedeck.tape.ingest.news import Alpaca, NewsIngest
from tapedeck.tape.ingest.news_live import keys_of
from tapedeck.topics.catalogue import Layout
from tests.support.data_server import iso
from tests.support.memory_writer import Written

NOW = 1_790_000_040 * SECOND_US
"""The beginning of a minute."""
ABOUT = {"code_version": "1", "config_digest": "d"}
Json = dict[str, Any]


def raw(number: int, at: int = NOW, headline: str = "") -> Json:
    words = {"headline": headline or f"headline {number}", "summary": "", "symbols": ["NVDA"], "url": None}
    return {"id": number, "created_at": iso(NOW), "updated_at": iso(at), **words}


def frame(*articles: Json) -> str:
    return json.dumps([{"T": "n"} | each for each in articles])


class World:
    """Alpaca's part with a scripted REST: each question takes the next list of pages, or its error."""

    def __init__(
        self, folder: Path, *answers: list[Json] | Exception, bodies: Iterable[Json] = (), now: int = NOW
    ) -> None:
        self.answers, self.asked = list(answers), list[int]()
        self.clock, self.tick, self.written = ManualClock(now), 0.0, Written()
        self.log = NewsLog(self.written, Versions(bodies), Layout(), self.clock)
        self.queue = FrameQueue()
        self.news = AlpacaNews(
            self.pages, self.queue, self.log, self.clock, folder / "alpaca.json", monotonic=lambda: self.tick
        )

    def pages(self, since: int) -> Iterator[Json]:
        self.asked.append(since)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        yield from answer

    def until(self, done: Callable[[], bool]) -> None:
        async def turns() -> None:
            for _ in range(200):
                await self.news.turn(0.01)
                if done():
                    return
            raise AssertionError("it did not happen")

        asyncio.run(turns())

    def settle(self) -> None:
        """Turns until no question is open."""
        self.until(lambda: self.news._asked is None)

    @property
    def titles(self) -> list[str]:
        return [body["title"] for body in self.written.of("news")]

    @property
    def reasons(self) -> list[str]:
        found = [dict(wire.headers) for wire in self.written.wires if wire.topic == "dead_letters"]
        return [headers["tape-error-reason"].decode() for headers in found if headers["tape-error-reason"]]


def page(*articles: Json) -> Json:
    return {"news": list(articles), "next_page_token": None}


def test_new_topic_gets_a_day_of_news_page_by_page_and_the_stream_repeats_none(tmp_path: Path) -> None:
    world = World(tmp_path, [page(raw(1), raw(2)), page(raw(3))])
    world.settle()
    world.queue.put(frame(raw(3), raw(4)))
    world.until(lambda: len(world.titles) == 4)
    assert world.titles == [f"headline {n}" for n in (1, 2, 3, 4)]
    assert world.asked == [NOW - FIRST_US - MARGIN_US] and world.log.counts["UNCHANGED"] == 1
    assert world.written.flushed == len(world.written.said), "acknowledged"


def test_rest_is_asked_again_from_a_margin_before_the_last_complete_answer(tmp_path: Path) -> None:
    world = World(tmp_path, [page(raw(1))], [page(raw(1), raw(2))])
    world.settle()
    world.clock.set(NOW + 299 * SECOND_US)
    world.tick = EVERY_S
    world.until(lambda: len(world.asked) == 2)
    world.settle()
    assert world.asked[1] == NOW - MARGIN_US and world.titles == ["headline 1", "headline 2"]
    bodies = world.written.of("news")
    again = World(tmp_path, [], bodies=bodies, now=NOW + 400 * SECOND_US)
    again.settle()
    assert again.asked == [NOW + 299 * SECOND_US - MARGIN_US], "the file says how far it was complete"
    empty = World(tmp_path, [])
    empty.settle()
    assert empty.asked == [NOW - FIRST_US - MARGIN_US], "but not of a topic that has nothing"


def test_without_its_file_the_newest_article_says_where_to_begin(tmp_path: Path) -> None:
    first = World(tmp_path, [page(raw(1, NOW - 5 * SECOND_US))])
    first.settle()
    (tmp_path / "alpaca.json").write_text("{")
    second = World(tmp_path, [], bodies=first.written.of("news"))
    second.settle()
    assert second.asked == [NOW - 5 * SECOND_US - MARGIN_US]


def test_gap_during_a_question_asks_once_more_and_failed_question_is_repeated(tmp_path: Path) -> None:
    world = World(tmp_path, Doubt("no answer"), [page(raw(1))], [page(raw(2))])
    world.settle()
    assert world.news.why and world.titles == []
    world.tick = AGAIN_S
    world.queue.gap("connection 2")
    world.until(lambda: len(world.titles) == 2)
    assert world.asked[1] == world.asked[0] and not world.news.why


def test_streamed_version_is_written_before_the_page_that_has_a_later_one(tmp_path: Path) -> None:
    release = threading.Event()

    class Slow(World):
        def pages(self, since: int) -> Iterator[Json]:
            assert release.wait(5)
            yield page(raw(1, NOW + SECOND_US, "corrected"))

    world = Slow(tmp_path)

    async def turns() -> None:
        await world.news.turn(0.0)
        world.queue.put(frame(raw(1)))
        release.set()
        for _ in range(100):
            await world.news.turn(0.01)

    asyncio.run(turns())
    assert world.titles == ["headline 1", "corrected"]
    one, two = world.written.of("news")
    assert one["event_time"] == two["event_time"] and world.log.counts["OUT_OF_ORDER"] == 0


def test_what_cannot_be_read_is_a_dead_letter_and_the_rest_is_written(tmp_path: Path) -> None:
    bad = raw(2) | {"id": None}
    world = World(tmp_path, [page(bad, raw(1))])
    world.settle()
    world.queue.put("{not json")
    world.queue.put(json.dumps([{"T": "zz"}, {"T": "n"} | raw(3), {"T": "n"} | bad]))
    world.until(lambda: len(world.titles) == 2)
    assert sorted(world.reasons) == ["BAD_ITEM", "BAD_ITEM", "BAD_ITEM", "UNRECOGNISED"]
    assert world.log.counts["ACCEPTED"] == world.log.written == 2


def test_minutes_are_ended_after_the_grace_and_a_night_is_one_step() -> None:
    minutes = Minutes(None)
    assert minutes.due(NOW + 3 * SECOND_US) == [NOW - MINUTE_US]
    assert minutes.due(NOW + MINUTE_US + 2 * SECOND_US) == []
    assert minutes.due(NOW + MINUTE_US + 3 * SECOND_US) == [NOW]
    assert Minutes(NOW).due(NOW + 4 * MINUTE_US) == [NOW + MINUTE_US, NOW + 2 * MINUTE_US]
    night = Minutes(NOW).due(NOW + 600 * MINUTE_US + 5 * SECOND_US)
    assert night == [NOW + MINUTE_US, NOW + 599 * MINUTE_US]
    assert Minutes(NOW + 9 * MINUTE_US).due(NOW + 5 * MINUTE_US) == [], "labels only rise"


def test_heartbeat_tells_the_standing_of_each_source(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path, [page(raw(1))])
    world.settle()
    health = Health()
    health.set(State.LIVE, "")
    fares = [
        Standing(feed="wire", status=FeedStatus.OK, words="", last_success=NOW - 7 * SECOND_US, next_due=NOW),
        Standing(feed="old", status=FeedStatus.GONE, words="410", last_success=None, next_due=NOW),
    ]
    process = NewsIngest(
        world.log, Minutes(NOW - 2 * MINUTE_US), world.clock, wall=world.clock, about=ABOUT,
        standings=lambda: fares, alpaca=Alpaca(world.news, world.queue, health), monotonic=lambda: 0.0,
    )  # fmt: skip
    world.clock.set(NOW + 3 * SECOND_US)
    asyncio.run(process.tick())
    (beat,) = [
        decode("heartbeats", w.value) for w in world.written.wires if w.topic == "heartbeats" and w.value
    ]
    assert (beat["stage"], beat["last_watermark"], beat["records"]) == ("ingest-news", NOW - MINUTE_US, 1)
    counts = beat["counts"]
    assert (counts["OK:wire"], counts["GONE:old"], counts["LIVE:alpaca"]) == (10, 3, 1)
    assert counts["OUT:news"] == counts["ACCEPTED"] == counts["IN"] == 1
    assert world.written.of("~news") == [NOW - MINUTE_US]
    assert "feed old is GONE: 410" in caplog.text and "wire" not in caplog.text


def test_minutes_end_by_the_markets_time_and_reports_carry_this_machines(tmp_path: Path) -> None:
    world, wall = World(tmp_path, []), ManualClock(NOW + 500 * MINUTE_US)
    process = NewsIngest(
        world.log, Minutes(NOW - 2 * MINUTE_US), world.clock, wall=wall, about=ABOUT, monotonic=lambda: 0.0
    )
    world.clock.set(NOW + 3 * SECOND_US)
    asyncio.run(process.tick())
    (beat,) = (decode("heartbeats", w.value) for w in world.written.wires if w.topic == "heartbeats")
    assert (beat["last_watermark"], beat["at"]) == (NOW - MINUTE_US, NOW + 500 * MINUTE_US)


def test_process_ends_where_another_one_writes_watermarks_of_its_topic(tmp_path: Path) -> None:
    world, passed = World(tmp_path, []), iter((0.0, 1.0, 5.0, 66.0))
    ours: list[set[int]] = []

    def alone(labels: Collection[int]) -> None:
        ours.append({*labels})
        if len(ours) == 2:
            raise Fatal("another process writes watermarks into this topic", remedy="stop it")

    process = NewsIngest(
        world.log, Minutes(NOW - 2 * MINUTE_US), world.clock, wall=world.clock, about=ABOUT, alone=alone,
        monotonic=lambda: next(passed),
    )  # fmt: skip
    world.clock.set(NOW + 3 * SECOND_US)

    async def main() -> None:
        for _ in range(3):
            await process.tick()

    with pytest.raises(Fatal, match="another process writes watermarks"):
        asyncio.run(main())
    assert ours == [{NOW - MINUTE_US}] * 2, "looked soon after the start, and a minute later"


def test_process_ends_with_what_ended_a_source_and_drains_when_told(tmp_path: Path) -> None:
    world, stop = World(tmp_path), threading.Event()

    async def fails() -> None:
        raise Fatal("it broke")

    async def stays() -> None:
        stop.set()
        await asyncio.sleep(60)

    process = NewsIngest(world.log, Minutes(None), world.clock, about=ABOUT)
    with pytest.raises(Fatal, match="it broke"):
        asyncio.run(process.run(threading.Event(), [fails()]))
    asyncio.run(process.run(stop, [stays()]))


def test_writer_without_a_lease_writes_nothing(tmp_path: Path) -> None:
    seconds = [0.0]
    store = MemoryLeases(lambda: seconds[0])
    mine, other = (Lease(store, "ingest-news", name, monotonic=lambda: seconds[0]) for name in ("a", "b"))
    assert acquired(mine, threading.Event())
    world = World(tmp_path)
    log = NewsLog(world.written, Versions(), Layout(), world.clock, still_ours=mine.check)
    asyncio.run(log.watermark(NOW))
    seconds[0] = 20.0
    with pytest.raises(LeaseShort):
        asyncio.run(log.watermark(NOW + MINUTE_US))
    assert world.written.of("~news") == [NOW]
    assert acquired(other, threading.Event())
    keeper = LeaseThread(mine, every_s=0.01)
    keeper.start()
    keeper._thread.join(5)
    assert isinstance(keeper.failed, LeaseLost)
    stopped = threading.Event()
    threading.Timer(0.1, stopped.set).start()
    assert not acquired(mine, stopped, every_s=0.01), "it waited until it was told to stop"


def test_alpaca_is_asked_where_its_keys_are_set_or_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    here = ("NEWS_TEST_KEY", "NEWS_TEST_SECRET")
    assert keys_of(here, None) is None and keys_of(here, True) == here
    monkeypatch.setenv(here[0], "k")
    monkeypatch.setenv(here[1], "s")
    assert keys_of(here, None) == here and keys_of(here, False) is None
