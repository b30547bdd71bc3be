"""The exchange over HTTP: Alpaca's own client with legs and replacements, and the exchange's own paths."""

import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderClass, OrderSide, OrderStatus, QueryOrderStatus, TimeInForce
from alpaca.trading.models import Order, Position
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLossRequest,
    TakeProfitRequest,
)

from tapedeck.connectors.paper.exchange import PaperExchange
from tests.support.paper import LARGE, TEN, StepClock, arm, exchange, order, serving, state

KEYS = {"APCA-API-KEY-ID": LARGE.key, "APCA-API-SECRET-KEY": LARGE.secret}


@pytest.fixture
def paper() -> PaperExchange:
    return exchange()


@pytest.fixture
def url(paper: PaperExchange) -> Iterator[str]:
    with serving(paper, StepClock(TEN)) as address:
        yield address


@pytest.fixture
def client(url: str) -> TradingClient:
    return TradingClient(LARGE.key, LARGE.secret, url_override=url)


def tell(url: str, **body: Any) -> requests.Response:
    return requests.post(f"{url}/_paper/faults", json=body, timeout=5)


def bracket(client: TradingClient) -> Order:
    asked = LimitOrderRequest(
        symbol="AMD",
        qty=10,
        side=OrderSide.BUY,
        time_in_force=TimeInForce.DAY,
        limit_price=100.01,
        order_class=OrderClass.BRACKET,
        take_profit=TakeProfitRequest(limit_price=110),
        stop_loss=StopLossRequest(stop_price=95),
    )
    return cast(Order, client.submit_order(asked))


def test_alpacas_client_reads_a_bracket_and_finds_its_held_leg_by_nesting(client: TradingClient) -> None:
    placed = bracket(client)
    assert placed.order_class is OrderClass.BRACKET
    assert [each.status for each in placed.legs or []] == [OrderStatus.HELD, OrderStatus.HELD]
    flat = cast(list[Order], client.get_orders(GetOrdersRequest(status=QueryOrderStatus.OPEN)))
    nested = cast(list[Order], client.get_orders(GetOrdersRequest(status=QueryOrderStatus.OPEN, nested=True)))
    assert [each.status for each in flat] == [OrderStatus.NEW]
    assert [each.status for parent in nested for each in parent.legs or []] == [
        OrderStatus.NEW,
        OrderStatus.HELD,
    ]
    position = cast(Position, client.get_open_position("AMD"))
    assert (position.qty, position.qty_available) == ("10", "0")


def test_alpacas_client_replaces_cancels_all_and_closes(client: TradingClient) -> None:
    fields = {"symbol": "AMD", "qty": 3, "side": OrderSide.BUY, "time_in_force": TimeInForce.DAY}
    first = cast(Order, client.submit_order(LimitOrderRequest(limit_price=50, **fields)))
    second = cast(Order, client.replace_order_by_id(first.id, ReplaceOrderRequest(limit_price=51)))
    assert (second.replaces, second.limit_price) == (first.id, "51")
    told = client.cancel_orders()
    assert len(told) == 1
    client.submit_order(MarketOrderRequest(**fields))
    client.close_position("AMD", ClosePositionRequest(qty="1"))
    assert cast(Position, client.get_open_position("AMD")).qty == "2"
    client.close_position("AMD")
    assert client.get_all_positions() == []
    with pytest.raises(APIError, match="position does not exist"):
        client.get_open_position("AMD")


@pytest.mark.parametrize("body", ["", "{", "[]", "null", '"text"'])
def test_a_body_that_is_no_object_is_refused_and_the_exchange_goes_on(url: str, body: str) -> None:
    answer = requests.post(f"{url}/v2/orders", data=body, headers=KEYS, timeout=5)
    assert (answer.status_code, answer.json()["code"]) == (400, 40010000)
    assert requests.get(f"{url}/v2/account", headers=KEYS, timeout=5).ok


