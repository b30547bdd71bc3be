"""Conditional GET against a scripted server: FIELD 3.2, F1 to F10, and what servers do besides."""

import asyncio
import gzip
import random
from dataclasses import replace

import pytest

from tapedeck.connectors.clock import ManualClock
from tapedeck.connectors.news import fetch
from tapedeck.connectors.news.feeds import FeedSource, read_document
from tapedeck.connectors.news.fetch import Answer, Fetcher, Outcome
from tapedeck.connectors.news.items import Flag, IngestReason
from tapedeck.connectors.news.poller import FeedStatus, Poller
from tapedeck.connectors.news.validators import Mode, Validators
from tapedeck.connectors.news.versions import Versions
from tapedeck.schemas.errors import ConfigInvalid
from tapedeck.streams.config.document import from_dict
from tapedeck.streams.config.news import Feed, News
from tapedeck.streams.protocol import SECOND_US
from tests.support.feed_server import HOST, Names, answer, entry, rss, serving

NOW = 1_790_000_000 * SECOND_US
ONE = rss(entry("a", "Chips rally"))


class Naps:
    """Stands for sleep; ``taken`` has the seconds."""

    def __init__(self):
        self.taken = []

    async def __call__(self, seconds):
        self.taken.append(seconds)


def fetcher(**kwargs):
    return Fetcher(
        **{"clock": ManualClock(NOW), "allow_private": (HOST,), "sleep": Naps(), "chance": random.Random(7)}
        | kwargs
    )


def fetched(*answers, times=None, start=None, path="/feed", **kwargs):
    """Fetch once per answer, each time with the validators of the time before: (answers, server)."""

    async def go():
        found, known = [], start or Validators()
        async with serving(*answers) as server:
            client = fetcher(**kwargs)
            for _ in range(times or len(answers)):
                found.append(await client.fetch(server.url(path), known))
                known = found[-1].validators
            return found, server

    return asyncio.run(go())


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


def test_an_attempt_that_fails_is_repeated_twice_after_waits_that_grow():
    naps = Naps()
    (found,), server = fetched(answer(500), answer(502), answer(body=ONE), times=1, sleep=naps)
    assert found.outcome is Outcome.FETCHED and len(server.requests) == 3
    assert 1.0 <= naps.taken[0] <= 1.5 and 2.0 <= naps.taken[1] <= 3.0


@pytest.mark.parametrize("status", [500, 503, 504])
def test_a_storm_of_server_errors_ends_after_three_attempts_and_keeps_the_validators(status):
    (found,), server = fetched(answer(status), start=Validators(etag='"1"'))
    assert (found.outcome, found.validators.etag) == (Outcome.FAILED, '"1"')
    assert f"answered {status} (3 attempts)" in found.why and len(server.requests) == 3


def test_a_304_that_nobody_asked_for_is_no_success():
    (found,), server = fetched(answer(304))
    assert found.outcome is Outcome.FAILED and len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refusal_is_not_repeated(status):
    (found,), server = fetched(answer(status))
    assert found.outcome is Outcome.FAILED and str(status) in found.why and len(server.requests) == 1


