"""Documents of feeds, well and ill formed, in any encoding, and any bytes at all."""

import re
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapedeck.connectors.news import feeds
from tapedeck.connectors.news.feeds import Document, FeedSource, read_document
from tapedeck.connectors.news.items import Flag, IngestReason
from tapedeck.connectors.news.versions import Versions
from tapedeck.streams.protocol import SECOND_US
from tests.support.cases import shared
from tests.support.feed_server import entry, rss

NOW = 1_790_000_000 * SECOND_US
WIRE = FeedSource(source="wire")
HEADER = re.compile(rb"Header:\s*Content-type:\s*(.*)", re.IGNORECASE)
NIGHT = "\u043d\u043e\u0447\u044c"
LEGACY = {
    "eucjp.xml": "EUC-JP",
    "euckr.xml": "EUC-KR",
    "gb2312.xml": "GB2312",
    "koi8r.xml": "KOI8-R",
    "shiftjis.xml": "Shift_JIS",
}


def read(content, content_type=None, source=WIRE):
    return read_document(content, content_type, source, NOW)


def atom(entries):
    return f'<feed xmlns="http://www.w3.org/2005/Atom">{entries}</feed>'.encode()


def test_the_shared_documents_have_a_stated_outcome_each(capsys):
    folder = shared("rss") / "tests"
    counts = Counter[str]()
    versions = Versions()
    for path in sorted(folder.rglob("*.xml")):
        content = path.read_bytes()
        told = HEADER.search(content)
        document = read(content, told[1].decode().strip() if told else None, FeedSource(source=path.stem))
        counts["documents"] += 1
        counts["malformed" if document.malformed else "well formed"] += 1
        counts["entries without title and summary: BAD_ITEM"] += document.bad_items
        counts.update(f"items {versions.judge(item).reason}" for item in document.items)
    with capsys.disabled():
        print("\nrss:", ", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    assert counts["documents"] == 453 == counts["malformed"] + counts["well formed"]
    assert counts["malformed"] == 6, "those that are in the folder illformed and break XML"
    assert counts[f"items {IngestReason.ACCEPTED}"] == 66


@pytest.mark.parametrize("name, charset", LEGACY.items())
def test_a_charset_of_the_header_decides_how_bytes_are_read(name, charset):
    content = (shared("rss") / "tests" / "illformed" / "chardet" / name).read_bytes()
    right = content.decode(charset)
    (found,) = read(content, f"text/xml; charset={charset}").items
    assert found.title in right and "\ufffd" not in found.title and not found.title.isascii()
    (garbled,) = read(content).items
    assert garbled.title != found.title, "without the header it cannot be known"


@pytest.mark.parametrize("kind", ["text/xml", "application/rss+xml", "text/plain", "text/html", "", None])
def test_without_a_charset_the_document_says_how_it_is_read(kind):
    content = '<?xml version="1.0" encoding="koi8-r"?>' + rss(entry("a", NIGHT)).decode().partition("?>")[2]
    document = read(content.encode("koi8-r"), kind)
    assert document.items[0].title == NIGHT and document.malformed is None


def test_a_byte_order_mark_is_stronger_than_a_wrong_header():
    content = rss(entry("a", "caf\u00e9"))
    assert read(b"\xef\xbb\xbf" + content, "text/xml; charset=iso-8859-1").items[0].title == "caf\u00e9"


def test_entries_before_and_after_the_damage_are_kept():
    content = rss(entry("a", "One"), entry("b", "Two & a half <"), entry("c", "Three"))
    document = read(content[:-10])
    assert document.malformed is not None
    assert [item.native_id for item in document.items] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "content", [b"", b"<html><body>Log in</body></html>", b"{}", b"\x00\xff", b"/etc/hostname"]
)
def test_what_is_no_feed_is_malformed(content):
    document = read(content)
    assert document.items == () and document.malformed


def test_bytes_that_name_a_file_are_not_taken_for_one(tmp_path):
    path = tmp_path / "own.xml"
    path.write_bytes(rss(entry("a", "From a file")))
    assert read(str(path).encode()).items == ()
    assert read(path.as_uri().encode()).items == ()


def test_entities_neither_grow_nor_read_files(tmp_path):
    (tmp_path / "secret").write_text("secret")
    grow = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "ha"}">' for n in range(9))
    for declared, used in ((grow, "&e8;"), (f'<!ENTITY x SYSTEM "file://{tmp_path}/secret">', "&x;")):
        document = read(
            f"<!DOCTYPE rss [{declared}]>".encode() + rss(entry("a", f"T {used}")).partition(b"?>")[2]
        )
        text = "".join(item.title for item in document.items)
        assert "secret" not in text and "haha" not in text


def test_html_and_script_in_an_entry_become_text():
    (found,) = read(
        rss(entry("a", "&lt;script&gt;alert(1)&lt;/script&gt;Up &amp;lt; &lt;b&gt;5 %&lt;/b&gt;"))
    ).items
    assert found.title == "Up < 5 %"


def test_an_entry_without_title_and_summary_is_left_out_alone():
    document = read(rss(entry("a", ""), entry("b", "Two"), "<item><description>Told</description></item>"))
    assert document.bad_items == 1 and document.malformed is None
    assert [item.title or item.summary for item in document.items] == ["Two", "Told"]


