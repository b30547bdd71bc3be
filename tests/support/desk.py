"""A dispatcher's core over the exchange in process, moved by hand."""

from collections.abc import Callable
from decimal import Decimal as D
from typing import Any

from tapedeck.connectors.broker import TradeUpdate
from tapedeck.connectors.clock import ManualClock
from tapedeck.connectors.dispatch.dispatcher import Dispatcher
from tapedeck.connectors.dispatch.lease import Lease, MemoryLeases
from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.inprocess import InProcessBroker
from tapedeck.schemas.codec import decode, encode
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import example_account
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.account.rules.orders import PositionIntent, Side
from tapedeck.streams.stages.account.rules.requests import Submit, body
from tests.support.paper import CALL, LARGE, SECOND, TEN, TINY, exchange

URL = "http://127.0.0.1:8765"
ACCOUNT = example_account("large", "large", URL)


class Uptime:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Desk:
    """A dispatcher over the exchange in process, with its clock, its lease and what the stream said."""

    def __init__(
        self, number: str = LARGE.number, base_url: str = URL, *, shorts: bool | None = None
    ) -> None:
        """``shorts``: a margin account at the exchange, and whether ours may use it."""
        account = ACCOUNT.model_copy(update={"allow_shorting": bool(shorts)})
        opened = [LARGE._replace(margin=shorts is not None), TINY]
        self.paper: PaperExchange = exchange(accounts=opened)
        self.clock = ManualClock(TEN)
        self.uptime = Uptime()
        self.lease = Lease(MemoryLeases(self.uptime), "large", "test", monotonic=self.uptime)
        self.lease.acquire()
        self.broker = InProcessBroker(self.paper, number, base_url)
        self.desk = Dispatcher(Config(), account, self.broker, self.clock, lease=self.lease, calendar=xnys())
        self.heard: list[dict[str, Any]] = []
        self.on_update: Callable[[TradeUpdate], None] = self._told
        self.broker.updates(self._hear)

    def _hear(self, update: TradeUpdate) -> None:
        self.on_update(update)

    def _told(self, update: TradeUpdate) -> None:
        told = self.desk.on_trade_update(update)
        assert told is not None, "it replaced an order that the desk never saw"
        self.heard.extend(told)

    def perform(self, request: Any) -> list[dict[str, Any]]:
        return self.desk.perform(request if isinstance(request, dict) else body(request))

    def move(self, seconds: int) -> None:
        self.clock.set(self.clock.now() + seconds * SECOND)
        self.paper.advance(self.clock.now())


def submit(client_order_id: str = "td1-a", **changes: Any) -> Submit:
    fields: dict[str, Any] = {
        "client_order_id": client_order_id,
        "instrument": CALL,
        "underlying": "NVDA",
        "side": Side.BUY,
        "intent": PositionIntent.BUY_TO_OPEN,
        "qty": D(2),
        "limit_price": D("2.10"),
    }
    return Submit(**(fields | changes))


def payload(record: dict[str, Any], kind: str) -> dict[str, Any]:
    """The content of an inbox record, after a round through the codec."""
    read = decode("account_inbox", encode("account_inbox", record))
    assert read["payload"][0] == f"tapedeck.{kind}"
    content: dict[str, Any] = read["payload"][1]
    return content
