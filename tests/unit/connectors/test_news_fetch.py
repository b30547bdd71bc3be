"""Conditional GET against a scripted server: FIELD 3.2, F1 to F10."""

import asyncio
import random

import pytest

from tapedeck.connectors.clock import ManualClock
from tapedeck.connectors.news import fetch
from tapedeck.connectors.news.feeds import read_document
from tapedeck.connectors.news.fetch import Outcome
from tapedeck.connectors.news.items import Flag, IngestReason
from tapedeck.connectors.news.poller import FeedStatus, Poller
from tapedeck.connectors.news.validators import Mode, Validators
from tapedeck.connectors.news.versions import Versions
from tapedeck.schemas.errors import ConfigInvalid
from tapedeck.streams.config.document import from_dict
from tapedeck.streams.config.news import Feed, News
from tapedeck.streams.protocol import SECOND_US
from tests.support.feed_server import HOST, NOW, ONE, answer, entry, fetched, fetcher, rss, serving


def both(tag, date):
    return [("ETag", tag), ("Last-Modified", date)]


def polls(news_of, *answers, path, rounds=1, step_s=400, versions=None, clock=None):
    """Rounds of looks at the feeds that ``news_of(server)`` lists: (looks, poller, server)."""

    async def go():
        async with serving(*answers) as server:
            at = clock or ManualClock(NOW)
            news = news_of(server)
            known = Versions() if versions is None else versions
            poller = Poller(news, fetcher(clock=at), known, at, path / "feeds.json", chance=random.Random(7))
            looks = []
            for _ in range(rounds):
                at.set(at.now() + step_s * SECOND_US)
                for feed in poller.due(at.now()):
                    looks.append(await poller.look(feed))
                    poller.commit(looks[-1])
            return looks, poller, server

    return asyncio.run(go())


def one_feed(server):
    return News(feeds=(Feed(id="wire", url=server.url()),), allow_private=(HOST,))


def test_FLD_F1_validators_of_every_200_are_kept_though_its_body_is_unchanged():
    found, server = fetched(
        answer(body=ONE, headers=both('"1"', "Mon, 01 Jan 2024 00:00:00 GMT")),
        answer(body=ONE, headers=both('"2"', "Tue, 02 Jan 2024 00:00:00 GMT")),
        answer(304, headers=both('"3"', "")),
        answer(304),
    )
    assert server.sent("If-None-Match") == [None, '"1"', '"2"', '"3"']
    assert server.sent("If-Modified-Since")[2:] == ["Tue, 02 Jan 2024 00:00:00 GMT"] * 2
    assert found[0].body == found[1].body == ONE


def test_FLD_F1_a_200_without_validators_drops_the_old_ones():
    _, server = fetched(answer(body=ONE, headers=both('"1"', "")), answer(body=ONE), answer(body=ONE))
    assert server.sent("If-None-Match") == [None, '"1"', None]


@pytest.mark.parametrize("date", ["yesterday, about noon", "Mon,  1 Jan 2024 00:00:00 +0000", "0"])
def test_FLD_F2_the_servers_date_is_sent_back_byte_for_byte(date):
    _, server = fetched(answer(body=ONE, headers=[("Last-Modified", date)]), answer(304))
    assert server.sent("If-Modified-Since") == [None, date]


def test_FLD_F3_both_are_sent_and_after_five_full_answers_one_alone_which_works_and_is_remembered():
    full = answer(body=ONE, headers=both('"x"', "Mon, 01 Jan 2024 00:00:00 GMT"))
    found, server = fetched(*[full] * 6, answer(304), answer(304), answer(304))
    tags, dates = server.sent("If-None-Match"), server.sent("If-Modified-Since")
    assert tags == [None] + ['"x"'] * 5 + [None] * 3, "the tag is tried alone, then the date"
    assert [date is not None for date in dates] == [False] + [True] * 4 + [False] + [True] * 3
    assert (found[-1].validators.mode, found[-1].validators.is_proven) == (Mode.MODIFIED, True)


