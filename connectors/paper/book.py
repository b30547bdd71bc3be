"""One account of the paper exchange with its money and orders."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from tapedeck.connectors.paper.ledger import Ledger
from tapedeck.connectors.paper.orders import Activity, Execution, Order
from tapedeck.streams.stages.account.rules.orders import Side

TIER_CASH = {"tiny": 5_000, "small": 15_000, "medium": 50_000, "large": 100_000}
"""Starting cash of a paper account, USD, by tier."""


class PaperAccount(NamedTuple):
    """An account to open: its number, the credentials that reach it, and its starting cash."""

    number: str
    key: str
    secret: str
    cash: Decimal
    status: str = "ACTIVE"

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

    def working(self) -> list[Order]:
        return [order for order in self.orders.values() if order.is_open]

    def reserved(self, symbol: str) -> Decimal:
        """What working sells hold of a position."""
        sells = (order for order in self.working() if order.side is Side.SELL)
        return sum((order.remaining for order in sells if order.listing.symbol == symbol), Decimal(0))
