"""Alpaca's own payloads: our replies read them, and the paper exchange speaks in their shapes."""

import json
from decimal import Decimal as D
from typing import Any

import pytest
from alpaca.data.historical import OptionHistoricalDataClient, StockHistoricalDataClient
from alpaca.data.requests import (
    OptionChainRequest,
    OptionLatestQuoteRequest,
    OptionSnapshotRequest,
    StockLatestQuoteRequest,
)
from alpaca.trading.client import TradingClient
from alpaca.trading.models import Order, TradeActivity, TradeUpdate
from alpaca.trading.requests import GetCalendarRequest, GetOptionContractsRequest, LimitOrderRequest

from tapedeck.connectors.alpaca import replies
from tapedeck.connectors.paper import wire
from tapedeck.streams.stages.account.rules.orders import OrderState, Side
from tests.support.cases import shared
from tests.support.paper import CALL, LARGE, MINUTE, TEN, StepClock, exchange, order, serving

NUMBER = LARGE.number


def payload(name: str) -> Any:
    return json.loads(shared(f"alpaca_payloads/{name}.json").read_text())


def _shape(value: Any) -> Any:
    """Keys and JSON kinds of a payload; numbers and strings of numbers are one kind, as Alpaca mixes them."""
    if isinstance(value, dict):
        return {name: _shape(inner) for name, inner in value.items()}
    if isinstance(value, bool):
        return "bool"
    if value is None or isinstance(value, list):
        return "any"
    return "scalar"