def test_FLD_F3_a_server_that_ignores_both_is_tried_again_later_and_a_proven_way_is_left_when_it_fails():
    known = Validators()
    modes = []
    for _ in range(13):
        known = known.after_full('"x"', "then", "same")
        modes.append(known.mode)
    tried = [Mode.BOTH] * 4 + [Mode.ETAG, Mode.MODIFIED]
    assert modes == [*tried, *tried, Mode.BOTH]
    proven = Validators(etag='"x"', modified="then", mode=Mode.ETAG, body_digest="same").after_unchanged(
        None, None
    )
    for _ in range(4):
        proven = proven.after_full('"x"', "then", "same")
    assert proven.mode is Mode.ETAG
    assert proven.after_full('"x"', "then", "same").mode is Mode.MODIFIED
    assert Validators().after_full('"x"', None, "same").after_full('"x"', None, "same").mode is Mode.BOTH


def test_FLD_F4_a_304_is_a_success_with_nothing_to_parse(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(
        "tapedeck.connectors.news.poller.read_document", lambda *a: read.append(a) or read_document(*a)
    )
    looks, poller, server = polls(
        one_feed, answer(body=ONE, headers=both('"1"', "")), answer(304), path=tmp_path, rounds=2
    )
    assert [len(look.items) for look in looks] == [1, 0] and len(read) == 1
    assert server.sent("If-None-Match") == [None, '"1"']
    assert looks[1].after.last_success == NOW + 800 * SECOND_US and not looks[1].counts
    assert poller.standings()[0].status is FeedStatus.OK


def test_FLD_F5_a_200_of_no_length_is_an_error_and_keeps_the_validators():
    empty = answer(headers=both('"2"', ""))
    found, server = fetched(answer(body=ONE, headers=both('"1"', "")), empty, times=2)
    assert found[1].outcome is Outcome.FAILED and "empty body" in found[1].why
    assert found[1].validators.etag == '"1"'
    assert len(server.requests) == 1 + fetch.ATTEMPTS


@pytest.mark.parametrize("tag", ['"abc-gzip"', 'W/"abc"', "abc", '""', '"a,b", W/"c"', '"\u00e4"'])
def test_FLD_F6_tags_are_opaque(tag):
    raw = answer(body=ONE, headers=[("ETag", "@")]).replace(b"@", tag.encode())
    _, server = fetched(raw, answer(304))
    sent = server.sent("If-None-Match")[1]
    assert sent is not None and sent.encode("latin-1") == tag.encode()


def test_FLD_F7_items_are_told_apart_by_identity_where_every_body_differs(tmp_path):
    bodies = [rss(entry("a", "Chips rally"), built=f"Mon, 01 Jan 2024 00:0{n}:00 GMT") for n in range(3)]
    looks, _, _ = polls(one_feed, *(answer(body=body) for body in bodies), path=tmp_path, rounds=3)
    assert len({body for body in bodies}) == 3
    assert [look.counts[IngestReason.ACCEPTED] for look in looks] == [1, 0, 0]
    assert [look.counts[IngestReason.UNCHANGED] for look in looks] == [0, 1, 1]


@pytest.mark.parametrize(
    "status, told, least",
    [
        (429, "120", 120),
        (503, "120", 120),
        (429, "Mon, 21 Sep 2026 14:15:20 GMT", 120),
        (429, "", fetch.DEFAULT_WAIT_S),
        (429, "soon", fetch.DEFAULT_WAIT_S),
        (429, "-5", fetch.DEFAULT_WAIT_S),
        (429, "9" * 400, fetch.MAX_WAIT_S),
    ],
)
def test_FLD_F8_a_wait_that_the_server_asks_for_is_obeyed_with_jitter_and_without_another_try(
    status, told, least
):
    (found,), server = fetched(answer(status, headers=[("Retry-After", told)]))
    assert found.outcome is Outcome.RATE_LIMITED and found.host == HOST
    assert least <= found.wait_s <= 1.1 * least
    assert len(server.requests) == 1


def test_FLD_F8_the_wait_is_the_hosts_and_survives_a_restart(tmp_path):
    def two(server):
        return News(feeds=(Feed(id="a", url=server.url("/a")), Feed(id="b", url=server.url("/b"))))

    limited = answer(429, headers=[("Retry-After", "3600")])
    clock = ManualClock(NOW)
    looks, poller, server = polls(two, limited, path=tmp_path, rounds=3, clock=clock)
    assert [look.counts for look in looks] == [{IngestReason.RATE_LIMITED: 1}], "the other feed waits as well"
    assert poller.standings()[1].status is FeedStatus.RATE_LIMITED
    again = Poller(two(server), fetcher(clock=clock), Versions(), clock, tmp_path / "feeds.json")
    assert again.due(clock.now()) == []
    assert len(again.due(NOW + 2 * 3600 * SECOND_US)) == 1, "one feed of a host at a time"


def test_FLD_F8_one_request_per_host_is_in_flight_whoever_asks():
    async def slow(reader, writer):
        await asyncio.sleep(0.05)
        writer.write(answer(body=ONE))

    async def go():
        async with serving(slow) as server:
            client = fetcher()
            found = await asyncio.gather(*(client.fetch(server.url(f"/{n}"), Validators()) for n in range(4)))
            return found, server

    found, server = asyncio.run(go())
    assert [each.outcome for each in found] == [Outcome.FETCHED] * 4 and len(server.requests) == 4
    assert server.most_in_flight == 1


def test_FLD_F8_a_feed_is_asked_once_a_minute_at_most():
    with pytest.raises(ConfigInvalid, match="period_s"):
        from_dict({"news": {"feeds": [{"id": "a", "url": "https://example.com/f", "period_s": 59}]}})


def test_FLD_F9_a_301_is_followed_and_reported(tmp_path):
    moved = answer(301, headers=[("Location", "/new")])
    looks, poller, server = polls(one_feed, moved, answer(body=ONE), path=tmp_path)
    assert [path for path, _ in server.requests] == ["/feed", "/new"] and len(looks[0].items) == 1
    standing = poller.standings()[0]
    assert (
        standing.status is FeedStatus.MOVED and server.url("/new") in standing.words and not standing.is_red
    )


def test_FLD_F9_a_temporary_redirect_is_followed_and_not_reported():
    (found, *_), _ = fetched(
        answer(302, headers=[("Location", "/x")]),
        answer(301, headers=[("Location", "/y")]),
        answer(body=ONE),
        times=1,
    )
    assert found.outcome is Outcome.FETCHED and found.moved_to is None


def test_FLD_F9_a_410_stops_the_feed_until_its_address_changes(tmp_path):
    clock = ManualClock(NOW)
    looks, poller, server = polls(one_feed, answer(410), path=tmp_path, rounds=4, clock=clock)
    assert len(looks) == 1 and looks[0].counts == {IngestReason.FETCH_FAILED: 1}
    standing = poller.standings()[0]
    assert standing.status is FeedStatus.GONE and standing.is_red and "410" in standing.words
    elsewhere = News(feeds=(Feed(id="wire", url=server.url("/elsewhere")),))
    for news, due in ((one_feed(server), 0), (elsewhere, 1)):
        again = Poller(news, fetcher(clock=clock), Versions(), clock, tmp_path / "feeds.json")
        assert len(again.due(clock.now() + 400 * SECOND_US)) == due


def test_FLD_F10_backdated_and_future_items_are_accepted_by_identity(tmp_path):
    old = entry("old", "Backdated", "<pubDate>Mon, 01 Jan 2024 00:00:00 GMT</pubDate>")
    ahead = entry("ahead", "Ahead", "<pubDate>Mon, 01 Jan 2035 00:00:00 GMT</pubDate>")
    looks, _, _ = polls(one_feed, answer(body=ONE), answer(body=rss(old, ahead)), path=tmp_path, rounds=2)
    found = {item.native_id: item for item in looks[1].items}
    assert set(found) == {"old", "ahead"}
    assert found["old"].event_time == 1_704_067_200 * SECOND_US
    late = found["ahead"]
    assert late.event_time == NOW + 800 * SECOND_US and late.time_inferred and Flag.FUTURE_TIME in late.flags
