"""Sizes Z1 to Z16 and ladder prices L1 to L6."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.streams.config.accounts import tier_defaults
from tapedeck.streams.config.groups import Order, Sizing
from tapedeck.streams.stages.account.rules.orders import Purpose, Side
from tapedeck.streams.stages.account.rules.pricing import ladder, round_down, tick_of
from tapedeck.streams.stages.account.rules.sizing import Size, SizeReason, size_option, size_stock

D = Decimal
SIZES = {
    "Z1": ("large", "option", "100000", "0.01", "2.50", "1", 4, "SIZE_OK"),
    "Z2": ("large", "option", "100000", "0.02", "2.50", "1", 8, "SIZE_OK"),
    "Z3": ("large", "option", "100000", "0.02", "1.50", "1", 10, "SIZE_CAPPED_CONTRACTS"),
    "Z4": ("large", "option", "100000", "0.01", "10.00", "1", 1, "SIZE_OK"),
    "Z5": ("large", "option", "100000", "0.01", "10.01", "1", 0, "SIZE_BELOW_ONE_UNIT"),
    "Z6": ("tiny", "option", "1000", "0.15", "1.50", "1", 1, "SIZE_OK"),
    "Z7": ("tiny", "option", "1000", "0.15", "1.51", "1", 0, "SIZE_BELOW_ONE_UNIT"),
    "Z8": ("tiny", "option", "1000", "0.08", "1.00", "1", 0, "SIZE_BELOW_ONE_UNIT"),
    "Z9": ("tiny", "option", "122", "0.15", "1.00", "1", 0, "SIZE_BELOW_ONE_UNIT"),
    "Z10": ("small", "option", "5000", "0.12", "1.40", "1", 3, "SIZE_CAPPED_CONTRACTS"),
    "Z11": ("large", "option", "100000", "0.01", "2.50", "0.5", 2, "SIZE_OK"),
    "Z12": ("large", "option", None, "0.01", "2.50", "1", 0, "SIZE_INPUT_MISSING"),
    "Z13": ("large", "stock", "100000", "0.01", "622.00", "1", 40, "SIZE_CAPPED_POSITION_PCT"),
    "Z14": ("tiny", "stock", "1000", "0.15", "622.00", "1", 0, "SIZE_BELOW_ONE_UNIT"),
    "Z15": ("tiny", "stock", "1000", "0.15", "50.00", "1", 5, "SIZE_CAPPED_POSITION_PCT"),
    "Z16": ("large", "stock", "100000", "0.002", "100.00", "1", 100, "SIZE_OK"),
}


def size(
    tier: str, kind: str, equity: Decimal | None, risk: Decimal, price: Decimal | None, regime: Decimal
) -> Size:
    if kind == "option":
        cap = tier_defaults(tier)["max_contracts"]
        return size_option(equity, risk, price, max_contracts=cap, regime_size=regime)
    rules = Sizing()
    return size_stock(equity, risk, price, stop=rules.stock_stop, cap=rules.stock_cap, regime_size=regime)


@pytest.mark.parametrize(
    ("tier", "kind", "equity", "risk", "worst", "regime", "quantity", "reason"), SIZES.values(), ids=SIZES
)
def test_size_vector(
    tier: str, kind: str, equity: str | None, risk: str, worst: str, regime: str, quantity: int, reason: str
) -> None:
    known = None if equity is None else D(equity)
    assert size(tier, kind, known, D(risk), D(worst), D(regime)) == (quantity, reason)


@pytest.mark.parametrize("kind", ["option", "stock"])
def test_an_unknown_price_or_regime_sizes_nothing(kind: str) -> None:
    missing = Size(0, SizeReason.SIZE_INPUT_MISSING)
    assert size("large", kind, D(100_000), D("0.01"), None, D(1)) == missing
    assert size("large", kind, D(100_000), D("0.01"), D(0), D(1)) == missing
    assert size("large", kind, D(100_000), D("0.01"), D(2), None) == missing  # type: ignore[arg-type]


def test_an_extreme_regime_sizes_nothing() -> None:
    assert size("large", "option", D(100_000), D("0.01"), D(2), D(0)).reason is SizeReason.SIZE_BELOW_ONE_UNIT


MONEY = st.decimals("0.01", "1000000", places=2)


@given(equity=MONEY, price=st.decimals("0.01", "500", places=2), risk=st.decimals("0.001", "0.2", places=3))
def test_the_premium_of_an_option_order_never_exceeds_the_risk(
    equity: Decimal, price: Decimal, risk: Decimal
) -> None:
    quantity, _ = size_option(equity, risk, price, max_contracts=10)
    assert 0 <= quantity <= 10
    assert quantity * price * 100 <= equity * risk


@given(equity=MONEY, price=st.decimals("0.01", "5000", places=2), risk=st.decimals("0.001", "0.2", places=3))
def test_a_stock_order_stays_within_risk_at_its_stop_and_a_quarter_of_equity(
    equity: Decimal, price: Decimal, risk: Decimal
) -> None:
    quantity, _ = size_stock(equity, risk, price, stop=D("0.02"), cap=D("0.25"))
    assert quantity * price * D("0.02") <= equity * risk
    assert quantity * price <= equity * D("0.25")


LADDERS = {
    "L1": ("2.00", "2.10", "BUY", ("2.07", "2.08", "2.09")),
    "L2": ("1.00", "1.01", "BUY", ("1.00", "1.00", "1.01")),
    "L3": ("4.90", "5.10", "BUY", ("5.05", "5.07", "5.10")),
    "L4": ("9.75", "10.25", "BUY", ("10.12", "10.18", "10.20")),
    "L5": ("2.00", "2.10", "SELL", ("2.02", "2.00", "2.00")),
    "L6": ("0.05", "0.15", "SELL", ("0.07", "0.05", "0.05")),
}


def limits_of(bid: Decimal, ask: Decimal, side: str) -> tuple[Decimal, ...]:
    """The two ladders of the rules: an opening buy's, a closing sell's."""
    purpose = Purpose.OPEN if side == "BUY" else Purpose.CLOSE
    return ladder(bid, ask, Side(side), purpose, Order())


@pytest.mark.parametrize(("bid", "ask", "side", "limits"), LADDERS.values(), ids=LADDERS)
def test_ladder_vector(bid: str, ask: str, side: str, limits: tuple[str, ...]) -> None:
    assert limits_of(D(bid), D(ask), side) == tuple(map(D, limits))


@pytest.mark.parametrize(
    ("side", "purpose", "limits"),
    [("BUY", "CLOSE", ("10.12", "10.25", "10.25")), ("SELL", "OPEN", ("9.87", "9.81", "9.80"))],
    ids=["a buy that closes", "a sell that opens"],
)
def test_the_other_two_mirror_them(side: str, purpose: str, limits: tuple[str, ...]) -> None:
    found = ladder(D("9.75"), D("10.25"), Side(side), Purpose(purpose), Order())
    assert found == tuple(map(D, limits))


def test_limits_fall_to_a_tick_that_is_given() -> None:
    found = ladder(D("2.00"), D("2.11"), Side.BUY, Purpose.OPEN, Order(), tick=D("0.05"))
    assert found == (D("2.05"), D("2.05"), D("2.05"))


@pytest.mark.parametrize(
    ("price", "stock", "rounded"),
    [
        ("0.99999", True, "0.9999"),
        ("0.99999", False, "0.99"),
        ("1.009", True, "1.00"),
        ("1.00", True, "1.00"),
    ],
)
def test_prices_fall_to_their_tick(price: str, stock: bool, rounded: str) -> None:
    assert round_down(D(price), tick_of(D(price), stock=stock)) == D(rounded)


@given(
    bid=st.decimals("0.05", "900", places=2),
    width=st.decimals("0", "5", places=2),
    side=st.sampled_from(["BUY", "SELL"]),
)
def test_a_ladder_walks_towards_the_other_side_and_not_past_it(
    bid: Decimal, width: Decimal, side: str
) -> None:
    ask = bid + width
    limits = limits_of(bid, ask, side)
    assert list(limits) == sorted(limits, reverse=side == "SELL")
    assert all(bid - D("0.01") < limit <= ask for limit in limits)
