"""One account of the paper exchange with its money and orders."""

from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import NamedTuple

from tapedeck.connectors.paper.ledger import Ledger
from tapedeck.connectors.paper.orders import Activity, Execution, Order

TIER_CASH = {"tiny": 5_000, "small": 15_000, "medium": 50_000, "large": 100_000}
"""Starting cash of a paper account, USD, by tier."""

OPENING = ("bracket", "oto")
"""Order classes whose parent opens what the legs close."""


class PaperAccount(NamedTuple):
    """An account to open: its number, the credentials that reach it, and its starting cash.

    ``margin``: it may sell short and borrow, see ``margin``; a cash account may not.
    """

    number: str
    key: str
    secret: str
    cash: Decimal
    status: str = "ACTIVE"
    margin: bool = False

    def __repr__(self) -> str:
        return f"PaperAccount({self.number}, cash={self.cash})"


@dataclass
class Book:
    """Orders by both ids, executions and activities in the order they happened, and the resulting ledger."""

    account: PaperAccount
    ledger: Ledger
    orders: dict[str, Order] = field(default_factory=dict)
    by_client_id: dict[str, Order] = field(default_factory=dict)
    executions: list[Execution] = field(default_factory=list)
    activities: list[Activity] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._open: list[Order] = []
        self._places: dict[str, int] = {}
        self._seen = 0

    def working(self) -> list[Order]:
        """The orders that are open, oldest first. One that has ended is not looked at again."""
        if len(self.orders) > self._seen:
            fresh = list(islice(self.orders.values(), self._seen, None))
            self._places |= {order.id: at for at, order in enumerate(fresh, self._seen)}
            self._open += fresh
            self._seen = len(self.orders)
        self._open = [order for order in self._open if order.is_open]
        return self._open.copy()

    def families(self) -> list[Order]:
        """The open orders, newest first, and the parents of the open ones among them."""
        found = {order.id: order for order in self.working()}
        for order in list(found.values()):
            if order.parent is not None:
                found[order.parent] = self.orders[order.parent]
        return sorted(found.values(), key=lambda order: self._places[order.id], reverse=True)

    def reserved(self, symbol: str) -> Decimal:
        """What working orders that close hold of a position. The two orders of a pair hold it once."""
        held: dict[str, Decimal] = {}
        for order in self.working():
            if not order.opens and order.listing.symbol == symbol and not self.waits(order):
                pair = order.parent or order.id
                held[pair] = max(held.get(pair, order.remaining), order.remaining)
        return sum(held.values(), Decimal(0))

    def waits(self, order: Order) -> bool:
        """Whether an order is a leg whose parent is not filled yet: it holds nothing."""
        parent = None if order.parent is None else self.orders[order.parent]
        return parent is not None and parent.order_class in OPENING and parent.status != "filled"
