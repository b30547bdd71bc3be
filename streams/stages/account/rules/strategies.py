"""What a strategy's name says: a shipped one, or one of a user's own rule."""

from typing import Annotated

from pydantic import StringConstraints

SWING = "swing_trade"
GAP_FADE = "gap_fade"
StrategyName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
"""As a signal names it: lower case, digits and underscores."""


def is_swing(strategy: str) -> bool:
    """Whether a position is meant to be held for days: ``swing_trade``, and every name that ends in it.

    Any other name is a trade of the day, with the day's limits. The record alone decides, so a replay agrees.
    """
    return strategy.endswith(SWING)


def is_gap_fade(strategy: str) -> bool:
    """Whether a position follows the gap-fade rule: a trade of the day with exits of its own."""
    return strategy == GAP_FADE
