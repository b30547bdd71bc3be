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
SYMBOL = r"^[A-Z][A-Z0-9.\-]{0,9}$"
Symbol = Annotated[str, Field(pattern=SYMBOL)]
Share = Annotated[Decimal, Field(ge=0, le=1, decimal_places=6)]

Scope = Literal["news", "social", "all"]

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
    """Base of all groups: frozen, typed, unknown keys refused. A field's docstring has meaning and unit."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Universe(Group):
    symbols: tuple[Symbol, ...] = tuple(DEFAULT_SYMBOLS)
    """The symbols that are watched and may be traded, in order."""

    @model_validator(mode="after")
    def _consistent(self) -> "Universe":
        twice = sorted({symbol for symbol in self.symbols if self.symbols.count(symbol) > 1})
        refuse(bool(twice), f"symbols are listed twice: {', '.join(twice)}")
        return self


class Bars(Group):
    feed: Annotated[str, Field(min_length=1)] = "iex"
    """The market-data feed whose bars are decided; those of others give HOLD FEED_NOT_SELECTED."""
    grace_s: Annotated[float, Field(gt=0, le=30)] = 3.0
    """Seconds after a minute's end in which live bars of it are waited for; then the minute is over."""
    rollback_min: Annotated[int, Field(ge=1, le=16)] = 16
    """Minutes back in which a late or revised bar still changes features; older ones go to bars.late."""
    max_return_gap_min: Positive = 5
    """Minutes between two bars; over a longer gap no return is computed."""
    split_low: PositiveFloat = 0.6
    """First open / previous close; below it a split is suspected: HOLD SUSPECT_SPLIT."""
    split_high: PositiveFloat = 1.7
    """First open / previous close; above it a split is suspected."""

    @model_validator(mode="after")
    def _consistent(self) -> "Bars":
        refuse(not self.split_low < 1 < self.split_high, "split_low must be below 1 and split_high above 1")
        return self


class Feature(Group):
    extended_hours: bool = False
    """Whether bars outside of regular hours feed features."""
    ready_bars: Positive = 50
    """Bars; with fewer the features are not ready and nothing is decided from them."""
    sma_short: Positive = 20
    """Bars of the short simple moving average."""
    sma_long: Positive = 50
    """Bars of the long simple moving average."""
    recent: Positive = 30
    """Closes over which recent volatility is taken."""
    baseline: Annotated[int, Field(gt=1, le=RING_BARS)] = RING_BARS
    """Closes over which baseline volatility is taken."""
    min_return_share: Fraction = 2 / 3
    """Share of a window's returns that must be there, or the volatility is null."""
    volume_window: Positive = 20
    """Bars before the newest whose mean volume is the base of volume_ratio."""
    surge: PositiveFloat = 2.0
    """The volume_ratio above which volume_surge is true."""
    rsi: Positive = 14
    """Bars of Wilder's relative strength index."""
    macd_fast: Positive = 12
    """Bars of the MACD's fast average."""
    macd_slow: Positive = 26
    """Bars of the MACD's slow average."""
    macd_signal: Positive = 9
    """Values of the MACD's signal line."""
    bollinger: Positive = 20
    """Bars of the Bollinger bands."""
    bollinger_width: PositiveFloat = 2.0
    """Standard deviations between the middle and each Bollinger band."""
    atr: Positive = 14
    """Bars of Wilder's average true range."""
    momentum_short: Positive = 5
    """Bars back of momentum_5."""
    momentum_long: Positive = 15
    """Bars back of momentum_15."""
    opening_range_min: Positive = 30
    """Minutes from the open that make the opening range."""

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
    """Seconds between two evaluations."""
    enter: Fraction = 0.6
    """The watch_score from which a symbol enters."""
    exit: Fraction = 0.3
    """The watch_score below which the exit clock of a member runs."""
    below_min: Positive = 15
    """Minutes below `exit` after which a member leaves."""
    retention_min: Positive = 30
    """Minutes for which a member stays after it entered, whatever its score."""
    cap: Positive = 30
    """Members at most."""
    fresh_s: Positive = 300
    """Seconds since the close of a symbol's newest bar; an older symbol is removed and does not enter."""
    backfill_enabled: bool = True
    """Whether a short list is filled up with the best of the rest."""
    backfill_to: Positive = 10
    """Members up to which a short list is filled."""
    backfill_min: Fraction = 0.3
    """The watch_score that a filled-in symbol needs."""
    weight_sentiment: Fraction = 0.35
    """Weight of sentiment_pressure in watch_score; the four weights add up to 1."""
    weight_setup: Fraction = 0.25
    """Weight of setup_quality in watch_score."""
    weight_vol: Fraction = 0.20
    """Weight of vol_score in watch_score."""
    weight_trend: Fraction = 0.20
    """Weight of trend_alignment in watch_score."""
    full_count: Positive = 5
    """News items from which the count term of sentiment_pressure is full."""
    sentiment_scope: Scope = "news"
    """Which items count in the 60-minute window: news, social, or all."""

    @model_validator(mode="after")
    def _consistent(self) -> "Watchlist":
        refuse(self.exit >= self.enter, "exit must be smaller than enter")
        refuse(self.backfill_min > self.enter, "backfill_min must not be larger than enter")
        weights = self.weight_sentiment + self.weight_setup + self.weight_vol + self.weight_trend
        refuse(abs(weights - 1) > 1e-9, f"the four weights must add up to 1, not {weights:g}")
        return self


