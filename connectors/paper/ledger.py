"""Cash and positions of one paper account: the fold of its executions."""

from dataclasses import dataclass
from decimal import Decimal

from tapedeck.connectors.paper.market import Listing
from tapedeck.connectors.paper.orders import Execution
from tapedeck.streams.rules.orders import Side

ZERO = Decimal(0)


@dataclass
class Position:
    """A holding. ``cost`` is what the open quantity cost, fees aside; quantities are never negative."""

    listing: Listing
    qty: Decimal
    cost: Decimal

    @property
    def average(self) -> Decimal:
        """Price per share of what is held."""
        return self.cost / self.qty / self.listing.multiplier


class Ledger:
    """Starts with cash; every execution moves cash and one position. Averages stay on partial sells."""

    def __init__(self, cash: Decimal) -> None:
        self.cash = cash
        self.positions: dict[str, Position] = {}

    def apply(self, listing: Listing, fill: Execution) -> None:
        """Fold one execution. Buys add at cost, sells reduce at average cost."""
        notional = fill.qty * fill.price * listing.multiplier
        held = self.positions.get(listing.symbol)
        if fill.side is Side.BUY:
            self.cash -= notional + fill.fee
            if held is None:
                self.positions[listing.symbol] = Position(listing, fill.qty, notional)
            else:
                held.qty += fill.qty
                held.cost += notional
            return
        if held is None or held.qty < fill.qty:
            raise ValueError(f"a sell of {fill.qty} {listing.symbol} was filled without as much to sell")
        self.cash += notional - fill.fee
        held.cost -= held.cost * fill.qty / held.qty
        held.qty -= fill.qty
        if not held.qty:
            del self.positions[listing.symbol]

    def qty(self, symbol: str) -> Decimal:
        held = self.positions.get(symbol)
        return held.qty if held else ZERO
