"""Fixed-point prices: integers with a price times 1,000,000,000, 10,000 or 100."""

from pathlib import Path

import numpy as np
import polars as pl

from tapedeck.connectors.tapes.market_files.columns import Spec
from tapedeck.schemas.errors import Fatal

_NANO = 1_000_000_000
_NANO_FROM = 10_000_000.0  # no share costs that much; times 1e-9 it is a cent
_TEN_THOUSAND = 10_000
_TEN_THOUSAND_FROM = 10_000.0
_CENTS_FROM = 1_000.0


def _divided(prices: pl.Series, scale: int) -> pl.Series:
    """The nearest float to each quotient: polars multiplies by 1 / scale, whose last digit differs."""
    return pl.Series(prices.name, prices.fill_null(np.nan).to_numpy() / scale).fill_nan(None)


class Prices:
    """Sees every price of a file, then determines the scale. ``told`` is the scale that a person gave."""

    def __init__(self, path: Path, spec: Spec, told: int | None) -> None:
        self._path, self._names, self._told = path, spec.prices, told
        self._own = not spec.pair
        self._whole, self._low, self._high = True, float("inf"), 0.0

    def see(self, frame: pl.DataFrame) -> None:
        """Take in the prices of a batch."""
        for name in self._names:
            prices = frame[name].drop_nulls()
            prices = prices.filter(prices > 0)
            if self._whole and len(prices):
                self._whole = bool((prices == prices.floor()).all())
                self._low = min(self._low, float(prices.min() or 0.0))  # type: ignore[arg-type]
                self._high = max(self._high, float(prices.max() or 0.0))  # type: ignore[arg-type]

    @property
    def suspected(self) -> int:
        """The scale that the prices look like; 1 for plain ones."""
        if not self._whole or self._low == float("inf"):
            return 1
        for scale, least in ((_NANO, _NANO_FROM), (_TEN_THOUSAND, _TEN_THOUSAND_FROM), (100, _CENTS_FROM)):
            if self._low >= least:
                return scale
        return 1

    def scale(self) -> int:
        """The divisor of prices. Raises Fatal if they look multiplied by 10,000 and no scale was given."""
        found = self.suspected
        if self._told is not None:
            return self._told if self._own or found > 1 else 1
        if found == _TEN_THOUSAND:
            names = ", ".join(self._names)
            raise Fatal(
                f"{self._path}, columns {names}: every price is a whole number from {self._low:.0f} on,"
                " as LEAN writes prices times 10,000",
                value=f"{self._low:.0f} to {self._high:.0f}",
                remedy="add --scale 10000 to divide them, or --scale 1 if they are dollars",
            )
        return found if found == _NANO else 1

    def scaled(self, frame: pl.DataFrame) -> pl.DataFrame:
        """``frame`` with its prices in dollars."""
        scale = self.scale()
        return (
            frame if scale == 1 else frame.with_columns(_divided(frame[name], scale) for name in self._names)
        )

    def leave(self) -> None:
        """Take the prices as they are, to examine a file that does not play."""
        self._told = 1

    def notes(self) -> list[str]:
        """What was recognized or is suspected."""
        if (scale := self.scale()) != 1:
            how = "as requested" if self._told else "fixed-point: no price is that high"
            return [f"{self._path.name}: prices are divided by {scale:,} ({how})"]
        if self._told is None and self.suspected == 100:
            said = f"{self._path.name}: every price is a whole number, {self._low:.0f} to {self._high:.0f}"
            return [f"{said}: are they cents? then add --scale 100"]
        return []