class Signal(Group):
    at_band: Fraction = 0.005
    """|distance_sma20| up to which the price is at its average."""
    stretch: Fraction = 0.02
    """|distance_sma20| from which the price is too far away: HOLD STRETCHED."""
    breakout: Fraction = 0.01
    """The distance_sma20 beyond which a move counts in full, else by half."""
    day_min: Fraction = 0.65
    """Confidence that an option day trade needs in calm markets."""
    day_slope: Fraction = 0.25
    """Rise of `day_min` for each 1.0 of vol_ratio above 1.2."""
    day_cap: Fraction = 0.75
    """Confidence that an option day trade needs at most."""
    swing_min: Fraction = 0.50
    """Confidence that an option swing trade needs."""
    stock_min: Fraction = 0.40
    """Confidence that a stock trade needs."""
    max_vol_ratio: PositiveFloat = 1.3
    """Vol_ratio above which stock is traded in place of options."""
    day_min_volume: PositiveFloat = 2.0
    """The volume_ratio that a day trade needs."""
    cooldown_min: Positive = 15
    """Minutes of bar time after a signal in which the symbol gives no other."""
    max_bar_age_s: Positive = 60
    """Seconds between a bar's close and the last watermark; an older bar gives HOLD STALE_BAR."""
    full_count: Positive = 5
    """News items from which sentiment counts in full."""
    sentiment_scope: Scope = "news"
    """Which items count in the 30-minute window: news, social, or all."""
    min_item_confidence: Fraction = 0.65
    """Confidence of a score above which an item counts in the 30-minute window."""
    volume_steps: tuple[float, ...] = (0.5, 1.5, 2.0, 3.0, 5.0)
    """Lower bounds of volume_ratio, rising; below the first: HOLD VOLUME_TOO_LOW."""
    volume_factors: tuple[float, ...] = (0.3, 0.8, 1.15, 1.25, 1.35)
    """Factor on confidence for each of `volume_steps`."""

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
    """Whether the gap-fade rule is applied before the others."""
    min_gap: Fraction = 0.008
    """|gap_pct| that is needed."""
    min_prev: Fraction = 0.005
    """Size of the previous session's move, as a fraction, that is needed in the same direction."""
    confidence: Fraction = 0.70
    """Confidence of its signals."""
    from_min: Positive = 5
    """Minutes after the open from which it is checked."""
    to_min: Positive = 60
    """Minutes after the open before which it is checked."""
    target: Share = Decimal("0.40")
    """P&L, as a fraction, at which a position of it takes its profit."""
    stop: Share = Decimal("0.30")
    """Loss, as a fraction, at which it is closed once `exit.min_hold_min` are over."""
    hold_min: Positive = 90
    """Minutes for which it is held at most."""
    out_min: Positive = 90
    """Minutes after the open at which it is closed, whatever it is worth."""

    @model_validator(mode="after")
    def _consistent(self) -> "GapFade":
        refuse(self.from_min >= self.to_min, "from_min must be smaller than to_min")
        return self


class Contract(Group):
    strike_range: Share = Decimal("0.10")
    """Fraction around the underlying's price in which strikes are looked at."""
    day_otm: Share = Decimal("0.015")
    """How far out of the money, as a fraction, the target strike of a day trade is."""
    day_dte: tuple[Days, Days] = (0, 1)
    """Fewest and most days to expiry for a day trade."""
    swing_dte: tuple[Days, Days] = (7, 30)
    """Fewest and most days to expiry for a swing trade."""
    max_spread: Share = Decimal("0.05")
    """(ask - bid) / mid up to which a contract is considered: WIDE_SPREAD above."""
    min_mid: Money = Decimal("1.00")
    """USD per share; a contract whose mid is lower is PREMIUM_TOO_LOW."""
    min_volume: Positive = 500
    """Contracts traded today; fewer are LOW_VOLUME."""
    min_open_interest: Positive = 100
    """Open contracts; fewer are LOW_OPEN_INTEREST."""
    allow_unknown_oi: bool = False
    """Whether a contract without a known open interest is considered."""
    min_quality: Annotated[float, Field(ge=0, le=100)] = 70.0
    """Quality score, 0 to 100, that the best contract needs: QUALITY_TOO_LOW below."""

    @model_validator(mode="after")
    def _consistent(self) -> "Contract":
        for name in ("day_dte", "swing_dte"):
            first, last = getattr(self, name)
            refuse(first > last, f"{name} must be [fewest days, most days]")
        refuse(self.day_otm > self.strike_range, "day_otm must not be larger than strike_range")
        return self


