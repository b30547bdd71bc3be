"""An account at the paper exchange in process, with everything that its stream said."""

from collections.abc import Callable
from decimal import Decimal as D
from typing import Any

from tapedeck.connectors.broker import BrokerError, NewOrder, Refused, TradeUpdate
from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.inprocess import InProcessBroker
from tapedeck.streams.stages.account.rules.orders import PositionIntent, Side
from tests.support.paper import CALL, LARGE, SECOND

NUMBER = LARGE.number


class Hands:
    """An account at an exchange, with what its stream said."""

    def __init__(self, paper: PaperExchange) -> None:
        self.paper = paper
        self.broker = InProcessBroker(paper, NUMBER, "http://127.0.0.1:1")
        self.heard: list[str] = []
        self.broker.updates(self._hear, self._health, lambda: self.heard.append("null"))

    def _hear(self, update: TradeUpdate) -> None:
        self.heard.append(update.event)

    def _health(self, healthy: bool, detail: str) -> None:
        self.heard.append("connected" if healthy else "cut")

    def buy(self, name: str = "a", **changes: Any) -> str:
        """Two calls, at the ask; what came of it."""
        fields: dict[str, Any] = {
            "client_order_id": name, "instrument": CALL, "side": Side.BUY,
            "intent": PositionIntent.BUY_TO_OPEN, "qty": D(2), "limit_price": D("2.10"),
        }  # fmt: skip
        return told(lambda: self.broker.submit(NewOrder(**(fields | changes))).raw_status)

    def rest(self) -> str:
        """A buy that nobody meets."""
        return self.buy(limit_price=D("1.00"))

    def sell(self, name: str = "s", limit: str | None = "2.00", **changes: Any) -> str:
        price = None if limit is None else D(limit)
        close = {"side": Side.SELL, "intent": PositionIntent.SELL_TO_CLOSE}
        return self.buy(name, **(close | {"limit_price": price} | changes))

    def cancel(self, name: str = "a") -> str:
        order = self.paper.books[NUMBER].by_client_id[name]
        return told(lambda: self.broker.cancel(order.id) or "asked")

    def state(self, name: str = "a") -> tuple[str, str]:
        """(status, filled quantity) at the exchange."""
        order = self.paper.books[NUMBER].by_client_id.get(name)
        return ("none", "0") if order is None else (order.status, f"{order.filled_qty:f}")

    def held(self) -> dict[str, int]:
        return {each.instrument: int(each.qty) for each in self.broker.positions()}

    def move(self, seconds: float) -> None:
        self.paper.advance(self.paper.now + round(seconds * SECOND))


def told(call: Callable[[], Any]) -> str:
    """The answer of a call, or the name of its error with the broker's words."""
    try:
        return str(call())
    except Refused as refused:
        return f"{refused.status} {refused.code}: {refused.message}"
    except BrokerError as error:
        return type(error).__name__