def test_an_endless_document_is_given_up_at_the_limit(monkeypatch):
    monkeypatch.setattr(fetch, "BODY_LIMIT", 100_000)

    async def endless(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<rss>")
        for _ in range(1_000):
            writer.write(b" " * 10_000)
            await writer.drain()

    (found,), server = fetched(endless)
    assert found.outcome is Outcome.TOO_LARGE and len(server.requests) == 1


def test_a_document_that_announces_too_much_is_not_read(monkeypatch):
    monkeypatch.setattr(fetch, "BODY_LIMIT", 1_000)
    (found,), _ = fetched(answer(body=b"<rss/>", headers=[("Content-Length", "1000000000")]))
    assert found.outcome is Outcome.TOO_LARGE


def test_a_gzip_bomb_is_given_up_at_the_limit():
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    assert len(bomb) < 100_000
    (found,), _ = fetched(answer(body=bomb, headers=[("Content-Encoding", "gzip")]))
    assert found.outcome is Outcome.TOO_LARGE


def test_a_compressed_document_is_unpacked():
    packed = gzip.compress(ONE[:40]) + gzip.compress(ONE[40:]) + bytes(8)
    (found,), server = fetched(answer(body=packed, headers=[("Content-Encoding", "gzip")]))
    assert found.body == ONE and server.sent("Accept-Encoding") == ["gzip"]


@pytest.mark.parametrize(
    "body, coding, words",
    [
        (gzip.compress(ONE)[:-6], "gzip", "ends too early"),
        (b"plain", "gzip", "is broken"),
        (ONE, "br", "not asked for"),
    ],
)
def test_a_body_that_cannot_be_unpacked_is_a_failure(body, coding, words):
    (found,), _ = fetched(answer(body=body, headers=[("Content-Encoding", coding)]))
    assert found.outcome is Outcome.FAILED and words in found.why


def test_a_body_that_ends_before_its_length_is_a_failure():
    (found,), server = fetched(answer(body=ONE, headers=[("Content-Length", str(len(ONE) + 9))]))
    assert found.outcome is Outcome.FAILED and len(server.requests) == 3


def test_a_server_that_never_answers_is_left_after_the_time_out():
    async def silent(reader, writer):
        await asyncio.sleep(30)

    (found,), server = fetched(silent, timeout_s=0.05)
    assert found.outcome is Outcome.FAILED and len(server.requests) == 3


@pytest.mark.parametrize("part", [b"X-Slow: 1\r\n", b"HTTP/1.1 200 OK\r\n\r\n<rss>"])
def test_a_server_that_drips_is_left_at_the_deadline(part):
    async def drip(reader, writer):
        writer.write(part if part.startswith(b"HTTP") else b"HTTP/1.1 200 OK\r\n" + part)
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    (found,), _ = fetched(drip, timeout_s=0.2, deadline_s=0.3)
    assert found.outcome is Outcome.FAILED and "took too long" in found.why


def test_redirects_end_after_five():
    (found,), server = fetched(answer(302, headers=[("Location", "/again")]))
    assert found.outcome is Outcome.FAILED and "more than 5" in found.why and len(server.requests) == 6


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://example.com/x", "", "//u:p@example.com/"])
def test_a_redirect_out_of_the_web_is_refused(target):
    (found,), server = fetched(answer(302, headers=[("Location", target), ("X", "1")]))
    assert found.outcome is Outcome.REFUSED and len(server.requests) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://[bad/",
        "http://:0/",
        "http://exa mple/",
        "http://127.1/",
        "http://2130706433/",
    ],
)
def test_what_is_no_address_is_a_failure(url):
    found = asyncio.run(fetcher().fetch(url, Validators()))
    assert found.outcome is Outcome.FAILED


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]", "127.0.0.9", "0x7f.1", "localhost"]
)
def test_a_feed_inside_is_refused_however_its_address_is_written(host):
    async def go():
        async with serving(answer(body=ONE)) as server:
            return await fetcher(allow_private=()).fetch(server.url(host=host), Validators()), server

    found, server = asyncio.run(go())
    assert found.outcome is Outcome.REFUSED and "allow_private" in found.why
    assert server.requests == [] and server.most_in_flight == 0, "not even a connection"


def test_a_redirect_inside_is_refused_at_its_own_hop():
    async def go():
        async with serving(answer(body=ONE)) as inner, serving(b"") as outer:
            outer.answers = [answer(301, headers=[("Location", inner.url(host="127.0.0.2"))])]
            return await fetcher().fetch(outer.url(), Validators()), inner, outer

    found, inner, outer = asyncio.run(go())
    assert found.outcome is Outcome.REFUSED and "127.0.0.2" in found.why
    assert len(outer.requests) == 1 and inner.most_in_flight == 0


def test_a_name_is_refused_by_the_address_that_is_connected_to():
    names = Names(HOST)

    async def go():
        async with serving(answer(body=ONE)) as server:
            url = server.url(host="feed.example")
            allowed = await fetcher(allow_private=("Feed.Example",), resolver=lambda: names).fetch(
                url, Validators()
            )
            refused = await fetcher(allow_private=(), resolver=lambda: names).fetch(url, Validators())
            return allowed, refused, server

    allowed, refused, server = asyncio.run(go())
    assert allowed.outcome is Outcome.FETCHED and refused.outcome is Outcome.REFUSED
    assert server.sent("Host") == [f"feed.example:{server.port}"], "the name is the host's, not the address"


def test_a_name_whose_addresses_all_lie_inside_is_refused():
    async def go():
        async with serving(answer(body=ONE)) as server:
            client = fetcher(allow_private=(), resolver=lambda: Names("127.0.0.1 10.0.0.1 169.254.169.254"))
            return await client.fetch(server.url(host="feed.example"), Validators()), server

    found, server = asyncio.run(go())
    assert found.outcome is Outcome.REFUSED and server.most_in_flight == 0


def test_a_fetch_takes_no_proxy_from_the_environment(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    (found,), _ = fetched(answer(body=ONE))
    assert found.outcome is Outcome.FETCHED


def test_the_content_type_of_the_answer_reaches_the_reader():
    body = (
        '<rss version="2.0"><channel><item><title>\u30b2\u30fc\u30e0</title></item></channel></rss>'.encode(
            "euc-jp"
        )
    )
    (found,), _ = fetched(answer(body=body, headers=[("Content-Type", "text/xml; charset=EUC-JP")]))
    document = read_document(found.body, found.content_type, FeedSource(source="rss/x"), NOW)
    assert [item.title for item in document.items] == ["\u30b2\u30fc\u30e0"]


def test_an_answer_of_a_failure_leaves_the_validators_as_they_were():
    known = replace(Validators(), etag='"1"', same=3)
    (found,), _ = fetched(answer(404), start=known)
    assert isinstance(found, Answer) and found.validators == known
