"""What an opening is asked again before each further order: quote age, spread and drift."""

from decimal import Decimal

from tapedeck.streams.config.accounts import Action
from tapedeck.streams.stages.account.order_state import Parent, Quoted
from tapedeck.streams.stages.account.rules.gate_reasons import GateReason
from tapedeck.streams.stages.account.rules.gate_types import GateInputs, Priced, Test
from tapedeck.streams.stages.account.rules.gates_price import price_drift, quote_age, quoted_spread
from tapedeck.streams.stages.account.rules.money import mid, usable
from tapedeck.streams.stages.account.rules.orders import OrderReason
from tapedeck.streams.stages.account.rules.positions import Kind
from tapedeck.streams.stages.account.turn import Turn

_ASKED: tuple[tuple[Test, OrderReason], ...] = (
    (quote_age, OrderReason.CANCELLED_STALE_QUOTE),
    (quoted_spread, OrderReason.CANCELLED_SPREAD),
    (price_drift, OrderReason.CANCELLED_DRIFT),
)


def recheck(turn: Turn, parent: Parent) -> OrderReason | None:
    """Why no further order of an opening may follow; None if all holds. ``parent`` has its new quotes."""
    quote = parent.quotes.get("instrument")
    of_stock = quote if parent.kind is Kind.STOCK else parent.quotes.get("underlying")
    inputs = GateInputs(
        now=turn.now,
        action=Action.BUY_STOCK,  # not read by these gates
        kind=parent.kind,
        quote=Priced(quote.bid, quote.ask, quote.quote_time) if quote else None,
        signal_close=parent.reference,
        underlying_price=_mid(of_stock),
    )
    for test, reason in _ASKED:
        if test(inputs, turn.rules).reason is not GateReason.OK:
            return reason
    return None


def _mid(quote: Quoted | None) -> Decimal | None:
    if quote is None or quote.bid is None or quote.ask is None or not usable(quote.bid, quote.ask):
        return None
    return mid(quote.bid, quote.ask)
