"""An option's quote, last trade and theta: from Alpaca's answer and from the paper exchange."""

from collections.abc import Callable, Iterator
from decimal import Decimal as D
from itertools import product
from typing import Any

import pytest

from tapedeck.connectors.alpaca import replies
from tapedeck.connectors.alpaca.trading import AlpacaBroker
from tapedeck.connectors.broker import Broker, NotFound, QuoteReply
from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.faults import Fault
from tapedeck.connectors.paper.inprocess import InProcessBroker
from tapedeck.connectors.paper.saved import plain_book
from tapedeck.connectors.tapes.trades import OptionTrade, last_trade
from tapedeck.streams.stages.account.rules.requests import FetchQuote
from tests.support.desk import Desk, payload
from tests.support.paper import (
    CALL,
    LARGE,
    LARGE_KEYS,
    MINUTE,
    PUT,
    SECOND,
    TEN,
    StepClock,
    TinyMarket,
    exchange,
    order,
    serving,
)
from tests.unit.connectors.test_alpaca_shapes import payload as recorded

QUOTE_T, TRADE_T = "2024-02-02T20:59:59.731674112Z", "2024-02-02T17:29:53.55240448Z"
ABSENT: Any = object()

QUOTES: list[tuple[Any, tuple[D | None, D | None, bool]]] = [
    ({"t": QUOTE_T, "bp": 0.48, "ap": 0.59, "c": " "}, (D("0.48"), D("0.59"), True)),
    ({"t": QUOTE_T, "bp": 0, "ap": 0.05}, (None, D("0.05"), True)),
    ({"t": QUOTE_T, "bp": 0, "ap": 0}, (None, None, True)),
    ({"t": QUOTE_T, "bp": None, "ap": None}, (None, None, True)),
    ({"t": QUOTE_T}, (None, None, True)),
    ({}, (None, None, False)),
    (None, (None, None, False)),
    (ABSENT, (None, None, False)),
]
TRADES: list[tuple[Any, D | None]] = [
    ({"t": TRADE_T, "p": 0.52, "s": 1, "x": "W"}, D("0.52")),
    ({"t": TRADE_T, "p": 0}, None),
    ({"t": TRADE_T, "p": None}, None),
    ({"t": TRADE_T}, None),
    ({}, None),
    (None, None),
    (ABSENT, None),
]
GREEKS: list[tuple[Any, float | None]] = [
    ({"delta": 0.67, "theta": -0.12}, -0.12),
    ({"delta": 0.67, "theta": 0}, None),
    ({"delta": 0.67, "theta": None}, None),
    ({"delta": 0.67, "theta": float("nan")}, None),
    ({"delta": 0.67}, None),
    ({}, None),
    (None, None),
    (ABSENT, None),
]


@pytest.mark.parametrize(("quote", "trade", "greeks"), list(product(QUOTES, TRADES, GREEKS)))
def test_every_part_of_a_snapshot_may_be_null_or_absent(
    quote: tuple[Any, tuple[D | None, D | None, bool]],
    trade: tuple[Any, D | None],
    greeks: tuple[Any, float | None],
) -> None:
    parts = {"latestQuote": quote[0], "latestTrade": trade[0], "greeks": greeks[0]}
    raw = {name: part for name, part in parts.items() if part is not ABSENT}
    read = replies.option_quote("AAPL240126P00050000", raw, "indicative")
    bid, ask, quoted = quote[1]
    if not quoted and trade[1] is None:
        assert read is None, "greeks alone are no quote"
        return
    assert read is not None
    assert (read.bid, read.ask, read.trade_price, read.theta) == (bid, ask, trade[1], greeks[1])
    assert read.time == (replies.micros(QUOTE_T) if quoted else None)
    assert read.trade_time == (None if trade[1] is None else replies.micros(TRADE_T))
    assert read.origin == "alpaca/indicative"


def test_recorded_snapshots_are_read() -> None:
    whole = recorded("historical_option_data__get_snapshot")["snapshots"]["AAPL240126P00050000"]
    read = replies.option_quote("A", whole, "opra")
    assert read is not None and read.theta == pytest.approx(-0.125794, abs=1e-6)
    assert (read.bid, read.ask, read.trade_price) == (D("0.48"), D("0.59"), D("0.52"))
    only = recorded("historical_option_data__get_snapshot_laquote_only")["snapshots"]["AAPL240126P00050000"]
    read = replies.option_quote("A", only, "opra")
    assert read is not None and (read.bid, read.trade_price, read.theta) == (D("0.48"), None, None)


def test_a_part_that_says_half_is_not_understood() -> None:
    with pytest.raises(KeyError):
        replies.option_quote("A", {"latestQuote": {"bp": 1, "ap": 2}}, "opra")
    with pytest.raises(KeyError):
        replies.option_quote("A", {"latestTrade": {"p": 1}}, "opra")


class Brokers:
    """Both ways to one exchange."""

    def __init__(self, url: str, paper: PaperExchange, market: TinyMarket) -> None:
        self.paper, self.market = paper, market
        inside = InProcessBroker(paper, LARGE.number, url)
        self.both: tuple[Broker, Broker] = (AlpacaBroker(url, LARGE_KEYS), inside)

    def quote(self, instrument: str) -> QuoteReply:
        """The answer, which is the same either way."""
        first, second = (each.quote(instrument) for each in self.both)
        assert first == second
        return first


