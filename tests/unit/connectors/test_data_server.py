"""Alpaca's market-data API over a tape: what alpaca-py's own clients get, when, and in which words."""

from collections import Counter
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any

import msgpack
import pytest
from alpaca.common.exceptions import APIError
from alpaca.data.enums import DataFeed
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.data.requests import StockBarsRequest, StockLatestQuoteRequest, StockSnapshotRequest
from alpaca.data.timeframe import TimeFrame

from tapedeck.connectors.paper.data.rows import Bars
from tapedeck.connectors.tapes.generator import days, generate
from tapedeck.connectors.tapes.tape import Tape
from tests.support.data_server import (
    ABSENT,
    BEFORE,
    LATE,
    MINUTES,
    REVISED,
    SYMBOLS,
    Plain,
    data_server,
    iso,
    listen_to_bars,
    made_tape,
    plain,
    until,
)
from tests.support.paper import LARGE, MINUTE, OPEN, SECOND


@pytest.fixture(scope="module")
def day() -> Tape:
    """A synthetic session, with everything that a market does."""
    return generate(session=date(2026, 2, 17), symbols=SYMBOLS)


def _request(**changes: Any) -> StockBarsRequest:
    asked = {
        "symbol_or_symbols": list(SYMBOLS), "timeframe": TimeFrame.Minute, "feed": DataFeed.IEX,
        "start": datetime.fromtimestamp(BEFORE / 1e6, UTC),
    } | changes  # fmt: skip
    return StockBarsRequest(**asked)


def _final(tape: Tape, symbol: str) -> list[tuple[Any, ...]]:
    """The last revision of each of a symbol's minutes."""
    bodies = [*tape.history, *(body for minute in tape.minutes for body in minute.bars)]
    newest: dict[int, Any] = {}
    for body in sorted(bodies, key=lambda each: each["revision"]):
        if body["symbol"] == symbol:
            newest[body["t"]] = body
    fields = ("open", "high", "low", "close", "volume")
    return [(iso(t), *(newest[t][name] for name in fields)) for t in sorted(newest)]


def _told(raw: dict[str, Any]) -> tuple[Any, ...]:
    return (raw["t"], *(float(raw[name]) for name in "ohlcv"))


def test_what_rest_has_in_the_end_is_the_tape_and_pages_change_nothing() -> None:
    tape = made_tape()
    with data_server(tape) as served:
        served.to(MINUTES + 5)
        client, digests = served.history(), set()
        for limit in (None, 1000):
            found = client.get_stock_bars(_request(limit=limit))
            rows = [[_told(raw) for raw in found[symbol]] for symbol in SYMBOLS]
            digests.add(sha256(repr(rows).encode()).hexdigest())
        wanted = [_final(tape, symbol) for symbol in SYMBOLS]
        assert digests == {sha256(repr(wanted).encode()).hexdigest()}


@pytest.mark.parametrize("limit", [1, 3, 10, 22, 43, 44])
@pytest.mark.parametrize("sort", ["asc", "desc"])
def test_pages_end_anywhere_and_lose_nothing(limit: int, sort: str) -> None:
    with data_server() as served:
        served.to(MINUTES + 5)
        asked = {
            "start": iso(BEFORE),
            "timeframe": "1Min",
            "feed": "iex",
            "sort": sort,
            "symbols": "NVDA,AMD",
        }
        found, token = [], None
        while True:
            answer = served.ask("/v2/stocks/bars", **asked, limit=limit, page_token=token or "").json()
            page = [(symbol, raw["t"]) for symbol, rows in answer["bars"].items() for raw in rows]
            found += page
            token = answer["next_page_token"]
            if token is None:
                break
            assert len(page) == limit
        whole = served.bars(start=iso(BEFORE), sort=sort)
        assert found == [(symbol, raw["t"]) for symbol, rows in whole.items() for raw in rows]
        assert len(found) == len(set(found)) == 20 + 2 * MINUTES - 1


def test_alpaca_py_reads_bars_quotes_and_snapshots_as_its_own_models() -> None:
    with data_server() as served:
        served.to(3)
        client = StockHistoricalDataClient(LARGE.key, LARGE.secret, url_override=served.url)
        bars = client.get_stock_bars(_request())
        assert [len(bars[symbol]) for symbol in SYMBOLS] == [12, 12]
        assert bars["AMD"][-1].timestamp == datetime.fromtimestamp((OPEN + MINUTE) / 1e6, UTC)
        quotes = client.get_stock_latest_quote(
            StockLatestQuoteRequest(symbol_or_symbols="NVDA", feed=DataFeed.IEX)
        )
        assert quotes["NVDA"].bid_price == 149.98
        shot = client.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols="AMD", feed=DataFeed.IEX))
        assert shot["AMD"].minute_bar.close == bars["AMD"][-1].close
        assert shot["AMD"].previous_daily_bar.volume == 10_000