def test_a_refused_rate_has_alpacas_headers(url: str) -> None:
    arm(url, "RATE_LIMIT", operation="account", seconds=7)
    answer = requests.get(f"{url}/v2/account", headers=KEYS, timeout=5)
    assert (answer.status_code, answer.json()["code"]) == (429, 42910000)
    assert answer.headers["X-RateLimit-Limit"] == "200"
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert int(answer.headers["X-RateLimit-Reset"]) == -(-(TEN + 7_000_000) // 1_000_000)
    assert requests.get(f"{url}/v2/clock", headers=KEYS, timeout=5).status_code == 429
    assert state(url)["early"] == {LARGE.number: 1}


def test_faults_are_armed_seen_and_disarmed_at_run_time(url: str) -> None:
    arm(url, "REJECT", count=2)
    arm(url, "CANCEL_PENDING", account=LARGE.number, operation="cancel", skip=1)
    assert state(url)["armed"] == {"REJECT": 2, "CANCEL_PENDING": 1}
    assert tell(url, disarm="REJECT").ok
    assert state(url)["armed"] == {"CANCEL_PENDING": 1}
    assert tell(url, disarm="all").ok
    assert state(url)["armed"] == {}


def test_the_temper_changes_at_run_time(url: str, paper: PaperExchange) -> None:
    assert state(url)["temper"] == "calm"
    assert tell(url, temper="rough", seed=3).ok
    assert state(url)["temper"] == "rough"
    for n in range(30):
        requests.post(f"{url}/v2/orders", json=order(f"td1-{n}", qty="1"), headers=KEYS, timeout=5)
    assert state(url)["fired"]
    assert tell(url, temper="calm").ok
    assert paper.faults.temper is None


@pytest.mark.parametrize(
    "body",
    [{"fault": "NOTHING"}, {"temper": "grumpy"}, {"fault": "REJECT", "count": "x"}, {}, {"disarm": "x"}],
)
def test_what_cannot_be_armed_is_refused_in_words(url: str, body: dict[str, Any]) -> None:
    answer = tell(url, **body)
    assert answer.status_code == 400 and "not a fault" in answer.text


def test_the_books_and_the_journal_can_be_read_and_hold_no_credentials(url: str) -> None:
    requests.post(f"{url}/v2/orders", json=order(), headers=KEYS, timeout=5)
    found = requests.get(f"{url}/_paper/books", timeout=5)
    book = found.json()["books"][LARGE.number]
    assert [each["client_order_id"] for each in book["orders"].values()] == ["td1-a"]
    assert [each["qty"] for each in book["executions"]] == ["2"]
    (entry,) = found.json()["journal"]
    assert (entry["operation"], entry["subject"], entry["outcome"]) == ("submit", "td1-a", 200)
    assert LARGE.secret not in found.text and LARGE.key not in found.text


def test_a_call_about_an_order_has_the_machines_times_and_another_call_has_none(url: str) -> None:
    before = time.time_ns() // 1000
    requests.post(f"{url}/v2/orders", json=order(), headers=KEYS, timeout=5)
    requests.get(f"{url}/v2/positions", headers=KEYS, timeout=5)
    (call,) = requests.get(f"{url}/_paper/books", timeout=5).json()["calls"]
    assert (call["operation"], call["subject"], call["outcome"]) == ("submit", "td1-a", 200)
    assert call["number"] == LARGE.number
    assert before <= call["came"] <= call["done"] <= time.time_ns() // 1000


def test_a_cut_stream_ends_new_connections_until_its_seconds_have_passed(
    url: str, paper: PaperExchange
) -> None:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    login = (
        f'{{"action": "authenticate", "data": {{"key_id": "{LARGE.key}", "secret_key": "{LARGE.secret}"}}}}'
    )
    address = url.replace("http", "ws") + "/stream"
    arm(url, "STREAM_CUT", seconds=10)
    with connect(address, proxy=None) as line:
        line.send(login)
        line.recv(5)
        line.send('{"action": "listen", "data": {"streams": ["trade_updates"]}}')
        line.recv(5)
        requests.post(f"{url}/v2/orders", json=order(), headers=KEYS, timeout=5)
        with pytest.raises(ConnectionClosed):
            line.recv(5)
    with connect(address, proxy=None) as again:
        again.send(login)
        with pytest.raises(ConnectionClosed):
            again.recv(5)
    paper.advance(TEN + 10_000_000)
    with connect(address, proxy=None) as later:
        later.send(login)
        assert b"authorized" in bytes(later.recv(5))
