"""Alpaca's news: the recorded payloads, what may be missing, and mutated ones."""

import json
import random
from collections import Counter
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.connectors.news.alpaca import Articles, is_news, read_frame, read_page
from tapedeck.connectors.news.items import Flag, IngestReason
from tapedeck.connectors.news.records import body_of
from tapedeck.connectors.news.versions import Versions
from tapedeck.schemas.codec import decode, encode
from tapedeck.streams.protocol import SECOND_US
from tests.support.cases import shared

NOW = 1_790_000_000 * SECOND_US
ARTICLE = {
    "id": 41799100,
    "headline": "Chips rally",
    "summary": "",
    "content": "<p>Shares &amp; options <script>x()</script>rose</p>",
    "created_at": "2026-08-07T09:16:41Z",
    "updated_at": "2026-08-07T09:16:42.5Z",
    "url": None,
    "symbols": [],
    "images": [{"size": "large", "url": "https://example.com"}],
}


def page(*articles, token=None):
    return read_page({"news": list(articles), "next_page_token": token}, NOW)


@pytest.mark.parametrize(
    "name", ["historical_news_data__get_news.json", "historical_news_data__get_news__2.json"]
)
def test_recorded_pages_of_news_are_read(name):
    payload = json.loads((shared("alpaca_payloads") / name).read_text())
    found = read_page(payload, NOW)
    assert [item.native_id for item in found.items] == [str(each["id"]) for each in payload["news"]]
    assert found.bad == () and found.next_page_token == payload["next_page_token"]
    assert found.items[0].provider_symbols == tuple(payload["news"][0]["symbols"])


def test_a_recorded_frame_of_news_is_read_though_its_times_are_none():
    found = read_frame(json.loads((shared("alpaca_payloads") / "ws_data_07_n.json").read_text()), NOW)
    assert [item.native_id for item in found.items] == ["39358670"]
    assert set(found.items[0].flags) == {Flag.BAD_TIME, Flag.UPDATED_INFERRED}


def test_no_recorded_payload_raises():
    for path in sorted(shared("alpaca_payloads").glob("*.json")):
        payload = json.loads(path.read_text())
        assert isinstance(read_page(payload, NOW), Articles) and isinstance(
            read_frame(payload, NOW), Articles
        )


def test_an_article_becomes_an_item():
    (found,) = page(ARTICLE).items
    assert (found.source, found.native_id, found.title) == ("alpaca", "41799100", "Chips rally")
    assert (found.summary, found.url, found.provider_symbols) == ("Shares & options rose", None, ())
    assert found.updated_at - found.event_time == 1_500_000 and found.flags == ()


def test_a_frame_without_tags_is_kept_and_the_list_is_absent():
    message = {"T": "n"} | {name: value for name, value in ARTICLE.items() if name != "symbols"}
    assert read_frame([message], NOW).items[0].provider_symbols is None
    assert read_frame(message, NOW) == read_frame([{"T": "success"}, message, {"T": "b"}, 7, None], NOW)
    assert is_news(message) and not is_news({"T": "b"}) and not is_news([message])


def test_a_correction_is_a_version_and_what_comes_twice_is_none():
    later = ARTICLE | {"headline": "Chips rally on", "updated_at": "2026-08-07T10:00:00Z"}
    same = later | {"content": "other wording of one version"}
    tagged = later | {"symbols": ["NVDA"], "updated_at": "2026-08-07T11:00:00Z"}
    versions = Versions()
    found = [versions.judge(item) for item in page(ARTICLE, later, ARTICLE, same, tagged).items]
    assert [each.reason for each in found] == [
        IngestReason.ACCEPTED, IngestReason.ACCEPTED, IngestReason.OUT_OF_ORDER, IngestReason.UNCHANGED,
        IngestReason.ACCEPTED,
    ]  # fmt: skip
    assert len({each.item.event_time for each in found if each.item}) == 1


@pytest.mark.parametrize("value", [None, True, 1.5, "", " ", [], {}])
def test_an_article_without_an_id_is_left_out_alone(value):
    found = page(ARTICLE | {"id": value}, ARTICLE, "text")
    assert len(found.items) == 1 and len(found.bad) == 2


@pytest.mark.parametrize(
    "value",
    [
        datetime(2026, 8, 7, 9, 16, 41, tzinfo=UTC),
        SimpleNamespace(to_unix_nano=lambda: 1_786_094_201_000_000_123),
        "2026-08-07T09:16:41.000000123Z",
    ],
)
def test_times_of_json_and_of_msgpack(value):
    (found,) = page(ARTICLE | {"created_at": value}).items
    assert found.event_time == 1_786_094_201 * SECOND_US and not found.time_inferred


@pytest.mark.parametrize(
    "payload", [None, 7, "x", [], {}, {"news": None}, {"news": {}}, {"message": "forbidden"}]
)
def test_what_is_no_page_is_said(payload):
    found = read_page(payload, NOW)
    assert found.items == () and len(found.bad) == 1 and found.next_page_token is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


ODD = (
    None,
    True,
    -1,
    2**70,
    1e400,
    float("nan"),
    "",
    " ",
    "\x00",
    "\ud800",
    "<b>",
    "9" * 5000,
    [],
    {},
    [[]],
    {"T": 1},
)


def mutated(rng):
    """An article with some fields taken out, made odd, or damaged within their text."""
    article = ARTICLE | {"T": "n", "id": rng.randrange(2_000)}
    for name in rng.sample(list(article), rng.randint(1, 4)):
        match rng.randrange(3):
            case 0:
                del article[name]
            case 1:
                article[name] = rng.choice([*ODD, [rng.choice(ODD)]])
            case _:
                text = list(json.dumps(article[name]))
                text[rng.randrange(len(text))] = rng.choice(["", "<", "0", "\u202e", "Z", "&#9;"])
                article[name] = "".join(text)
    return rng.choice(ODD) if rng.random() < 0.02 else article


def test_ten_thousand_mutated_articles_are_read_or_left_out_and_add_up():
    rng = random.Random(13)
    articles = [mutated(rng) for _ in range(10_000)]
    versions, counts = Versions(), Counter()
    for article in articles:
        found = read_page({"news": [article]}, NOW)
        counts.update(["BAD_ITEM"] * len(found.bad))
        for item in found.items:
            counts[versions.judge(item).reason] += 1
            assert decode("news", encode("news", body_of(item)))["event_uid"] == item.event_uid
        framed = read_frame([article], NOW)
        assert len(framed.items) + len(framed.bad) == is_news(article)
    assert counts.total() == 10_000 and len(counts) == 4 and min(counts.values()) > 100, counts


@given(json_values)
def test_any_json_gives_articles(value):
    assert isinstance(read_page(value, NOW), Articles) and isinstance(read_frame(value, NOW), Articles)