def test_nothing_from_the_future_is_served_on_any_path() -> None:
    with data_server() as served, plain(f"{served.ws}/v2/iex", bars=["*"]) as ear:
        end = iso(OPEN + 60 * MINUTE)
        served.to(1)  # the minute is over, and its bar not yet published
        assert served.bars(end=end) == {}
        assert ear.none_more()
        served.to(1, 0.1)
        assert {name: len(rows) for name, rows in served.bars(end=end).items()} == {"AMD": 1, "NVDA": 1}
        assert sorted(each["S"] for each in ear.next()) == ["AMD", "NVDA"]
        served.to(LATE + 1, 1)
        assert [raw["t"] for raw in served.bars(end=end)["NVDA"]][-1] == iso(OPEN + (LATE - 1) * MINUTE)
        served.to(LATE + 2, 1)  # the late bar has come
        assert iso(OPEN + LATE * MINUTE) in [raw["t"] for raw in served.bars(end=end)["NVDA"]]


def test_an_updated_bar_comes_half_a_minute_after_the_bar_and_rest_changes_with_it() -> None:
    t = OPEN + REVISED * MINUTE
    with data_server() as served, plain(f"{served.ws}/v2/iex", bars=["NVDA"], updatedBars=["NVDA"]) as ear:
        served.to(REVISED + 1)
        ear.next()
        served.to(REVISED + 1, 1)
        (first,) = ear.next()
        assert served.bars(symbols="NVDA", start=iso(t))["NVDA"][0]["v"] == first["v"] == 1_000
        served.to(REVISED + 1, 29)
        assert ear.none_more()
        served.to(REVISED + 1, 31)
        (second,) = ear.next()
        assert (second["T"], second["t"], second["v"]) == ("u", first["t"], 1_001)
        assert served.bars(symbols="NVDA", start=iso(t))["NVDA"][0]["v"] == 1_001


def test_minutes_without_a_bar_are_not_made_up() -> None:
    with data_server() as served:
        served.to(MINUTES + 1)
        assert iso(OPEN + ABSENT * MINUTE) not in [raw["t"] for raw in served.bars()["NVDA"]]


def test_alpaca_pys_stock_stream_hears_bars_updates_quotes_in_msgpack() -> None:
    with data_server() as served:
        ears = listen_to_bars(served)
        for n in range(MINUTES + 3):
            served.to(n, 59.9)
        until(lambda: len(ears.heard) == 2 * MINUTES + MINUTES)
        bars = {(each.symbol, each.timestamp, each.volume) for each in ears.heard if hasattr(each, "close")}
        assert len(bars) == 2 * MINUTES
        moment = datetime.fromtimestamp((OPEN + REVISED * MINUTE) / 1e6, UTC)
        assert {("NVDA", moment, 1_000), ("NVDA", moment, 1_001)} <= bars
        quotes = [each for each in ears.heard if hasattr(each, "bid_price")]
        assert (quotes[0].bid_price, quotes[0].ask_price) == (149.98, 0)


