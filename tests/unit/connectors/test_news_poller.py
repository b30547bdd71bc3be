"""The loop over the feeds: what is due, what is kept, how each feed fares, and what survives a restart."""

import asyncio
import json
import random
from contextlib import aclosing
from dataclasses import replace

import pytest

from tapedeck.connectors.clock import ManualClock, SystemClock
from tapedeck.connectors.news.fetch import Answer, Fetcher, Outcome
from tapedeck.connectors.news.ingest import NewsLog, ingest_feeds
from tapedeck.connectors.news.items import IngestReason
from tapedeck.connectors.news.poller import FeedStatus, Poller
from tapedeck.connectors.news.records import body_of
from tapedeck.connectors.news.saved import FeedState, Saved, load, save
from tapedeck.connectors.news.validators import Mode, Validators
from tapedeck.connectors.news.versions import Versions
from tapedeck.schemas.errors import Retry
from tapedeck.streams.config.news import Feed, News
from tapedeck.streams.protocol import SECOND_US
from tapedeck.topics.catalogue import Layout
from tests.support.feed_server import Names, answer, entry, rss, serving

NOW = 1_790_000_000 * SECOND_US
ONE = rss(entry("a", "Chips rally"))
WIRE = Feed(id="wire", url="https://one.example/feed")
OTHER = Feed(id="other", url="https://one.example/other", period_s=600)
FAR = Feed(id="far", url="https://two.example/feed", symbol="NVDA")


def full(body=ONE, tag='"1"', **kwargs):
    known = Validators().after_full(tag, None, "digest")
    return Answer(outcome=Outcome.FETCHED, validators=known, body=body, **kwargs)


def failure(why="it failed", outcome=Outcome.FAILED, **kwargs):
    return Answer(outcome=outcome, validators=Validators(), why=why, **kwargs)


SAME = Answer(outcome=Outcome.NOT_MODIFIED, validators=Validators(etag='"1"'))


