"""What is to be written on a synthetic day: who is written about, when and how."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tapedeck.connectors.tapes.plants import AFTER, COIL, RUN, Plant
from tapedeck.connectors.tapes.texts.templates import Tone
from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.streams.sessions import Session

_TONES = (Tone.POSITIVE, Tone.NEGATIVE, Tone.NEUTRAL)
_SHARES = (0.36, 0.30, 0.34)
_AGAINST = frozenset({"WMT"})
"""Moves against their news: a confidence at its limit can only fall, and this one is just above it."""
_SECONDS = 55
"""A text of a minute is published in the first of its seconds, so that it can arrive in the same one."""


class Day(NamedTuple):
    """The day that is written about. ``first``: the label of its first minute; ``plants`` by symbol."""

    session: Session
    first: int
    symbols: Sequence[str]
    plants: Mapping[str, Plant]
    origin: str

    @property
    def minutes(self) -> int:
        """Minutes of the session."""
        return (self.session.close - self.session.open) // MINUTE_US

    def at(self, minute: int, second: int) -> int:
        """A moment, minutes after the open, UTC microseconds."""
        return self.session.open + minute * MINUTE_US + second * SECOND_US


class Draft(NamedTuple):
    """A text about ``symbol`` in the tone that it gets, ``at`` a moment."""

    symbol: str
    tone: Tone
    at: int


def drafts(rng: np.random.Generator, day: Day, count: int) -> Iterator[Draft]:
    """``count`` of them over the whole session. Around a planted move, all are of one tone."""
    for _ in range(count):
        symbol = day.symbols[int(rng.integers(len(day.symbols)))]
        minute, second = int(rng.integers(day.minutes)), int(rng.integers(_SECONDS))
        tone = _TONES[int(rng.choice(len(_TONES), p=_SHARES))]
        plant = day.plants.get(symbol)
        if plant is not None and plant.start - COIL <= minute < plant.start + RUN + AFTER:
            tone = tone_of(plant)
        yield Draft(symbol, tone, day.at(minute, second))


def tone_of(plant: Plant) -> Tone:
    """The tone of what is written before a planted move."""
    rises = (plant.direction > 0) is not (plant.symbol in _AGAINST)
    return Tone.POSITIVE if rises else Tone.NEGATIVE
