"""Cash and positions of one paper account, folded from its executions."""

from dataclasses import dataclass, field
from decimal import Decimal

from tapedeck.connectors.paper.market import Listing
from tapedeck.connectors.paper.orders import Execution
from tapedeck.streams.stages.account.rules.orders import Side

ZERO = Decimal(0)


@dataclass
class Position:
    """A holding. ``cost`` is what the open quantity cost, fees aside; both are negative for a short."""

    listing: Listing
    qty: Decimal
    cost: Decimal

    @property
    def average(self) -> Decimal:
        """Price per share of what is held."""
        return self.cost / self.qty / self.listing.multiplier


@dataclass
class Ledger:
    """Starts with cash; every execution moves cash and one position. Partial sells keep the average."""

    cash: Decimal
    positions: dict[str, Position] = field(default_factory=dict)

    def apply(self, listing: Listing, fill: Execution, *, short: bool = False) -> None:
        """Fold one execution of an order. Only one that opens a ``short`` sells more than is held.

        ``move`` may always.
        """
        if fill.side is Side.SELL and not short and self.qty(listing.symbol) < fill.qty:
            raise ValueError(f"a sell of {fill.qty} {listing.symbol} was filled without as much to sell")
        self.cash -= fill.fee
        self.move(listing, fill.qty if fill.side is Side.BUY else -fill.qty, fill.price)

    def move(self, listing: Listing, qty: Decimal, price: Decimal) -> None:
        """Change a position by signed ``qty`` at ``price`` per share, and the cash with it.

        Additions enter at cost, reductions leave at average cost; the part beyond zero opens a new position.
        """
        self.cash -= qty * price * listing.multiplier
        held = self.positions.setdefault(listing.symbol, Position(listing, ZERO, ZERO))
        if held.qty * qty < 0:
            closed = min(abs(qty), abs(held.qty)).copy_sign(qty)
            held.cost += held.cost * closed / abs(held.qty) * (1 if held.qty > 0 else -1)
            held.qty += closed
            qty -= closed
        held.qty += qty
        held.cost += qty * price * listing.multiplier
        if not held.qty:
            del self.positions[listing.symbol]

    def qty(self, symbol: str) -> Decimal:
        held = self.positions.get(symbol)
        return held.qty if held else ZERO