class Scripted:
    """Stands for the fetcher: gives its answers in order, the last one again and again."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def fetch(self, url, validators):
        self.asked.append((url, validators))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class World:
    """A poller with a clock, a file and scripted answers; ``round`` looks at all that is due."""

    def __init__(self, path, *answers, feeds=(WIRE,)):
        self.path, self.clock, self.versions = path / "feeds.json", ManualClock(NOW), Versions()
        self.feeds, self.fetcher = feeds, Scripted(*answers)
        self.restart()

    def restart(self):
        news = News(feeds=self.feeds)
        self.poller = Poller(
            news, self.fetcher, self.versions, self.clock, self.path, chance=random.Random(7)
        )

    def wait(self, seconds):
        self.clock.set(self.clock.now() + int(seconds * SECOND_US))
        return self

    def round(self, seconds=400):
        self.wait(seconds)
        found = [asyncio.run(self.poller.look(feed)) for feed in self.poller.due(self.clock.now())]
        for look in found:
            self.poller.commit(look)
        return found

    def standing(self, number=0):
        return self.poller.standings()[number]


def test_each_feed_has_its_own_period_with_jitter_and_hosts_take_turns(tmp_path):
    world = World(tmp_path, full(), feeds=(WIRE, OTHER, FAR))
    assert len(world.poller.due(NOW + 10 * SECOND_US)) == 2, "one of each host"
    looked = {feed.id: [] for feed in world.feeds}
    for second in range(0, 7200, 10):
        for look in world.round(10):
            looked[look.feed.id].append(second)
    for feed in world.feeds:
        gaps = [later - earlier for earlier, later in zip(looked[feed.id], looked[feed.id][1:], strict=False)]
        assert all(feed.period_s <= gap <= 1.1 * feed.period_s + 20 for gap in gaps), (feed.id, gaps)
        assert len(set(gaps)) > 1, "looks are spread"


def test_the_items_of_a_feed_are_written_before_its_validators_are_kept(tmp_path):
    world = World(tmp_path, full())
    world.wait(400)
    (feed,) = world.poller.due(world.clock.now())
    asyncio.run(world.poller.look(feed))
    world.versions = Versions()  # a crash before the items were written
    world.restart()
    (look,) = world.round()
    assert len(look.items) == 1 and world.fetcher.asked[-1][1].headers() == {}


def test_a_topic_without_the_feeds_items_is_filled_again_though_its_validators_are_known(tmp_path):
    world = World(tmp_path, full(), SAME, full())
    assert len(world.round()[0].items) == 1
    world.round()
    assert world.fetcher.asked[-1][1].headers() == {"If-None-Match": '"1"'}
    world.versions = Versions()  # the topic was made anew
    world.restart()
    (look,) = world.round()
    assert world.fetcher.asked[-1][1].headers() == {} and len(look.items) == 1


def test_a_restart_goes_on_where_it_was(tmp_path):
    world = World(tmp_path, full(), SAME)
    (look,) = world.round()
    before = world.standing()
    world.versions = Versions(body_of(item) for item in look.items)
    world.restart()
    assert world.standing() == before and world.poller.due(world.clock.now()) == []
    assert world.round()[0].after.validators.etag == '"1"'


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"version": 2}', '{"version": 1, "feeds": {"wire": 7}, "waits": {}}']
)
def test_a_damaged_file_is_said_kept_aside_and_started_anew(tmp_path, caplog, content):
    path = tmp_path / "feeds.json"
    path.write_text(content)
    world = World(tmp_path, full())
    assert "damaged" in caplog.text and (tmp_path / "feeds.json.damaged").read_text() == content
    assert len(world.round()[0].items) == 1 and load(path).feeds["wire"].last_success is not None


def test_any_damage_to_the_file_is_found_and_a_whole_one_comes_back(tmp_path):
    path = tmp_path / "feeds.json"
    state = FeedState(
        url="https://x",
        since=1,
        next_due=2,
        validators=Validators(etag='"\u00e4"', mode=Mode.ETAG),
        last_success=3,
    )
    saved = Saved({"wire": state, "new": replace(state, last_success=None, moved_to="https://y")}, {"h": 5})
    save(path, saved)
    assert load(path) == saved and not list(tmp_path.glob("*.new"))
    whole = json.loads(path.read_text())
    for name in whole["feeds"]["wire"]:
        for value in ({}, None if name not in ("last_success", "moved_to") else 1.5):
            broken = json.loads(json.dumps(whole))
            broken["feeds"]["wire"][name] = value
            path.write_text(json.dumps(broken))
            assert load(path) == Saved(), name


def test_a_feed_that_fails_is_red_after_five_periods_and_well_again_after_one_success(tmp_path):
    world = World(tmp_path, full(), *[failure("no answer")] * 5, SAME)
    world.round()
    for _ in range(4):
        world.round(340)
        assert world.standing().status is FeedStatus.FAILING and not world.standing().is_red
    (look,) = world.round(340)
    assert look.counts == {IngestReason.FETCH_FAILED: 1} and look.after.failures == 5
    assert world.standing().status is FeedStatus.STALE and world.standing().is_red
    assert "no success for 28 min: no answer" in world.standing().words
    world.round(340)
    assert world.standing().status is FeedStatus.OK and world.standing().words == ""


def test_a_feed_that_never_worked_is_red_after_five_periods(tmp_path):
    world = World(tmp_path, failure("it lies inside", Outcome.REFUSED))
    world.round()
    assert world.standing().status is FeedStatus.FAILING
    world.wait(5 * WIRE.period_s)
    world.restart()
    assert world.standing().status is FeedStatus.STALE, "it counts from the first start"


def test_a_malformed_document_keeps_its_entries_and_is_said(tmp_path):
    world = World(tmp_path, full(ONE[:-5]), SAME)
    (look,) = world.round()
    assert len(look.items) == 1 and look.counts[IngestReason.FEED_MALFORMED] == 1
    assert world.standing().status is FeedStatus.MALFORMED and world.standing().last_success is not None
    world.round()
    assert world.standing().status is FeedStatus.MALFORMED, "an answer 304 makes no document whole"


def test_a_page_to_log_in_is_no_success_however_often_it_is_unchanged(tmp_path):
    world = World(tmp_path, full(), full(b"<html>Log in</html>"), SAME)
    world.round()
    for _ in range(5):
        world.round(340)
    assert world.standing().status is FeedStatus.STALE and "no feed" in world.standing().words


def test_a_wait_that_the_host_of_a_redirect_asks_for_holds_the_feed_back_too(tmp_path):
    limited = failure("answered 429", Outcome.RATE_LIMITED, host="elsewhere.example", wait_s=7200.0)
    world = World(tmp_path, limited)
    assert len(world.round()) == 1 and world.standing().status is FeedStatus.FAILING
    assert world.round(7000) == [] and len(world.round(300)) == 1


def test_too_large_a_document_is_a_cap_that_was_reached(tmp_path):
    world = World(tmp_path, failure("too large", Outcome.TOO_LARGE))
    assert world.round()[0].counts == {IngestReason.CAP_REACHED: 1}


def test_items_are_written_oldest_first_and_all_outcomes_are_counted(tmp_path):
    dated = "<pubDate>Mon, 0{} Jan 2024 00:00:00 GMT</pubDate>"
    body = rss(
        entry("c", "C", dated.format(3)), entry("a", "A", dated.format(1)), entry("bad", ""),
        entry("b", "B", dated.format(2)), entry("b", "B", dated.format(2)),
    )  # fmt: skip
    (look,) = World(tmp_path, full(body), feeds=(FAR,)).round()
    assert [item.native_id for item in look.items] == ["a", "b", "c"]
    assert {item.provider_symbols for item in look.items} == {("NVDA",)}
    counts = {IngestReason.ACCEPTED: 3, IngestReason.UNCHANGED: 1, IngestReason.BAD_ITEM: 1}
    assert {reason: count for reason, count in look.counts.items() if count} == counts


def test_a_feed_taken_out_of_the_document_is_forgotten_and_a_shorter_period_counts_at_once(tmp_path):
    world = World(tmp_path, full(), feeds=(WIRE, FAR, replace_period(OTHER, 86_400)))
    world.round()
    world.round(1)
    world.feeds = (WIRE, replace_period(OTHER, 60))
    world.restart()
    assert {look.feed.id for look in world.round(70)} == {"other"}
    assert set(load(world.path).feeds) == {"wire", "other"}


def replace_period(feed, period_s):
    return feed.model_copy(update={"period_s": period_s})


class Broken:
    """A log whose broker does not acknowledge; it says what it was given."""

    def __init__(self):
        self.sent = []

    def send(self, name, body, headers=None):
        self.sent.append((name, body["native_id"]))

    def flush(self):
        raise Retry("the broker did not acknowledge")


def test_what_was_not_acknowledged_is_fetched_and_written_again_after_a_restart(tmp_path):
    world = World(tmp_path, full())
    world.wait(400)
    broken = Broken()
    with pytest.raises(Retry):
        log = NewsLog(broken, world.versions, Layout(), world.clock)
        asyncio.run(ingest_feeds(world.poller, log))
    assert broken.sent == [("news", "a")] and not world.path.exists()
    world.versions = Versions()  # the topic has nothing
    world.restart()
    assert [item.native_id for item in world.round()[0].items] == ["a"]


def test_the_loop_looks_at_every_feed_and_a_slow_host_holds_up_none_of_the_others(tmp_path):
    async def slow(reader, writer):
        await asyncio.sleep(5)

    async def go():
        async with serving(answer(body=ONE)) as quick, serving(slow) as stuck:
            where = [
                stuck.url(host="stuck.example"),
                quick.url(host="a.example"),
                quick.url(host="b.example"),
            ]
            feeds = tuple(Feed(id=f"f{n}", url=url, period_s=60) for n, url in enumerate(where))
            news = News(feeds=feeds, allow_private=("stuck.example", "a.example", "b.example"))
            clock = SystemClock()
            fetcher = Fetcher(clock=clock, allow_private=news.allow_private, resolver=Names)
            chance = random.Random(7)
            chance.random = lambda: 0.0  # all are due at once
            poller = Poller(news, fetcher, Versions(), clock, tmp_path / "feeds.json", chance=chance)
            found = []
            async with aclosing(poller.looks()) as looks:
                async for look in looks:
                    found.append(look)
                    poller.commit(look)
                    if len(found) == 2:
                        break
            return found, quick, poller

    found, quick, poller = asyncio.run(asyncio.wait_for(go(), 20))
    assert {look.feed.id for look in found} == {"f1", "f2"} and len(quick.requests) == 2
    assert [standing.status for standing in poller.standings()[1:]] == [FeedStatus.OK] * 2