@pytest.fixture
def brokers() -> Iterator[Brokers]:
    market = TinyMarket()
    market.theta = -0.08
    paper = exchange(market)
    with serving(paper, StepClock(TEN)) as url:
        yield Brokers(url, paper, market)


def test_the_exchange_tells_quote_trade_and_theta_through_alpacas_client_and_in_process(
    brokers: Brokers,
) -> None:
    read = brokers.quote(CALL)
    assert (read.bid, read.ask, read.theta) == (D(2), D("2.1"), -0.08)
    assert read.trade_price == D("2.05") and read.trade_time is not None and read.trade_time <= TEN
    assert (read.feed, read.origin) == ("indicative", "synthetic/test")
    brokers.paper.submit(LARGE.number, order())
    assert (brokers.quote(CALL).trade_price, brokers.quote(CALL).trade_time) == (D("2.1"), TEN), "its fill"
    assert brokers.quote("NVDA").trade_price is None, "bars have a stock's"


@pytest.mark.parametrize(
    ("fault", "gone"),
    [
        (Fault.QUOTE_NULL, {"bid", "ask", "time"}),
        (Fault.TRADE_NULL, {"trade_price", "trade_time"}),
        (Fault.GREEKS_NULL, {"theta"}),
    ],
)
def test_a_part_that_is_null_is_unknown_and_the_others_stay(
    brokers: Brokers, fault: Fault, gone: set[str]
) -> None:
    whole = brokers.quote(CALL)
    brokers.paper.faults.arm(fault, count=2)
    struck = brokers.quote(CALL)
    names = QuoteReply.__dataclass_fields__
    assert {name for name in names if getattr(struck, name) != getattr(whole, name)} == gone
    assert {getattr(struck, name) for name in gone} == {None}
    assert brokers.paper.faults.fired[fault] == 2 and brokers.quote(CALL) == whole


def test_neither_a_quote_nor_a_trade_is_no_quote(brokers: Brokers) -> None:
    brokers.paper.faults.arm(Fault.QUOTE_NULL, count=2)
    brokers.paper.faults.arm(Fault.TRADE_NULL, count=2)
    for broker in brokers.both:
        with pytest.raises(NotFound, match="no quote"):
            broker.quote(CALL)
        with pytest.raises(NotFound, match="no quote"):
            broker.quote("NVDA260220C00999000")


def test_the_inbox_has_what_the_broker_says() -> None:
    desk = Desk()
    asked = FetchQuote(request_id="r1", instrument=CALL, underlying="NVDA")
    (record,) = desk.perform(asked)
    content = payload(record, "InboxQuote")
    assert content["trade_price"] == D("2.05") and content["trade_time"] < TEN
    desk.paper.faults.arm(Fault.QUOTE_NULL)
    (record,) = desk.perform(asked)
    content = payload(record, "InboxQuote")
    told = (content["error"], content["bid"], content["quote_time"], content["trade_price"])
    assert told == (None, None, None, D("2.05"))


# -- the trades of a synthetic market


class Busy(TinyMarket):
    """Prices of their time, and a volume that grows."""

    def __init__(self, volume: Callable[[int], int]) -> None:
        super().__init__()
        self.volume = volume

    def _contract(self, name: str, now: int) -> Any:
        cents = D(100 + now // SECOND % 50) / 100
        made = super()._contract(name, now)
        fields = {"volume": self.volume(now), "bid": cents, "ask": cents + D("0.10")}
        return type(made)(**(vars(made) | fields))


@pytest.mark.parametrize(("volume", "oldest_s"), [(3000, 13), (900, 43), (100, 323), (1, 5_123)])
def test_the_busier_a_contract_the_younger_its_last_trade(volume: int, oldest_s: int) -> None:
    market = Busy(lambda now: volume)
    ages = []
    for now in range(TEN, TEN + 90 * MINUTE, 7 * SECOND):
        trade = last_trade(market, market._contract(CALL, now), now)
        assert trade is not None and trade.time <= now
        then = market._contract(CALL, trade.time)
        assert then.bid <= trade.price <= then.ask, "a price of its own time, not of now"
        ages.append((now - trade.time) / SECOND)
    assert oldest_s / 2.5 < max(ages) <= oldest_s


def test_the_last_trade_never_goes_back_and_there_is_none_without_volume() -> None:
    market = Busy(lambda now: max(0, (now - TEN) // (10 * SECOND)))

    def trade(seconds: int) -> OptionTrade | None:
        now = TEN + seconds * SECOND
        return last_trade(market, market._contract(CALL, now), now)

    assert trade(5) is None
    found = [trade(seconds) for seconds in range(0, 20_000, 10)]
    times = [each.time for each in found if each is not None]
    assert times == sorted(times) and len(set(times)) > 50


def test_a_contract_that_nobody_bids_for_trades_at_what_is_asked_at_half() -> None:
    market = TinyMarket()
    market.price(CALL, None, "0.01")
    trade = last_trade(market, market._contract(CALL, TEN), TEN)
    assert trade is not None and trade.price == D("0.01")


def test_a_restored_exchange_knows_its_last_trades() -> None:
    paper = exchange()
    paper.submit(LARGE.number, order())
    paper.advance(TEN + MINUTE)
    paper.submit(LARGE.number, order("td1-b", symbol=PUT, limit_price="2.00"))
    again = exchange()
    again.restore({LARGE.number: paper.books[LARGE.number]}, paper.now)
    assert again.traded == paper.traded and set(again.traded) == {CALL, PUT}
    assert plain_book(again.books[LARGE.number]) == plain_book(paper.books[LARGE.number])
