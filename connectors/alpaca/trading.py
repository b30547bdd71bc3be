"""A Broker over alpaca-py: one call is one request, and every outcome has a name.

A repeated or endless request is prevented in ``rest``. Credentials that were replaced are used from the next
call on. A call that was refused for its credentials did nothing, so it is sent once more if there are others.
"""

import time
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

import requests
from alpaca.data.enums import DataFeed, OptionsFeed
from alpaca.data.historical import OptionHistoricalDataClient, StockHistoricalDataClient
from alpaca.data.requests import OptionChainRequest, OptionSnapshotRequest, StockLatestQuoteRequest
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import ContractType, OrderSide, QueryOrderStatus, TimeInForce
from alpaca.trading.enums import PositionIntent as AlpacaIntent
from alpaca.trading.requests import (
    GetCalendarRequest,
    GetOptionContractsRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
)

from tapedeck.connectors.alpaca import chains, option_events, replies
from tapedeck.connectors.alpaca.market.endpoints import DATA_URL
from tapedeck.connectors.alpaca.rest import asked, bounded
from tapedeck.connectors.alpaca.signed import REFUSALS, Signature
from tapedeck.connectors.broker import (
    AccountReply,
    ActivityReply,
    ChainQuery,
    ChainReply,
    ClockReply,
    FillReply,
    NewOrder,
    NotFound,
    OrderReply,
    PositionReply,
    QuoteReply,
    Refused,
    Rows,
    SessionReply,
)
from tapedeck.connectors.credentials import Credentials, Keys
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.accounts import EMBEDDED, INDICATIVE, Mode, is_listed, is_loopback, listed
from tapedeck.streams.sessions import iso_date
from tapedeck.streams.stages.account.rules import occ
from tapedeck.streams.stages.account.rules.orders import PositionIntent, Side

T = TypeVar("T")

_PAGE = 100
_CONTRACTS_PAGE = 10_000
_INTENTS = {
    (Side.BUY, PositionIntent.BUY_TO_OPEN): AlpacaIntent.BUY_TO_OPEN,
    (Side.SELL, PositionIntent.SELL_TO_CLOSE): AlpacaIntent.SELL_TO_CLOSE,
    (Side.SELL, PositionIntent.SELL): AlpacaIntent.SELL_TO_OPEN,
    (Side.BUY, PositionIntent.BUY): AlpacaIntent.BUY_TO_CLOSE,
}
"""What may be sent. Only stock is opened by selling; whatever is short is closed by buying."""


def require_listed(url: str, mode: Mode = Mode.PAPER) -> None:
    """Refuse to trade anywhere except where an account of ``mode`` may. Raises Fatal."""
    if url == EMBEDDED or not is_listed(mode, url):
        raise Fatal(
            f"orders of an account in mode {mode} are not sent there",
            value=url,
            remedy=f"set the account's base_url to {listed(mode)}",
        )


def position_intent(order: NewOrder) -> AlpacaIntent:
    """What the order may do at the broker. Raises Refused for an option that would be opened by selling."""
    intent = _INTENTS.get((order.side, order.intent))
    if intent is None or (intent is AlpacaIntent.SELL_TO_OPEN and is_option(order.instrument)):
        words = f"{order.side} {order.intent} of {order.instrument} is not an order that exists here"
        raise Refused(words, status=422)
    return intent


def is_option(instrument: str) -> bool:
    """True for an option contract's symbol."""
    try:
        occ.parse(instrument)
    except occ.OccError:
        return False
    return True


