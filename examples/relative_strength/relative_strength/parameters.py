"""What can be tuned, in ``[user.relative_strength]`` of tape.toml, with unit and range."""

from typing import Annotated, Literal

from pydantic import Field

from tapedeck.streams.config.groups import Group, Positive, PositiveFloat


class Parameters(Group):
    """``window_min``: minutes over which momentum is measured. ``threshold``: the strength that acts, a
    fraction. ``stale_min`` and ``cooldown_min`` in minutes."""

    window_min: Literal[5, 15] = 15
    min_symbols: Annotated[int, Field(ge=2)] = 3
    threshold: PositiveFloat = 0.004
    stale_min: Positive = 2
    cooldown_min: Positive = 30