def test_raw_messages_have_msgpack_times_and_json_clients_get_text() -> None:
    with data_server() as served:
        with (
            plain(f"{served.ws}/v2/iex", packed=True, bars=["AMD"]) as packed,
            plain(f"{served.ws}/v2/sip", bars=["AMD"]) as other,
        ):
            served.to(1, 1)
            (raw,) = packed.next()
            assert raw["t"] == msgpack.Timestamp(OPEN // SECOND, 0)
            assert (raw["T"], raw["S"], raw["tape_origin"]) == ("b", "AMD", "synthetic/test")
            assert other.none_more()  # feeds are not mixed
        with plain(f"{served.ws}/v2/iex", bars=["AMD"]) as text:
            served.to(2, 1)
            assert text.next()[0]["t"] == iso(OPEN + MINUTE)


def test_feeds_are_not_mixed_in_rest() -> None:
    with data_server() as served:
        served.to(MINUTES + 30)
        assert served.bars(feed="sip") == {}
        latest = "/v2/stocks/bars/latest"
        assert served.ask(latest, symbols="NVDA", feed="sip").json() == {"bars": {}}
        assert "NVDA" in served.ask(latest, symbols="NVDA", feed="iex").json()["bars"]


def test_FLD_D17_without_a_feed_old_data_is_sip_and_new_data_is_iex() -> None:
    with data_server(made_tape(feed="sip")) as served:
        served.to(MINUTES + 30)
        asked = {"symbols": "AMD", "timeframe": "1Min", "start": iso(OPEN)}
        old = served.ask("/v2/stocks/bars", **asked, end=iso(OPEN + 10 * MINUTE)).json()["bars"]
        new = served.ask("/v2/stocks/bars", **asked).json()["bars"]
        assert (len(old["AMD"]), new) == (11, {})


def test_FLD_D22_a_daily_bar_is_labeled_with_new_yorks_midnight_and_grows_until_the_close() -> None:
    with data_server() as served:
        served.to(3, 1)
        asked = {"timeframe": "1Day", "start": "2026-02-13", "symbols": "AMD"}
        before, today = served.bars(**asked)["AMD"]
        assert (before["t"], before["v"]) == ("2026-02-13T05:00:00Z", 10_000)
        assert (today["t"], today["v"]) == ("2026-02-17T05:00:00Z", 3_000)
        served.to(4, 1)
        assert served.bars(**asked)["AMD"][1]["v"] == 4_000


def test_FLD_D19_D21_bars_are_utc_and_a_date_is_new_yorks() -> None:
    with data_server() as served:
        served.to(MINUTES + 1)
        found = served.bars(start="2026-02-13", end="2026-02-13")
        assert found["AMD"][0]["t"] == iso(BEFORE) == "2026-02-13T14:30:00Z"
        assert len(found["AMD"]) == 10


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"symbols": ""}, "symbols is required"),
        ({"symbols": "am d"}, "invalid symbol"),
        ({"timeframe": "7Min"}, "invalid timeframe: 7Min"),
        ({"feed": "nyse"}, "invalid feed: nyse"),
        ({"adjustment": "x"}, "invalid adjustment"),
        ({"limit": "10001"}, "invalid limit"),
        ({"limit": "0"}, "invalid limit"),
        ({"sort": "up"}, "invalid sort"),
        ({"start": "yesterday"}, "invalid start"),
        ({"start": "2026-02-17T10:00:00"}, "invalid start"),
        ({"start": "2026-02-17", "end": "2026-02-16"}, "end should not be before start"),
        ({"page_token": "???"}, "invalid page_token"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_by_its_parameter(
    changes: dict[str, str], words: str
) -> None:
    with data_server() as served:
        answer = served.ask(
            "/v2/stocks/bars", **{"symbols": "AMD", "timeframe": "1Min", "feed": "iex"} | changes
        )
        assert answer.status_code == 400
        assert words in answer.json()["message"]


def test_wrong_credentials_are_refused_by_rest_and_by_the_stream() -> None:
    with data_server() as served:
        client = StockHistoricalDataClient(LARGE.key, "wrong", url_override=served.url)
        with pytest.raises(APIError, match="not authorized"):
            client.get_stock_bars(_request())
        with plain(f"{served.ws}/v2/iex", log_in=False) as ear:
            assert ear.log_in(secret="wrong") == [{"T": "error", "code": 402, "msg": "auth failed"}]
            assert ear.is_closed()


def test_a_burst_of_many_symbols_passes_in_frames_of_a_bounded_size(day: Tape) -> None:
    with data_server(day) as served, plain(f"{served.ws}/v2/iex", packed=True, bars=["*"]) as ear:
        served.to(390)
        found: list[Any] = []
        while len(found) < 700:
            frame = ear.next()
            assert len(frame) <= 500
            found += frame
        assert len({(each["S"], each["t"]) for each in found}) == len(found)


def test_a_tape_in_columns_is_the_tape_and_takes_a_tenth_of_the_memory(day: Tape) -> None:
    bars = Bars(day)
    wanted = sorted(
        (body["symbol"], body["t"], body["revision"], body["close"])
        for body in [*day.history, *(body for minute in day.minutes for body in minute.bars)]
    )
    found = sorted((row.symbol, row.t, row.revision, row.close) for row in bars.due(0, 2**62))
    assert found == wanted
    assert bars._table.nbytes / len(wanted) < 100


def test_another_tape_is_served_from_its_first_minute_on_and_subscriptions_stay() -> None:
    with data_server() as served, plain(f"{served.ws}/v2/iex", bars=["AMD"]) as ear:
        served.to(1, 1)
        assert len(ear.next()) == 1
        served.service.data.open(made_tape(), OPEN + 3 * MINUTE)
        served.to(4, 1)
        assert [each["t"] for each in ear.next()] == [iso(OPEN + 2 * MINUTE), iso(OPEN + 3 * MINUTE)]


def test_sessions_before_the_tapes_own_are_in_rest_once() -> None:
    thursday, friday, tuesday = days(first=date(2026, 2, 12), last=date(2026, 2, 17), symbols=("AMD",))
    with data_server(tuesday, earlier=[thursday, friday]) as served:
        asked = {"start": "2026-02-11", "end": "2026-02-13", "limit": 10_000}
        found = served.bars(**asked)["AMD"]
        dates = Counter(raw["t"][:10] for raw in found)
        assert list(dates) == ["2026-02-11", "2026-02-12", "2026-02-13"]
        assert len({raw["t"] for raw in found}) == len(found)
        daily = served.bars(**asked, timeframe="1Day")["AMD"]
        assert [raw["t"] for raw in daily] == [f"{each}T05:00:00Z" for each in dates]


def test_a_client_can_be_made_of_nothing_but_a_socket() -> None:
    with data_server() as served:
        client = Plain(f"{served.ws}/v2/iex")
        assert client.log_in()[0]["msg"] == "authenticated"
        client.close()
        until(lambda: served.state()["data"]["connections"] == [])