def _covers(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """What the recorded payload has and ours has not, or has as another kind."""
    ours_shape, theirs_shape = _shape(ours), _shape(theirs)
    if isinstance(theirs_shape, dict) and isinstance(ours_shape, dict):
        missing = [f"{path}.{name}" for name in theirs_shape if name not in ours_shape]
        for name in theirs_shape.keys() & ours_shape.keys():
            missing += _covers(ours[name], theirs[name], f"{path}.{name}")
        return sorted(missing)
    kinds = {str(ours_shape), str(theirs_shape)}
    return [] if "any" in kinds or len(kinds) == 1 else [f"{path}: {kinds}"]


def test_account_has_alpacas_shape() -> None:
    recorded = payload("account_routes__get_account")
    assert _covers(exchange().account(NUMBER), recorded) == [".created_at"]  # the exchange has no birthday
    assert replies.account(recorded).number == "010203ABCD"


@pytest.mark.parametrize(
    "name",
    ["limit_order", "market_order", "get_order_by_id", "get_order_by_client_id", "order_position_intent"],
)
def test_order_has_alpacas_shape(name: str) -> None:
    recorded = payload(f"order_routes__{name}")
    paper = exchange()
    paper.submit(NUMBER, order())
    for ours in paper.orders(NUMBER, "all"):
        assert _covers(ours, recorded) == []
    read = replies.order(recorded)
    assert (read.state, read.qty, read.filled_qty, read.side) == (OrderState.ACCEPTED, 1, 0, Side.BUY)


def test_position_has_alpacas_shape() -> None:
    (recorded,) = payload("position_routes__get_all_positions")
    paper = exchange()
    paper.submit(NUMBER, order())
    assert _covers(paper.positions(NUMBER)[0], recorded) == []
    assert replies.position(recorded).qty == 5
    assert replies.position(recorded | {"side": "short"}).qty == -5


def test_asset_and_contract_have_alpacas_shape() -> None:
    asset = payload("asset_routes__get_asset")
    assert _covers(wire.asset("NVDA"), asset) == [".last_close_pct_change", ".last_price"]
    contract = exchange().board.chain("NVDA", TEN)[CALL]
    assert _covers(wire.contract(contract), payload("option_routes__get_option_contract")) == []


def test_quotes_and_snapshots_have_alpacas_shape() -> None:
    board = exchange().board
    stock, option = board.stock("NVDA", TEN), board.chain("NVDA", TEN)[CALL]
    assert stock is not None
    recorded = payload("historical_stock_data__get_laquote")["quotes"]["AAPL"]
    assert _covers(wire.stock_quote(stock, "x"), recorded) == []
    recorded = payload("historical_option_data__get_laquote")["quotes"]["AAPL240126P00050000"]
    assert _covers(wire.option_quote(option, "x"), recorded) == []
    recorded = payload("historical_option_data__get_option_chain")["snapshots"]["AAPL240503P00155000"]
    missing = _covers(wire.snapshot(option, "x", TEN), recorded)
    assert missing == [".impliedVolatility", ".latestTrade"]  # one is not modelled, chains lack the other
    recorded = payload("historical_option_data__get_snapshot")["snapshots"]["AAPL240126P00050000"]
    told = exchange().option_snapshot(NUMBER, CALL)
    assert told is not None
    assert _covers(wire.snapshot(option, "x", TEN, told.trade), recorded) == [".impliedVolatility"]


def test_recorded_quotes_are_read_with_nanoseconds_cut_off() -> None:
    raw = payload("historical_stock_data__get_laquote")["quotes"]["AAPL"]
    read = replies.quote("AAPL", raw, "iex")
    assert (read.bid, read.ask, read.origin) == (D("161.1"), D("161.11"), "alpaca/iex")
    assert read.time == replies.micros("2022-03-18T14:02:43.651613Z")


def test_recorded_chain_is_read_with_what_it_lacks_as_unknown() -> None:
    from tapedeck.connectors.broker import ChainQuery

    snapshots = payload("historical_option_data__get_option_chain")["snapshots"]
    listed = payload("option_routes__get_option_contract") | {"symbol": "AAPL240503P00155000", "type": "put"}
    query = ChainQuery(
        underlying="AAPL", right=None, expiry_from=0, expiry_to=99_999, strike_from=D(0), strike_to=D(999)
    )
    chain = replies.chain(
        query, [listed, listed | {"symbol": "X", "tradable": False}], snapshots, "indicative"
    )
    (put,) = chain.contracts
    assert (put.bid, put.ask, put.volume, put.open_interest) == (D("0.32"), D("0.35"), None, 0)
    assert put.delta == pytest.approx(-0.0696, abs=1e-4)
    assert chain.origin == "alpaca/indicative"


def test_unknown_status_is_unrecognised_and_kept_raw() -> None:
    raw = payload("order_routes__limit_order") | {"status": "levitating"}
    read = replies.order(raw)
    assert (read.state, read.raw_status) == (OrderState.UNRECOGNISED, "levitating")


def test_every_status_of_alpaca_py_but_the_unclear_one_has_a_state() -> None:
    from alpaca.trading.enums import OrderStatus

    assert {status.value for status in OrderStatus} - replies.STATES.keys() == {"pending_review"}


def test_real_alpaca_clients_read_the_paper_exchange_with_their_own_models() -> None:
    paper, clock = exchange(), StepClock(TEN)
    heard: list[dict[str, Any]] = []
    paper.listen(lambda number, update: heard.append(update["data"]))
    keys = (LARGE.key, LARGE.secret)
    with serving(paper, clock) as url:
        client = TradingClient(*keys, url_override=url)
        assert client.get_account().account_number == NUMBER
        assert client.get_clock().is_open
        assert client.get_calendar(GetCalendarRequest(start="2026-02-16", end="2026-02-17"))[0].open.hour == 9
        assert client.get_asset("NVDA").symbol == "NVDA"
        assert [asset.symbol for asset in client.get_all_assets()] == ["AMD", "NVDA"]
        wanted = GetOptionContractsRequest(underlying_symbols=["NVDA"])
        assert len(client.get_option_contracts(wanted).option_contracts) == 4
        limited = LimitOrderRequest(
            symbol=CALL, qty=2, side="buy", type="limit", time_in_force="day", limit_price=2.07,
            client_order_id="td1-x", position_intent="buy_to_open",
        )  # fmt: skip
        sent = client.submit_order(limited)
        assert isinstance(sent, Order)
        assert [each.client_order_id for each in client.get_orders()] == ["td1-x"]
        clock.time = TEN + 10 * MINUTE
        assert client.get_order_by_client_id("td1-x").status.value == "filled"
        assert client.get_order_by_id(sent.id).filled_avg_price == "2.07"
        assert client.get_all_positions()[0].symbol == CALL
        assert TradeActivity(**client.get("/account/activities/FILL")[0]).symbol == CALL
        stocks = StockHistoricalDataClient(*keys, url_override=url)
        latest = StockLatestQuoteRequest(symbol_or_symbols=["NVDA", "AMD"])
        assert stocks.get_stock_latest_quote(latest)["AMD"].ask_price == 100.01
        options = OptionHistoricalDataClient(*keys, url_override=url)
        latest_option = OptionLatestQuoteRequest(symbol_or_symbols=CALL)
        assert options.get_option_latest_quote(latest_option)[CALL].bid_price == 2.0
        newest = options.get_option_snapshot(OptionSnapshotRequest(symbol_or_symbols=[CALL, "NVDA"]))
        assert {name: each.latest_trade.price for name, each in newest.items()} == {CALL: 2.05}
        chain = options.get_option_chain(OptionChainRequest(underlying_symbol="NVDA"))
        assert chain[CALL].greeks.delta == 0.4
    assert TradeUpdate(**heard[0]).event == "new"
