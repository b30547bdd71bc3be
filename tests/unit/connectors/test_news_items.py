"""Identity, versions, times, links and text of news items (DOMAIN 5), and their records."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.connectors.news import items as limits
from tapedeck.connectors.news.items import BadItem, Flag, IngestReason, Raw, Stamp, item_of, stamp_of
from tapedeck.connectors.news.links import canonical
from tapedeck.connectors.news.records import body_of
from tapedeck.connectors.news.text import one_line, plain
from tapedeck.connectors.news.versions import Versions
from tapedeck.schemas.codec import decode, encode
from tapedeck.streams.protocol import SECOND_US

NOW = 1_790_000_000 * SECOND_US
EARLIER = NOW - 3600 * SECOND_US
NEW, SAME, LATE = IngestReason.ACCEPTED, IngestReason.UNCHANGED, IngestReason.OUT_OF_ORDER


def raw(**kwargs):
    return Raw(**{"source": "wire", "origin": "rss/wire", "native_id": "a", "title": "Chips rally"} | kwargs)


def item(now=NOW, **kwargs):
    return item_of(raw(**kwargs), now)


def at(t):
    return Stamp(t=t)


@pytest.mark.parametrize(
    "markup, text",
    [
        ("Chips <b>rally</b>", "Chips rally"),
        ("AT&amp;T&nbsp;up &lt;5%&gt; &#8364;3 &copy", "AT&T up <5%> \u20ac3 \u00a9"),
        ("one<br>two<p>three</p><li>four", "one two three four"),
        ("<script>alert(1)</script>Safe<style>p{}</style >", "Safe"),
        ("<SCRIPT src='x'>if (a<b) document.write('</p>')</sCript\n>Safe", "Safe"),
        ("Safe<script>never closed", "Safe"),
        ("&lt;script&gt;alert(1)&lt;/script&gt;Safe", "Safe"),
        ("&lt;p&gt;twice &amp;amp; escaped&lt;/p&gt;", "twice &amp; escaped"),
        ("Safe<!-- hidden <b> -->, still<!-- for ever", "Safe, still"),
        ("<img src=x onerror=alert(1)>Safe", "Safe"),
        ("a < b and c > d, P/E <5, x<3", "a < b and c > d, P/E <5, x<3"),
        ("a &lt;y and z&gt; b", "a <y and z> b"),
        ("open <b", "open <b"),
        ("<![CDATA[text]] of it", "text]] of it"),
        ("tab\tnew\r\nline\x00\x07\x1b[31m\x9b", "tab new line[31m"),
        ("\u202egnp.exe\u202c soft\u00adhyphen\ufeff", "gnp.exe softhyphen"),
        ("lone \ud800 half", "lone \ufffd half"),
        ("&#" + "9" * 5000 + ";x", "\ufffdx"),
        ("&#xfffffffff;&#0;&#x1F680;", "\ufffd\ufffd\U0001f680"),
        ("<svg><text>drawn</text></svg>said<br/>", "said"),
        ("", ""),
        ("<p></p>", ""),
    ],
)
def test_markup_becomes_text(markup, text):
    assert plain(markup, 500) == (text, False)


@given(st.text(max_size=300))
def test_any_text_becomes_one_line_that_utf8_can_hold(markup):
    found = plain(markup, 100).text
    assert found == " ".join(found.split()) and len(found) <= 100
    found.encode()
    assert one_line(found) == found


@pytest.mark.parametrize(
    "unit", ["<", "<a ", "<!--", "<script", "</script>", "&", "&#", "<b>x", '"<', "<svg>"]
)
def test_a_megabyte_of_hostile_markup_takes_no_long_time_and_is_cut(unit, time_limit=5.0):
    import time

    began = time.monotonic()
    assert plain(unit * (1_048_576 // len(unit)), 1_000).is_cut
    assert time.monotonic() - began < time_limit


def test_an_article_of_a_megabyte_is_cut_with_a_flag():
    found = item(summary="<p>" + "word " * 210_000 + "</p>")
    assert Flag.TEXT_CUT in found.flags and len(found.summary) <= limits.SUMMARY_LIMIT
    assert found.summary.endswith("\u2026")


@pytest.mark.parametrize(
    "link, expected",
    [
        ("HTTPS://Example.COM/A/b/?utm_source=x&id=7&fbclid=y#top", "https://example.com/A/b?id=7"),
        ("https://example.com/", "https://example.com"),
        ("https://example.com/a?gclid=1&UTM_medium=2", "https://example.com/a"),
        ("https://example.com/a?b=1&a=2&b=3", "https://example.com/a?b=1&a=2&b=3"),
        (" http://example.com:8080/x ", "http://example.com:8080/x"),
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("//example.com/x", None),
        ("https://", None),
        ("https://exa mple.com/", None),
        ("https://example.com/<script>", None),
        ("https://[bad/", None),
        ("https://example.com/" + "x" * 3000, None),
        ("", None),
    ],
)
def test_links_have_one_spelling(link, expected):
    assert canonical(link) == expected
    if expected:
        assert canonical(expected) == expected


def test_the_id_is_the_sources_else_the_link_else_a_digest_of_title_and_time():
    assert item(native_id=" a\n1 ", url="https://example.com/x").native_id == "a 1"
    assert item(native_id="", url="https://EXAMPLE.com/x/#y").native_id == "https://example.com/x"
    bare = item(native_id="", published=at(EARLIER))
    assert bare.native_id == sha256(f"Chips rally|{EARLIER}".encode()).hexdigest()
    assert item(native_id="", url="no link").native_id == sha256(b"Chips rally|").hexdigest()
    assert len(item(native_id="x" * 600).native_id) == 64


def test_the_uid_is_that_of_source_id_and_version():
    found = item(updated=at(EARLIER))
    assert found.event_uid == sha256(f"wire|a|{EARLIER}".encode()).hexdigest()


@pytest.mark.parametrize(
    "published, event_time, is_inferred, flags",
    [
        (at(EARLIER), EARLIER, False, ()),
        (at(NOW + 120 * SECOND_US), NOW + 120 * SECOND_US, False, ()),
        (at(NOW + 121 * SECOND_US), NOW, True, ("FUTURE_TIME",)),
        (Stamp(), NOW, True, ()),
        (Stamp(is_bad=True), NOW, True, ("BAD_TIME",)),
        (Stamp(t=EARLIER, is_naive=True), EARLIER, False, ("NAIVE_TIME",)),
    ],
)
def test_the_event_time_is_that_of_publication_where_it_can_be(published, event_time, is_inferred, flags):
    found = item(published=published, updated=at(EARLIER))
    assert (found.event_time, found.time_inferred, found.flags) == (event_time, is_inferred, flags)
    assert found.published == published.t


@pytest.mark.parametrize(
    "text, stamp",
    [
        ("1970-01-01T00:00:00Z", Stamp(is_bad=True)),
        ("0001-01-01T00:00:00Z", Stamp(is_bad=True)),
        ("9999-12-31T23:59:59-23:59", Stamp(t=253402387139 * SECOND_US)),
        ("2024-08-18T20:15:44.123456789Z", Stamp(t=1724012144123456)),
        ("2024-08-18T20:15:44", Stamp(t=1724012144000000, is_naive=True)),
        ("2024-08-18T22:15:44+02:00", Stamp(t=1724012144000000)),
        ("Sunday", Stamp(is_bad=True)),
    ],
)
def test_iso_times(text, stamp):
    assert stamp_of(text) == stamp


def test_an_item_needs_a_title_or_a_summary():
    assert item(title="", summary="Told").summary == "Told"
    with pytest.raises(BadItem):
        item(title="<p> </p>", summary="\x00")


def test_tags_are_kept_as_a_list_and_no_list_is_another_thing_than_an_empty_one():
    assert item().provider_symbols is None
    assert item(symbols=[]).provider_symbols == ()
    found = item(symbols=["aapl", "AAPL", "BRK.B"])
    assert found.provider_symbols == ("AAPL", "BRK.B") and Flag.SYMBOLS_CUT not in found.flags
    many = item(symbols=[f"S{n}" for n in range(500)])
    assert len(many.provider_symbols) == 100 and Flag.SYMBOLS_CUT in many.flags
    odd = item(symbols=[None, 7, "", "x" * 99, "\ud800"])
    assert odd.provider_symbols == ("\ufffd",) and Flag.SYMBOLS_CUT in odd.flags


def judged(*given, known=None):
    versions = Versions() if known is None else known
    return [versions.judge(each) for each in given]


def test_the_same_content_is_no_new_version_whatever_its_time():
    found = judged(item(updated=at(EARLIER)), item(updated=at(EARLIER)), item(updated=at(NOW)))
    assert [each.reason for each in found] == [NEW, SAME, SAME] and found[1].item is None


def test_a_new_version_keeps_the_first_event_time():
    first = item(published=Stamp(), updated=at(EARLIER))
    later = item(NOW + 9 * SECOND_US, title="Chips fall", published=at(EARLIER), updated=at(NOW))
    found = judged(first, later)
    assert [each.reason for each in found] == [NEW, NEW]
    second = found[1].item
    assert (second.event_time, second.time_inferred, second.published) == (NOW, True, EARLIER)
    assert second.event_uid != first.event_uid


def test_a_version_older_than_the_stored_one_is_out_of_order():
    found = judged(item(updated=at(NOW)), item(title="Draft", updated=at(EARLIER)))
    assert [each.reason for each in found] == [NEW, LATE] and found[1].item is None


def test_one_version_has_one_content():
    assert judged(item(updated=at(NOW)), item(title="Edited in silence", updated=at(NOW)))[1].reason is SAME


def test_a_feed_without_times_of_versions_gets_a_new_one_for_new_content_alone():
    polls = [item(NOW + n * SECOND_US, title=title) for n, title in enumerate(["a", "a", "b", "b", "a"])]
    found = judged(*polls)
    assert [each.reason for each in found] == [NEW, SAME, NEW, SAME, NEW]
    assert [each.item.updated_at for each in found if each.item] == [
        NOW,
        NOW + 2 * SECOND_US,
        NOW + 4 * SECOND_US,
    ]


def test_other_tags_are_a_new_version_of_one_text():
    first, tagged = item(updated=at(EARLIER), symbols=[]), item(updated=at(NOW), symbols=["NVDA"])
    assert first.content_digest == tagged.content_digest
    assert [each.reason for each in judged(first, tagged, item(updated=at(NOW + 1), symbols=["NVDA"]))] == [
        NEW, NEW, SAME,
    ]  # fmt: skip


def test_one_id_in_two_sources_is_two_articles():
    assert [each.reason for each in judged(item(), item(source="other"))] == [NEW, NEW]


def test_the_state_is_rebuilt_from_the_topic():
    versions = Versions()
    feed = [item(updated=at(EARLIER)), item(title="b", updated=at(NOW)), item(native_id="c")]
    written = [verdict.item for verdict in judged(*feed, known=versions)]
    again = Versions(body_of(each) for each in written)
    later = [*feed, item(title="z", updated=at(NOW + 1)), item(title="y", updated=at(EARLIER - 1))]
    assert judged(*later, known=again) == judged(*later, known=versions)
    assert again.has_any("wire") and not again.has_any("alpaca")


def test_the_state_is_bounded_and_forgets_what_was_not_seen_for_longest():
    versions = Versions(limit=3)
    for name in ("a", "b", "c", "a", "d"):
        versions.judge(item(native_id=name))
    assert len(versions) == 3
    assert versions.judge(item(native_id="a")).reason is SAME
    assert versions.judge(item(native_id="b")).reason is NEW
    small = Versions(limit=1)
    small.judge(item(source="gone"))
    small.judge(item())
    assert not small.has_any("gone") and small.has_any("wire")


def test_a_record_holds_the_item_and_one_version_has_one_event_id():
    found = item(published=at(EARLIER), updated=at(NOW), url="https://example.com/x", symbols=["NVDA"])
    body = body_of(found)
    assert body["event_id"] == body_of(found)["event_id"] and len(body["event_id"]) == 32
    assert body["event_id"] != body_of(item(updated=at(NOW + 1)))["event_id"]
    assert body["symbols"] == ["NVDA"] and body_of(item())["symbols"] is None
    assert body["flags"] == [] and body_of(item())["flags"] == ["UPDATED_INFERRED"]
    assert body["source"] == "wire" and body["origin"] == "rss/wire"
    assert {type(each) for each in body_of(item())["flags"]} == {str}


stamps = st.builds(Stamp, t=st.none() | st.integers(NOW - 10**15, NOW + 10**12), is_naive=st.booleans())
raws = st.builds(
    Raw,
    source=st.sampled_from(["wire", "alpaca"]),
    origin=st.just("rss/wire"),
    native_id=st.text(max_size=20),
    title=st.text(min_size=1, max_size=50),
    summary=st.text(max_size=50),
    url=st.text(max_size=30) | st.just("https://example.com/x"),
    published=stamps,
    updated=stamps,
    symbols=st.none() | st.lists(st.text(max_size=8) | st.integers(), max_size=4),
)


@given(raws)
def test_every_item_survives_its_record(given_raw):
    try:
        found = item_of(given_raw, NOW)
    except BadItem:
        return
    body = body_of(found)
    assert decode("news", encode("news", body)) == body
    assert Versions([body]).judge(found).reason is SAME
