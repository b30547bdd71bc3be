"""Alpaca's news over a tape: REST pages, the stream, versions, and what the field has seen of them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alpaca.data.historical.news import NewsClient
from alpaca.data.live.news import NewsDataStream
from alpaca.data.requests import NewsRequest

from tapedeck.connectors.paper.data.articles import NewsList
from tapedeck.schemas.errors import Fatal
from tests.support.data_server import Ears, Served, article, data_server, iso, plain, until
from tests.support.paper import LARGE, MINUTE, OPEN, SECOND

DAY = [article(n, OPEN + n * 5 * SECOND, *(["NVDA"] if n % 2 else ["AMD", "JPM"])) for n in range(1, 121)]


def _client(served: Served) -> NewsClient:
    return NewsClient(LARGE.key, LARGE.secret, url_override=served.url)


def _plain_news(served: Served, **how: Any) -> Any:
    return plain(f"{served.ws}/v1beta1/news", **{"news": ["*"]} | how)


def test_alpaca_py_reads_every_page_newest_first_or_oldest_first() -> None:
    with data_server(news=DAY) as served:
        served.to(11)
        found = _client(served).get_news(NewsRequest(sort="ASC"))["news"]
        assert [each.id for each in found] == list(range(1, 121))
        assert served.state()["requests"]["news"] == 3  # pages of 50
        newest = _client(served).get_news(NewsRequest(limit=3))["news"]
        assert [each.id for each in newest] == [120, 119, 118]
        assert newest[0].updated_at == datetime.fromtimestamp((OPEN + 600 * SECOND) / 1e6, UTC)


def test_pages_that_end_where_several_articles_have_one_time_lose_none() -> None:
    same = [article(n, OPEN + SECOND, "AMD") for n in range(1, 8)]
    with data_server(news=same) as served:
        served.to(1)
        for sort, wanted in (("asc", list(range(1, 8))), ("desc", list(range(7, 0, -1)))):
            found, token = [], ""
            while token is not None:
                page = served.ask("/v1beta1/news", sort=sort, limit=2, page_token=token).json()
                found += [each["id"] for each in page["news"]]
                token = page["next_page_token"]
            assert found == wanted


def test_symbols_times_and_content_are_filtered_as_asked() -> None:
    with data_server(news=DAY) as served:
        served.to(11)

        def ids(**query: Any) -> list[int]:
            return [each["id"] for each in served.ask("/v1beta1/news", limit=50, **query).json()["news"]]

        assert ids(symbols="NVDA,TSLA") == list(range(119, 20, -2))
        assert ids(start=iso(OPEN + 595 * SECOND)) == [120, 119]
        assert ids(end=iso(OPEN + 10 * SECOND)) == [2, 1]
        (one,) = served.ask("/v1beta1/news", limit=1).json()["news"]
        assert (one["content"], one["images"]) == ("", [])
        (one,) = served.ask("/v1beta1/news", limit=1, include_content="true").json()["news"]
        assert one["content"] == "<p>content 120</p>"


def test_more_than_a_page_is_refused() -> None:
    with data_server(news=DAY) as served:
        assert served.ask("/v1beta1/news", limit=51).status_code == 400


def test_no_article_is_seen_before_its_time_and_the_stream_has_it_then() -> None:
    with data_server(news=DAY[:3]) as served, _plain_news(served) as ear:
        served.to(0, 5)
        assert served.ask("/v1beta1/news").json()["news"] == []
        served.to(0, 6)
        (heard,) = ear.next()
        assert (heard["T"], heard["id"], heard["created_at"]) == ("n", 1, iso(OPEN + 5 * SECOND))
        assert heard["content"] == "<p>content 1</p>"
        assert [each["id"] for each in served.ask("/v1beta1/news").json()["news"]] == [1]


def test_alpaca_pys_news_stream_hears_every_article() -> None:
    with data_server(news=DAY) as served:
        stream = NewsDataStream(LARGE.key, LARGE.secret, url_override=f"{served.ws}/v1beta1/news")
        ears = Ears(served, stream, lambda each, handle: each.subscribe_news(handle, "*"))
        served.to(11)
        until(lambda: len({each.id for each in ears.heard}) == 120)
        assert ears.heard[0].symbols == ["NVDA"]


def test_subscription_by_symbol_gets_each_article_once() -> None:
    with data_server(news=DAY[:4]) as served, _plain_news(served, news=["AMD", "JPM"]) as ear:
        served.to(1)
        assert [each["id"] for each in ear.next()] == [2, 4]


def test_later_version_replaces_the_one_before_in_rest_and_both_are_streamed() -> None:
    first = article(7, OPEN + SECOND, "AMD")
    again = article(7, OPEN + SECOND, "AMD", headline="other", updated_at=OPEN + 40 * SECOND)
    with data_server(news=[again, first]) as served, _plain_news(served) as ear:
        served.to(0, 30)
        assert [each["headline"] for each in served.ask("/v1beta1/news").json()["news"]] == ["headline 7"]
        served.to(1)
        assert [each["headline"] for each in served.ask("/v1beta1/news").json()["news"]] == ["other"]
        assert [each["headline"] for each in (*ear.next(), *ear.next())] == ["headline 7", "other"]


def test_scenario_correction_comes_later_with_the_same_id() -> None:
    with data_server(news=DAY[:1]) as served, _plain_news(served) as ear:
        served.arm("news-correction", seconds=20)
        served.to(0, 6)
        (first,) = ear.next()
        served.to(0, 26)
        (second,) = ear.next()
        assert (second["id"], second["headline"]) == (first["id"], "headline 1 (corrected)")
        assert (first["updated_at"], second["updated_at"]) == (
            iso(OPEN + 5 * SECOND),
            iso(OPEN + 25 * SECOND),
        )
        (shown,) = served.ask("/v1beta1/news").json()["news"]
        assert shown["headline"] == "headline 1 (corrected)"
        served.to(2)
        assert ear.none_more()
        assert served.fired("news-correction") == 1


def test_scenario_null_symbols_is_streamed_so_and_rest_has_them() -> None:
    with data_server(news=DAY[:1], scenarios=["news-null-symbols"]) as served, _plain_news(served) as ear:
        served.to(1)
        assert ear.next()[0]["symbols"] is None
        assert served.ask("/v1beta1/news").json()["news"][0]["symbols"] == ["NVDA"]
        assert served.fired("news-null-symbols") == 1


def test_scenarios_repeat_and_missing_change_the_stream_alone() -> None:
    with data_server(news=DAY[:2], scenarios=["news-repeat"]) as served, _plain_news(served) as ear:
        served.to(0, 6)
        assert [each["id"] for each in ear.next()] == [1, 1]
        served.arm("news-missing")
        served.to(1)
        assert ear.none_more()
        assert [each["id"] for each in served.ask("/v1beta1/news").json()["news"]] == [2, 1]
        assert (served.fired("news-repeat"), served.fired("news-missing")) == (1, 1)


def test_file_of_articles_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "news.jsonl"
    odd = article(9, OPEN + 123_456, headline="Zürich — “quoted”", url="https://example.com/9")
    NewsList([*DAY, odd]).write(path)
    assert list(NewsList.read(path)) == [*DAY, odd]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "not an article"),
        ('{"id": 1}', "created_at"),
        ('{"id": 1, "created_at": "2026-02-17", "updated_at": "2026-02-17"}', "without an offset"),
        ('{"id": 1, "created_at": "2026-02-17Z", "updated_at": "2026-02-17"}', "isoformat"),
        ('{"id": 1, "created_at": "T", "updated_at": "T"}', "isoformat"),
    ],
)
def test_line_that_is_no_article_is_named_by_its_number(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "news.jsonl"
    NewsList(DAY[:2]).write(path)
    path.write_text(path.read_text() + "\n" + line + "\n")
    with pytest.raises(Fatal, match=words) as refused:
        NewsList.read(path)
    assert refused.value.place == "news.jsonl, line 4"


def test_field_that_an_article_does_not_have_is_named(tmp_path: Path) -> None:
    path = tmp_path / "news.jsonl"
    NewsList(DAY[:1]).write(path)
    path.write_text(path.read_text().replace("headline", "titel"))
    with pytest.raises(Fatal, match="titel"):
        NewsList.read(path)


def test_news_far_from_the_tapes_day_waits_for_its_own_time() -> None:
    with data_server(news=[article(1, OPEN + 60 * 24 * 60 * MINUTE)]) as served:
        served.to(60)
        assert served.ask("/v1beta1/news").json()["news"] == []