class Gate(Group):
    signal_s: Positive = 300
    """Seconds since the close of the signal's bar: SIGNAL_STALE above."""
    bar_s: Positive = 180
    """Seconds since the close of the symbol's newest bar: BAR_STALE above."""
    feature_s: Positive = 300
    """Seconds since the close of the newest feature's bar: FEATURE_STALE above."""
    skew_s: Positive = 2
    """Seconds by which a bar may be in the future: CLOCK_SKEW above."""
    opening_blackout_min: Positive = 5
    """Minutes after the open in which nothing is opened."""
    quote_s: Positive = 15
    """Age of a quote in seconds: QUOTE_STALE above."""
    max_spread_option: Share = Decimal("0.05")
    """(ask - bid) / mid of an option: SPREAD_TOO_WIDE above."""
    max_spread_stock: Share = Decimal("0.005")
    """(ask - bid) / mid of a stock: SPREAD_TOO_WIDE above."""
    max_drift: Share = Decimal("0.005")
    """Move of the underlying since the signal's close, as a fraction: PRICE_DRIFT above."""
    identity_s: Positive = 600
    """Seconds since the account's identity was verified: ACCOUNT_UNVERIFIED above."""
    expiry_cutoff_min: Positive = 60
    """Minutes before the close from which a contract that expires today is not opened."""


REGIMES = 5
"""COMPLACENT, NORMAL, ELEVATED, HIGH and EXTREME."""


class Regime(Group):
    enabled: bool = False
    """Whether a volatility index, read from `regime`, scales size and confidence and closes options."""
    max_age_s: Positive = 900
    """Seconds since the index stood at its newest value: REGIME_UNKNOWN above."""
    bounds: tuple[float, ...] = (12.0, 20.0, 30.0, 40.0)
    """Index values between the regimes, rising."""
    size: tuple[Share, ...] = (Decimal("0.8"), Decimal(1), Decimal("0.5"), Decimal("0.25"), Decimal(0))
    """Factor on the size in each regime, one more than `bounds`."""
    confidence: tuple[Fraction, ...] = (0.9, 1.0, 0.8, 0.6, 0.0)
    """Factor on the confidence in each regime, one more than `bounds`."""

    @model_validator(mode="after")
    def _consistent(self) -> "Regime":
        wanted = len(self.bounds) + 1
        for name in ("size", "confidence"):
            found = len(getattr(self, name))
            refuse(found != wanted, f"{name} must have one value more than bounds ({wanted}), not {found}")
        refuse(not rising(self.bounds), "bounds must rise")
        refuse(
            len(self.bounds) != REGIMES - 1,
            f"bounds must have {REGIMES - 1} values: there are {REGIMES} regimes",
        )
        return self


class Sizing(Group):
    equity_s: Positive = 60
    """Age of the broker's equity in seconds: SIZE_INPUT_MISSING above."""
    stock_stop: Annotated[Share, Field(gt=0)] = Decimal("0.02")
    """Distance of a stock's stop, as a fraction of its price, by which its risk is computed."""
    stock_cap: Share = Decimal("0.25")
    """Share of equity that one stock position may take."""


class Order(Group):
    open_steps: tuple[Share, ...] = (Decimal("0.50"), Decimal("0.75"), Decimal("1.00"))
    """Shares of half the spread that each step of an opening order adds to mid."""
    close_steps: tuple[Share, ...] = (Decimal("0.50"), Decimal("1.00"), Decimal("1.00"))
    """Shares of half the spread that each step of a closing order takes off mid."""
    max_offset: Share = Decimal("0.02")
    """How far from mid, as a fraction, an opening limit may be."""
    doubt_s: tuple[Positive, ...] = (1, 4, 10, 30)
    """Seconds before each question about an order in doubt."""
    step_s: Positive = 5
    """Seconds for which an order works at one price before it is cancelled for the next."""
    close_repeat_s: Positive = 5
    """Seconds between the attempts of a close after its last step."""
    close_reserve: Annotated[float, Field(ge=0, lt=1)] = 0.20
    """Share of the broker calls of a minute that is kept for cancels and closes."""

    @model_validator(mode="after")
    def _consistent(self) -> "Order":
        for name in ("open_steps", "close_steps", "doubt_s"):
            steps = getattr(self, name)
            refuse(not steps, f"{name} must not be empty")
            refuse(list(steps) != sorted(steps), f"{name} must not fall")
        return self
