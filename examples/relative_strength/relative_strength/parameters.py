"""What can be tuned, in ``[user.relative_strength]`` of the configuration document."""

from typing import Annotated, Literal

from pydantic import Field

from tapedeck.streams.config.groups import Group, Positive, PositiveFloat


class Parameters(Group):
    """A field's docstring has its meaning and unit: `tape config show` prints it."""

    window_min: Literal[5, 15] = 15
    """Minutes over which momentum is measured."""
    min_symbols: Annotated[int, Field(ge=2)] = 3
    """Symbols with a fresh momentum; with fewer there is no mean."""
    threshold: PositiveFloat = 0.004
    """The strength that acts, above it for a call and below its negative for a put: a fraction."""
    stale_min: Positive = 2
    """Minutes after which a momentum or a strength no longer counts."""
    cooldown_min: Positive = 30
    """Minutes between two signals of one symbol."""
