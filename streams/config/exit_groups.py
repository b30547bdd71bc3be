"""The tunables of exits, halts and the comparison with the broker, one frozen model per group."""

from decimal import Decimal
from typing import Annotated

from pydantic import Field, model_validator

from tapedeck.streams.config.groups import Days, Group, Positive, PositiveFloat, Share, refuse

Signed = Annotated[Decimal, Field(ge=-1, le=1, decimal_places=6)]
Factor = Annotated[Decimal, Field(ge=0, le=10, decimal_places=6)]


class Exit(Group):
    target: Annotated[Decimal, Field(gt=0, le=10, decimal_places=6)] = Decimal("0.80")
    """P&L of an option, as a fraction of its premium, at which it takes its profit."""
    stop: Share = Decimal("0.40")
    """Loss of an option, as a fraction, at which it is closed once `min_hold_min` are over."""
    hard_stop: Share = Decimal("0.50")
    """Loss of an option, as a fraction, at which it is closed before that."""
    min_hold_min: Positive = 30
    """Minutes after the entry in which only the hard stop closes at a loss."""
    trail_on: Share = Decimal("0.20")
    """Highest P&L, as a fraction, from which the trailing stop is on."""
    trail_keep: Share = Decimal("0.75")
    """Share of the highest P&L that the trailing stop keeps."""
    theta_dte: Days = 2
    """Days to expiry from which a losing swing option is closed."""
    expiry_min: Positive = 60
    """Minutes before the close at which an option that expires today is closed."""
    day_close_min: Positive = 5
    """Minutes before the close at which day trades are closed."""
    max_hold_min: Positive = 360
    """Minutes for which a day trade is held at most."""
    swing_sessions: Positive = 5
    """Sessions for which a swing trade is held at most; the entry's is the first."""
    stock_stop: Share = Decimal("0.02")
    """Loss of a stock, as a fraction, at which it is closed."""
    stock_target: Share = Decimal("0.03")
    """P&L of a stock, as a fraction, at which it takes its profit."""
    mark_s: Positive = 60
    """Seconds for which a quote gives a mark."""
    trade_s: Positive = 300
    """Seconds for which a trade or a bar gives one, where there is no such quote."""
    max_attempts: Positive = 10
    """Attempts of a close after which it counts as stuck, and is tried once a minute."""

    @model_validator(mode="after")
    def _consistent(self) -> "Exit":
        refuse(self.hard_stop < self.stop, "hard_stop must not be smaller than stop")
        refuse(self.day_close_min >= self.expiry_min, "day_close_min must be smaller than expiry_min")
        return self


class Eod(Group):
    windows_min: tuple[Positive, Positive, Positive, Positive] = (90, 60, 30, 5)
    """Minutes before the close at which the windows W0 to W3 begin."""
    day_limits: tuple[Signed, Signed, Signed] = (Decimal("-0.20"), Decimal("-0.10"), Decimal(0))
    """P&L below which a day-trade option is closed in W0, W1 and W2; in W3 it always is."""
    min_dte: Days = 3
    """Days to expiry that a swing option needs to stay overnight."""
    notional_pct: Share = Decimal("0.05")
    """Share of equity that one swing option may be worth overnight; half of it in regime HIGH."""
    theta_score: PositiveFloat = 0.05
    """Theta per day / mark above which the P&L needed rises by `theta_add`, and W0 closes near expiry."""
    theta_add: Share = Decimal("0.10")
    """What a high or unknown theta adds to the P&L that a swing option needs."""
    regime_factor: tuple[Factor, Factor, Factor] = (Decimal(1), Decimal("1.5"), Decimal(2))
    """Factor on that P&L in NORMAL, in ELEVATED or unknown, and in HIGH or EXTREME."""

    @model_validator(mode="after")
    def _consistent(self) -> "Eod":
        refuse(list(self.windows_min) != sorted(self.windows_min, reverse=True), "windows_min must fall")
        return self


class Kill(Group):
    flatten_on_halt: bool = True
    """Whether HALTED closes every position."""


class Recon(Group):
    period_s: Positive = 300
    """Seconds between comparisons with the broker."""
    grace_s: Positive = 30
    """Seconds for which a difference must stand, in two comparisons, before it is adjusted."""
