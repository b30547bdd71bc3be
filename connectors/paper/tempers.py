"""Tempers: how often the exchange misbehaves by itself, and how badly.

A temper draws each fault at a given rate. The draw is a function of the seed, the account, the fault, the
operation and how often that has been drawn before: the same calls in the same order meet the same faults.
"""

import random
from collections import Counter
from enum import StrEnum
from typing import NamedTuple

from tapedeck.connectors.paper.faults import Fault


class Profile(StrEnum):
    """The tempers by name."""

    CALM = "calm"
    ROUGH = "rough"


class Chance(NamedTuple):
    """How probable a fault is at each call of an operation, and between which bounds its seconds lie.

    ``operation`` is that of a call; for a trade update it is the name of its event, or ``update`` for any.
    """

    fault: Fault
    operation: str
    rate: float
    shortest_s: float = 0.0
    longest_s: float = 0.0


F = Fault
_READS = ("account", "positions", "orders", "order", "quote", "activities")
ROUGH: tuple[Chance, ...] = (
    Chance(F.GATEWAY_TIMEOUT_BEFORE, "submit", 0.03),
    Chance(F.GATEWAY_TIMEOUT_AFTER, "submit", 0.06),
    Chance(F.DROP_AFTER, "submit", 0.03),
    Chance(F.MALFORMED_AFTER, "submit", 0.03),
    Chance(F.NULL_AFTER, "submit", 0.01),
    Chance(F.RATE_LIMIT, "submit", 0.03, 1, 5),
    Chance(F.REJECT, "submit", 0.02),
    Chance(F.REFUSE_QTY, "submit", 0.02),
    Chance(F.REFUSE_WASH, "submit", 0.02),
    Chance(F.REFUSE_BUYING_POWER, "submit", 0.02),
    Chance(F.NO_FILL, "submit", 0.10, 1, 40),
    Chance(F.REPLACED_BY_HAND, "submit", 0.02),
    Chance(F.PARTIAL_FILL, "fill", 0.20, 1, 30),
    Chance(F.HELD_LEG, "fill", 0.03),
    Chance(F.CANCEL_FILLED, "cancel", 0.10),
    Chance(F.CANCEL_PART_FILLED, "cancel", 0.10),
    Chance(F.CANCEL_PENDING, "cancel", 0.10, 1, 90),
    Chance(F.CANCEL_IGNORED, "cancel", 0.03),
    Chance(F.CANCEL_REFUSED, "cancel", 0.05),
    Chance(F.GATEWAY_TIMEOUT_AFTER, "cancel", 0.05),
    Chance(F.GATEWAY_TIMEOUT_BEFORE, "cancel", 0.03),
    Chance(F.MALFORMED_AFTER, "cancel", 0.05),
    Chance(F.LIQUIDATION, "expiry", 0.25),
    Chance(F.LAGGING_POSITIONS, "positions", 0.10, 1, 10),
    Chance(F.LAGGING_ORDERS, "orders", 0.10, 1, 10),
    Chance(F.LAGGING_ACTIVITIES, "activities", 0.05, 1, 10),
    Chance(F.NOT_FOUND, "order", 0.02),
    *(Chance(F.GATEWAY_TIMEOUT_BEFORE, read, 0.01) for read in _READS),
    *(Chance(F.NULL_AFTER, read, 0.005) for read in _READS),
    *(Chance(F.RATE_LIMIT, read, 0.005, 1, 3) for read in _READS),
    Chance(F.UPDATE_TWICE, "update", 0.05),
    Chance(F.UPDATE_AFTER_NEXT, "update", 0.05),
    Chance(F.UPDATE_LOST, "update", 0.05),
    Chance(F.UPDATE_LATE, "update", 0.05, 1, 20),
    Chance(F.UPDATE_NULL, "update", 0.01),
    Chance(F.STREAM_SILENT, "update", 0.01, 5, 90),
    Chance(F.STREAM_CUT, "partial_fill", 0.05, 1, 15),
    Chance(F.STREAM_CUT, "update", 0.01, 1, 15),
)
"""A bad day, many times over: each rate is far above what was ever reported."""

CHANCES: dict[Profile, tuple[Chance, ...]] = {Profile.CALM: (), Profile.ROUGH: ROUGH}


class Temper:
    """Draws the faults of ``profile``."""

    def __init__(self, profile: Profile, seed: int) -> None:
        self.profile: str = profile
        self._seed = seed
        self._chances = {(each.fault, each.operation): each for each in CHANCES[profile]}
        self._drawn: Counter[tuple[Fault, str, str]] = Counter()

    def seconds(self, fault: Fault, operation: str, account: str) -> float | None:
        """The seconds of ``fault`` if it happens at this call, or None."""
        chance = self._chances.get((fault, operation))
        if chance is None:
            return None
        key = fault, operation, account
        self._drawn[key] += 1
        rng = random.Random(f"{self._seed}|{fault}|{operation}|{account}|{self._drawn[key]}")
        if rng.random() >= chance.rate:
            return None
        return round(rng.uniform(chance.shortest_s, chance.longest_s), 3)


def temper(profile: Profile, seed: int) -> Temper | None:
    """The temper of ``profile``; None where nothing is drawn."""
    return Temper(profile, seed) if CHANCES[profile] else None