def test_a_document_of_too_many_entries_is_cut(monkeypatch):
    monkeypatch.setattr(feeds, "ENTRIES_LIMIT", 3)
    document = read(rss(*(entry(str(n), f"T{n}") for n in range(5))))
    assert document.is_capped and len(document.items) == 3


@pytest.mark.parametrize(
    "date, t, is_naive",
    [
        ("Mon, 01 Jan 2024 12:00:00 GMT", 1704110400, False),
        ("Mon, 01 Jan 2024 07:00:00 EST", 1704110400, False),
        ("Mon, 1 Jan 2024 12:00 +0000", 1704110400, False),
        ("Mon, 01 Jan 2024 12:00:00 UTC", 1704110400, False),
        ("2024-01-01T12:00:00Z", 1704110400, False),
        ("2024-01-01 14:00:00+02:00", 1704110400, False),
        ("2024-01-01T12:00:00", 1704110400, True),
        ("Mon, 01 Jan 2024 12:00:00", 1704110400, True),
        ("Mon, 01 Jan 2024 12:00:00 XYZ", 1704110400, True),
        ("2024-01-01", 1704067200, True),
        ("Mon Jan  1 12:00:00 2024", 1704110400, True),
    ],
)
def test_times_of_entries(date, t, is_naive):
    (found,) = read(rss(entry("a", "T", f"<pubDate>{date}</pubDate>"))).items
    assert (found.event_time, Flag.NAIVE_TIME in found.flags) == (t * SECOND_US, is_naive)
    assert not found.time_inferred


@pytest.mark.parametrize("date", ["soon", "Mon, 99 Foo 2024", "0", "1" * 5000, "0001-01-01T00:00:00Z"])
def test_a_time_that_cannot_be_read_is_flagged_and_the_entry_kept(date):
    (found,) = read(rss(entry("a", "T", f"<pubDate>{date}</pubDate>"))).items
    assert found.event_time == NOW and found.time_inferred and Flag.BAD_TIME in found.flags


def test_atom_gives_versions_to_the_fraction_of_a_second():
    def one(title, updated):
        text = f"<entry><id>u:1</id><title>{title}</title><updated>2024-01-01T12:00:00.{updated}Z</updated>"
        return read(atom(f"{text}<published>2024-01-01T11:00:00Z</published></entry>")).items[0]

    versions = Versions()
    found = [versions.judge(each).reason for each in (one("a", "100"), one("b", "200"), one("c", "150"))]
    assert found == [IngestReason.ACCEPTED, IngestReason.ACCEPTED, IngestReason.OUT_OF_ORDER]
    assert one("a", "100").event_time == 1_704_106_800 * SECOND_US
    assert one("a", "100").updated_at == 1_704_110_400_100_000


def test_a_single_date_is_that_of_publication_too():
    (found,) = read(
        atom("<entry><id>u:1</id><title>T</title><updated>2024-01-01T12:00:00Z</updated></entry>")
    ).items
    assert found.event_time == found.updated_at == 1_704_110_400 * SECOND_US and not found.time_inferred


def test_ids_links_content_and_the_symbol_of_the_feed():
    text = '<entry><title>T</title><link href="https://Example.com/a/?utm_source=x"/><content>Body</content></entry>'
    (found,) = read(atom(text), source=FeedSource(source="nvda", symbol="NVDA")).items
    assert (found.native_id, found.url, found.summary) == ("https://example.com/a",) * 2 + ("Body",)
    assert found.provider_symbols == ("NVDA",) and found.source == "nvda"


@given(st.binary(max_size=2_000), st.text(max_size=40) | st.none())
def test_any_bytes_give_a_document(content, content_type):
    assert isinstance(read(content, content_type), Document)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_damage_to_a_document_gives_a_document(data):
    content = bytearray(rss(entry("a", "One &amp; two", "<pubDate>Mon, 01 Jan 2024 12:00:00 GMT</pubDate>")))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        piece = data.draw(
            st.binary(max_size=4) | st.sampled_from([b"<", b"&", b"]]>", b"<![CDATA[", b"\x00", b"</"])
        )
        content[at : at + data.draw(st.integers(0, 9))] = piece
        content = content or bytearray(b"<")
    found = read(bytes(content))
    for item in found.items:
        item.title.encode()
        assert item.event_uid


@pytest.mark.parametrize("name", ["punycode", "idna", "PUNYCODE"])
def test_encodings_that_take_for_ever_are_refused(name):
    began = time.monotonic()
    body = b"<rss><channel><item><title>" + b"a" * 200_000 + b"-" + b"b" * 200_000
    assert read(f'<?xml version="1.0" encoding="{name}"?>'.encode() + body).malformed
    assert read(body, f"text/xml; charset={name}").malformed
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize("part", [b"<a>", b"<item/>", b"&amp;", b"<item><description><b>x"])
def test_a_document_of_nothing_but_markup_is_refused_before_it_costs_time(part):
    begun = time.monotonic()
    found = read(b"<rss version='2.0'><channel>" + part * 110_000)
    assert found.is_capped and "tags and entities" in found.malformed and not found.items
    assert time.monotonic() - begun < 1
