"""What servers do to a fetch: failures, endless and broken answers, redirects, and addresses inside."""

import asyncio
import gzip
import ssl

import pytest

from tapedeck.connectors.news import fetch
from tapedeck.connectors.news.feeds import FeedSource, read_document
from tapedeck.connectors.news.fetch import Outcome
from tapedeck.connectors.news.validators import Validators
from tests.support.certificates import Certificates
from tests.support.feed_server import HOST, NOW, ONE, Names, Naps, answer, fetched, fetcher, serving


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


def test_an_endless_document_is_given_up_at_the_limit():
    async def endless(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<rss>")
        for _ in range(1_000):
            writer.write(b" " * 10_000)
            await writer.drain()

    (found,), server = fetched(endless, body_limit=100_000)
    assert found.outcome is Outcome.TOO_LARGE and len(server.requests) == 1


def test_a_document_that_announces_too_much_is_not_read():
    told = [("Content-Length", "1000000000")]
    (found,), _ = fetched(answer(body=b"<rss/>", headers=told), body_limit=1_000)
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
    "target",
    [
        "http://a:99999/",
        "http://..../x",
        "http://" + "a" * 300 + "/",
        "http://\x01/",
        "http://[::1",
        "http://a\\b/",
        "//",
    ],
)
def test_a_redirect_to_what_is_no_address_is_a_clear_end(target):
    (found,), server = fetched(answer(302, headers=[("Location", target)]))
    assert found.outcome in (Outcome.REFUSED, Outcome.FAILED) and found.why
    assert len(server.requests) <= fetch.ATTEMPTS * (fetch.MAX_REDIRECTS + 1)


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


def test_over_tls_a_server_is_asked_for_and_checked_by_the_name_of_its_feed(tmp_path):
    made = Certificates(tmp_path)
    asked = []

    async def go(certificate):
        context = made.serving(certificate)
        context.sni_callback = lambda _, name, __: asked.append(name)
        names = ("localhost", "feed.example")
        trust = ssl.create_default_context(cafile=made.trusted)
        async with serving(answer(body=ONE), tls=context) as server:
            client = fetcher(allow_private=names, resolver=Names, trust=trust)
            urls = [server.url(host=name).replace("http:", "https:") for name in names]
            return [await client.fetch(url, Validators()) for url in urls]

    good, misnamed = asyncio.run(go(made.good))
    assert good.outcome is Outcome.FETCHED
    assert misnamed.outcome is Outcome.FAILED and "certificate" in misnamed.why
    assert asked == ["localhost", "feed.example"]
    (unknown, _) = asyncio.run(go(made.unknown))
    assert unknown.outcome is Outcome.FAILED


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
    document = read_document(found.body, found.content_type, FeedSource(source="x"), NOW)
    assert [item.title for item in document.items] == ["\u30b2\u30fc\u30e0"]


def test_an_answer_of_a_failure_leaves_the_validators_as_they_were():
    known = Validators(etag='"1"', same=3)
    (found,), _ = fetched(answer(404), start=known)
    assert found.validators == known
