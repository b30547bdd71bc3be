"""The tunables, one frozen model per group. Names and defaults are the domain's parameter table."""

from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Days = Annotated[int, Field(ge=0, le=366)]
Money = Annotated[Decimal, Field(ge=0, decimal_places=6)]
Symbol = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9.\-]{0,9}$")]
Share = Annotated[Decimal, Field(ge=0, le=1, decimal_places=6)]

RING_BARS = 120
DEFAULT_SYMBOLS = [
    *(
        "NVDA",
        "AMD",
        "META",
        "GOOGL",
        "AVGO",
        "CRM",
        "MSFT",
        "QCOM",
        "NOW",
        "ORCL",
        "JPM",
        "UNH",
        "LLY",
        "XOM",
    ),
    *("CVX", "PFE", "BAC", "WMT", "PG", "HD", "CAT", "DE", "GS", "RTX", "HON", "MRK", "BMY", "MMM"),
]


def refuse(broken: bool, rule: str) -> None:
    """Say which rule a pair of keys breaks."""
    if broken:
        raise ValueError(rule)


def rising(values: tuple[Any, ...]) -> bool:
    """Whether each value is larger than the one before."""
    return all(low < high for low, high in pairwise(values))


class Group(BaseModel):
    """Base of all groups: frozen, typed, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Universe(Group):
    symbols: tuple[Symbol, ...] = tuple(DEFAULT_SYMBOLS)

    @model_validator(mode="after")
    def _consistent(self) -> "Universe":
        twice = sorted({symbol for symbol in self.symbols if self.symbols.count(symbol) > 1})
        refuse(bool(twice), f"symbols stand twice: {', '.join(twice)}")
        return self


class Bars(Group):
    feed: Annotated[str, Field(min_length=1)] = "iex"
    rollback_min: Annotated[int, Field(ge=1, le=16)] = 16
    max_return_gap_min: Positive = 5
    split_low: PositiveFloat = 0.6
    split_high: PositiveFloat = 1.7

    @model_validator(mode="after")
    def _consistent(self) -> "Bars":
        refuse(not self.split_low < 1 < self.split_high, "split_low must be below 1 and split_high above 1")
        return self


class Feature(Group):
    extended_hours: bool = False
    ready_bars: Positive = 50
    sma_short: Positive = 20
    sma_long: Positive = 50
    recent: Positive = 30
    baseline: Annotated[int, Field(gt=1, le=RING_BARS)] = RING_BARS
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
        refuse(self.sma_short >= self.sma_long, "sma_short must be smaller than sma_long")
        refuse(self.macd_fast >= self.macd_slow, "macd_fast must be smaller than macd_slow")
        refuse(self.momentum_short >= self.momentum_long, "momentum_short must be smaller than momentum_long")
        refuse(self.recent >= self.baseline, "recent must be smaller than baseline")
        longest = max(
            self.ready_bars,
            self.sma_long,
            self.volume_window + 1,
            self.bollinger,
            self.momentum_long + 1,
            self.opening_range_min,
        )
        refuse(longest > RING_BARS, f"no window may be longer than the ring's {RING_BARS} bars")
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
        refuse(self.exit >= self.enter, "exit must be smaller than enter")
        refuse(self.backfill_min > self.enter, "backfill_min must not be larger than enter")
        weights = self.weight_sentiment + self.weight_setup + self.weight_vol + self.weight_trend
        refuse(abs(weights - 1) > 1e-9, f"the four weights must add up to 1, not {weights:g}")
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

    @model_validator(mode="after")
    def _consistent(self) -> "Signal":
        refuse(
            len(self.volume_steps) != len(self.volume_factors),
            f"volume_factors must have one value per step of volume_steps ({len(self.volume_steps)}), "
            f"not {len(self.volume_factors)}",
        )
        refuse(not rising(self.volume_steps), "volume_steps must rise")
        refuse(self.day_cap < self.day_min, "day_cap must not be smaller than day_min")
        refuse(self.at_band > self.stretch, "at_band must not be larger than stretch")
        return self


class GapFade(Group):
    enabled: bool = False
    min_gap: Fraction = 0.008
    min_prev: Fraction = 0.005
    confidence: Fraction = 0.70
    from_min: Positive = 5
    to_min: Positive = 60

    @model_validator(mode="after")
    def _consistent(self) -> "GapFade":
        refuse(self.from_min >= self.to_min, "from_min must be smaller than to_min")
        return self


class Contract(Group):
    strike_range: Share = Decimal("0.10")
    day_otm: Share = Decimal("0.015")
    day_dte: tuple[Days, Days] = (0, 1)
    swing_dte: tuple[Days, Days] = (7, 30)
    max_spread: Share = Decimal("0.05")
    min_mid: Money = Decimal("1.00")
    min_volume: Positive = 500
    min_open_interest: Positive = 100
    allow_unknown_oi: bool = False
    min_quality: Annotated[float, Field(ge=0, le=100)] = 70.0

    @model_validator(mode="after")
    def _consistent(self) -> "Contract":
        for name in ("day_dte", "swing_dte"):
            first, last = getattr(self, name)
            refuse(first > last, f"{name} must be [fewest days, most days]")
        refuse(self.day_otm > self.strike_range, "day_otm must not be larger than strike_range")
        return self


class Gate(Group):
    signal_s: Positive = 300
    bar_s: Positive = 180
    feature_s: Positive = 300
    skew_s: Positive = 2
    opening_blackout_min: Positive = 5
    quote_s: Positive = 15
    max_spread_option: Share = Decimal("0.05")
    max_spread_stock: Share = Decimal("0.005")
    max_drift: Share = Decimal("0.005")
    identity_s: Positive = 600
    expiry_cutoff_min: Positive = 60


class Regime(Group):
    enabled: Literal[False] = False
    max_age_s: Positive = 900
    bounds: tuple[float, ...] = (12.0, 20.0, 30.0, 40.0)
    size: tuple[Share, ...] = (Decimal("0.8"), Decimal(1), Decimal("0.5"), Decimal("0.25"), Decimal(0))
    confidence: tuple[Fraction, ...] = (0.9, 1.0, 0.8, 0.6, 0.0)

    @model_validator(mode="after")
    def _consistent(self) -> "Regime":
        wanted = len(self.bounds) + 1
        for name in ("size", "confidence"):
            found = len(getattr(self, name))
            refuse(found != wanted, f"{name} must have one value more than bounds ({wanted}), not {found}")
        refuse(not rising(self.bounds), "bounds must rise")
        return self


class Sizing(Group):
    equity_s: Positive = 60
    stock_stop: Annotated[Share, Field(gt=0)] = Decimal("0.02")
    stock_cap: Share = Decimal("0.25")


class Order(Group):
    open_steps: tuple[Share, ...] = (Decimal("0.50"), Decimal("0.75"), Decimal("1.00"))
    close_steps: tuple[Share, ...] = (Decimal("0.50"), Decimal("1.00"), Decimal("1.00"))
    max_offset: Share = Decimal("0.02")
    doubt_s: tuple[Positive, ...] = (1, 4, 10, 30)

    @model_validator(mode="after")
    def _consistent(self) -> "Order":
        for name in ("open_steps", "close_steps", "doubt_s"):
            steps = getattr(self, name)
            refuse(not steps, f"{name} must not be empty")
            refuse(list(steps) != sorted(steps), f"{name} must not fall")
        return self
