"""The tunables, one frozen model per group. Names and defaults are the domain's parameter table."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Money = Annotated[Decimal, Field(ge=0)]

DEFAULT_SYMBOLS = (
    "NVDA AMD META GOOGL AVGO CRM MSFT QCOM NOW ORCL JPM UNH LLY XOM CVX PFE BAC WMT PG HD CAT DE GS RTX HON "
    "MRK BMY MMM"
).split()


class Group(BaseModel):
    """Base of all groups: frozen, typed, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Universe(Group):
    symbols: tuple[str, ...] = tuple(DEFAULT_SYMBOLS)
    target_size: Positive = 28
    min_valid: Positive = 20
    min_price: Money = Decimal(20)


class Bars(Group):
    feed: str = "iex"
    grace_s: PositiveFloat = 3.0
    rollback_min: Annotated[int, Field(ge=1, le=16)] = 16
    max_return_gap_min: Positive = 5
    split_low: PositiveFloat = 0.6
    split_high: PositiveFloat = 1.7


class Feature(Group):
    extended_hours: bool = False
    ready_bars: Positive = 50
    sma_short: Positive = 20
    sma_long: Positive = 50
    recent: Positive = 30
    baseline: Annotated[int, Field(gt=1, le=120)] = 120
    min_return_share: Fraction = 2 / 3
    volume_window: Positive = 20
    surge: PositiveFloat = 2.0
    rsi: Positive = 14
    macd_fast: Positive = 12
    macd_slow: Positive = 26
    macd_signal: Positive = 9
    bollinger: Positive = 20
    bollinger_width: PositiveFloat = 2.0
    atr: Positive = 14
    momentum_short: Positive = 5
    momentum_long: Positive = 15
    opening_range_min: Positive = 30

    @model_validator(mode="after")
    def _consistent(self) -> "Feature":
        if self.sma_short >= self.sma_long:
            raise ValueError("sma_short must be smaller than sma_long")
        if self.macd_fast >= self.macd_slow:
            raise ValueError("macd_fast must be smaller than macd_slow")
        longest = max(
            self.sma_long, self.recent, self.volume_window + 1, self.bollinger, self.momentum_long + 1
        )
        if longest > 120:
            raise ValueError("no window may be longer than the ring's 120 bars")
        return self


class Watchlist(Group):
    period_s: Annotated[int, Field(ge=60, multiple_of=60)] = 300
    enter: Fraction = 0.6
    exit: Fraction = 0.3
    below_min: Positive = 15
    retention_min: Positive = 30
    cap: Positive = 30
    fresh_s: Positive = 300
    backfill_enabled: bool = True
    backfill_to: Positive = 10
    backfill_min: Fraction = 0.3
    weight_sentiment: Fraction = 0.35
    weight_setup: Fraction = 0.25
    weight_vol: Fraction = 0.20
    weight_trend: Fraction = 0.20
    full_count: Positive = 5

    @model_validator(mode="after")
    def _consistent(self) -> "Watchlist":
        if self.exit >= self.enter:
            raise ValueError("exit must be smaller than enter")
        return self


class Signal(Group):
    at_band: Fraction = 0.005
    stretch: Fraction = 0.02
    breakout: Fraction = 0.01
    day_min: Fraction = 0.65
    day_slope: Fraction = 0.25
    day_cap: Fraction = 0.75
    swing_min: Fraction = 0.50
    stock_min: Fraction = 0.40
    max_vol_ratio: PositiveFloat = 1.3
    day_min_volume: PositiveFloat = 2.0
    cooldown_min: Positive = 15
    max_bar_age_s: Positive = 60
    full_count: Positive = 5
    volume_steps: tuple[float, ...] = (0.5, 1.5, 2.0, 3.0, 5.0)
    volume_factors: tuple[float, ...] = (0.3, 0.8, 1.15, 1.25, 1.35)


class GapFade(Group):
    enabled: bool = False
    min_gap: Fraction = 0.008
    min_prev: Fraction = 0.005
    confidence: Fraction = 0.70
    from_min: Positive = 5
    to_min: Positive = 60


class Contract(Group):
    strike_range: Money = Decimal("0.10")
    day_otm: Money = Decimal("0.015")
    day_dte: tuple[int, int] = (0, 1)
    swing_dte: tuple[int, int] = (7, 30)
    max_spread: Money = Decimal("0.05")
    min_mid: Money = Decimal("1.00")
    min_volume: Positive = 500
    min_open_interest: Positive = 100
    allow_unknown_oi: bool = False
    min_quality: float = 70.0


class Gate(Group):
    signal_s: Positive = 300
    bar_s: Positive = 180
    feature_s: Positive = 300
    skew_s: Positive = 2
    opening_blackout_min: Positive = 5
    quote_s: Positive = 15
    max_spread_option: Money = Decimal("0.05")
    max_spread_stock: Money = Decimal("0.005")
    max_drift: Money = Decimal("0.005")
    identity_s: Positive = 600
    expiry_cutoff_min: Positive = 60


class Regime(Group):
    enabled: Literal[False] = False
    max_age_s: Positive = 900
    bounds: tuple[float, ...] = (12.0, 20.0, 30.0, 40.0)
    size: tuple[Decimal, ...] = (Decimal("0.8"), Decimal(1), Decimal("0.5"), Decimal("0.25"), Decimal(0))
    confidence: tuple[float, ...] = (0.9, 1.0, 0.8, 0.6, 0.0)


class Dispatch(Group):
    collect_ms: Positive = 100


class Sizing(Group):
    equity_s: Positive = 60
    stock_stop: Money = Decimal("0.02")
    stock_cap: Money = Decimal("0.25")


class Order(Group):
    open_steps: tuple[Decimal, ...] = (Decimal("0.50"), Decimal("0.75"), Decimal("1.00"))
    close_steps: tuple[Decimal, ...] = (Decimal("0.50"), Decimal("1.00"), Decimal("1.00"))
    max_offset: Money = Decimal("0.02")
    doubt_s: tuple[int, ...] = (1, 4, 10, 30)


class Recon(Group):
    grace_s: Positive = 30