class AlpacaBroker:
    """One account behind one pair of credentials. Blocking; one instance per thread.

    ``known_as``: the name of this address in the configuration, if it is not the URL itself. On this machine
    market data comes from the same server; at Alpaca it has a host of its own. Raises Fatal for an address
    that ``mode`` may not have.
    """

    def __init__(
        self,
        base_url: str,
        credentials: Credentials | Keys,
        *,
        known_as: str | None = None,
        mode: Mode = Mode.PAPER,
        stock_feed: str = "iex",
        option_feed: str = INDICATIVE,
    ) -> None:
        require_listed(base_url, mode)
        if mode is Mode.LIVE and option_feed == INDICATIVE:
            remedy = "set the account's option_feed to opra"
            raise Fatal("LIVE trades on real option quotes only", value=option_feed, remedy=remedy)
        self.base_url = known_as or base_url
        self._stock_feed, self._option_feed = DataFeed(stock_feed), OptionsFeed(option_feed)
        self._sends = mode is not Mode.SHADOW
        self._signature = Signature(credentials)
        data_url = base_url if is_loopback(base_url) else DATA_URL
        # The clients demand credentials when they are made; the signature replaces them in every request.
        keys: dict[str, Any] = {"api_key": "signed", "secret_key": "signed", "raw_data": True}
        self._trading = TradingClient(url_override=base_url, **keys)
        self._stocks = StockHistoricalDataClient(url_override=data_url, **keys)
        self._options = OptionHistoricalDataClient(url_override=data_url, **keys)
        self.answered: float | None = None
        """When a call last succeeded, on the monotonic clock; None if none has."""
        for client in (self._trading, self._stocks, self._options):
            bounded(client, base_url)
            client._session.auth = self._signature
            client._session.hooks["response"].append(self._note)

    def __repr__(self) -> str:
        return f"AlpacaBroker({self.base_url})"

    def _note(self, response: requests.Response, **_: object) -> None:
        if response.ok:
            self.answered = time.monotonic()

    def _asked(self, parse: Callable[[Any], T], call: Callable[..., Any], *args: Any) -> T:
        """As ``asked``, with the newest credentials, once they are known to reach the same account."""
        self._signature.renew()
        try:
            return self._signed(parse, call, *args)
        except Refused as error:
            if error.status not in REFUSALS or not self._signature.renew(refused=True):
                raise
        return self._signed(parse, call, *args)

    def _signed(self, parse: Callable[[Any], T], call: Callable[..., Any], *args: Any) -> T:
        if self._signature.strange and call != self._trading.get_account:
            self._signature.demand_same(asked(replies.account, self._trading.get_account).number)
        return asked(parse, call, *args)

    def account(self) -> AccountReply:
        reply = self._asked(replies.account, self._trading.get_account)
        self._signature.reaches(reply.number)
        return reply

    def clock(self) -> ClockReply:
        return self._asked(replies.clock, self._trading.get_clock)

    def calendar(self, first: int, last: int) -> list[SessionReply]:
        wanted = GetCalendarRequest(start=iso_date(first), end=iso_date(last))
        return self._asked(lambda raw: list(map(replies.session, raw)), self._trading.get_calendar, wanted)

    def positions(self) -> Rows[PositionReply]:
        read = partial(replies.rows, "positions", replies.position)
        return self._asked(read, self._trading.get_all_positions)

    def open_orders(self) -> Rows[OrderReply]:
        wanted = GetOrdersRequest(status=QueryOrderStatus.OPEN, limit=500, nested=True)
        return self._asked(replies.open_orders, self._trading.get_orders, wanted)

    def quote(self, instrument: str) -> QuoteReply:
        reply: QuoteReply | None = None
        if is_option(instrument):
            option = OptionSnapshotRequest(symbol_or_symbols=instrument, feed=self._option_feed)
            found = self._asked(dict, self._options.get_option_snapshot, option)
            read, feed = replies.option_quote, self._option_feed.value
        else:
            stock = StockLatestQuoteRequest(symbol_or_symbols=instrument, feed=self._stock_feed)
            found = self._asked(dict, self._stocks.get_stock_latest_quote, stock)
            read, feed = replies.quote, self._stock_feed.value
        if found.get(instrument) is not None:
            reply = asked(lambda raw: read(instrument, raw, feed), found.__getitem__, instrument)
        if reply is None:
            raise NotFound("the broker has no quote", value=instrument)
        return reply

    def chain(self, query: ChainQuery) -> ChainReply:
        wanted = OptionChainRequest(
            underlying_symbol=query.underlying,
            feed=self._option_feed,
            type=_contract_type(query),
            strike_price_gte=float(query.strike_from),
            strike_price_lte=float(query.strike_to),
            expiration_date_gte=iso_date(query.expiry_from),
            expiration_date_lte=iso_date(query.expiry_to),
        )
        contracts, feed = self._listed(query), self._option_feed.value
        snapshots = self._asked(dict, self._options.get_option_chain, wanted)
        return asked(lambda raw: replies.chain(query, contracts, raw, feed), lambda: snapshots)

    def submit(self, order: NewOrder) -> OrderReply:
        if not self._sends:
            raise Refused("a SHADOW account sends nothing", status=422)
        intent = position_intent(order)
        fields: dict[str, Any] = {
            "symbol": order.instrument,
            "qty": _whole(order.qty),
            "side": OrderSide(order.side.value.lower()),
            "time_in_force": TimeInForce(order.time_in_force),
            "client_order_id": order.client_order_id,
            "position_intent": intent,
        }
        if order.limit_price is None:
            return self._asked(replies.order, self._trading.submit_order, MarketOrderRequest(**fields))
        limited = LimitOrderRequest(limit_price=float(order.limit_price), **fields)
        return self._asked(replies.order, self._trading.submit_order, limited)

    def cancel(self, broker_order_id: str) -> None:
        self._asked(lambda _: None, self._trading.cancel_order_by_id, broker_order_id)

    def cancel_instrument(self, instrument: str) -> int:
        return chains.cancel_each(self.open_orders(), instrument, self.cancel)

    def order(self, broker_order_id: str) -> OrderReply:
        return chains.rooted(self._order(broker_order_id), self._order)

    def order_by_client_id(self, client_order_id: str) -> OrderReply:
        found = self._asked(replies.order, self._trading.get_order_by_client_id, client_order_id)
        return chains.followed(found, self._order)

    def _order(self, broker_order_id: str) -> OrderReply:
        return self._asked(replies.order, self._trading.get_order_by_id, broker_order_id)

    def activities(self, after: int) -> Rows[FillReply]:
        fills = replies.rows("activities", replies.fill, self._activities("/account/activities/FILL", after))
        return Rows((fill for fill in fills if fill.executed_at >= after), fills.unread)

    def option_events(self, after: int) -> Rows[ActivityReply]:
        kinds = ",".join(option_events.KINDS)
        return option_events.read(self._activities("/account/activities", after, activity_types=kinds))

    def _activities(self, path: str, after: int, **wanted: str) -> list[Any]:
        """Every page of the account's activities, oldest first."""
        # `after` excludes its own moment at Alpaca: ask from a second before, and filter.
        query: dict[str, Any] = {
            "after": replies.iso(after - 1_000_000),
            "direction": "asc",
            "page_size": _PAGE,
            **wanted,
        }
        found: list[Any] = []
        while True:
            page = self._asked(list, self._trading.get, path, query)
            found += page
            if len(page) < _PAGE:
                return found
            query["page_token"] = asked(lambda rows: rows[-1]["id"], lambda page=page: page)

    def _listed(self, query: ChainQuery) -> list[replies.Json]:
        """Every page of the contracts that ``query`` asks for."""
        found: list[replies.Json] = []
        token: str | None = None
        while True:
            wanted = GetOptionContractsRequest(
                underlying_symbols=[query.underlying],
                type=_contract_type(query),
                expiration_date_gte=iso_date(query.expiry_from),
                expiration_date_lte=iso_date(query.expiry_to),
                strike_price_gte=f"{query.strike_from:f}",
                strike_price_lte=f"{query.strike_to:f}",
                limit=_CONTRACTS_PAGE,
                page_token=token,
            )
            page = self._asked(dict, self._trading.get_option_contracts, wanted)
            found += page.get("option_contracts") or []
            token = page.get("next_page_token")
            if not token:
                return found


def _contract_type(query: ChainQuery) -> ContractType | None:
    return None if query.right is None else ContractType(query.right.value.lower())


def _whole(qty: Decimal) -> float:
    """Quantities are whole here. alpaca-py passes them as floats, which are exact for whole numbers."""
    if qty != qty.to_integral_value() or qty <= 0:
        raise Refused(f"quantity {qty} is not a positive whole number", status=422)
    return float(qty)
