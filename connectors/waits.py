"""How long to wait before another try: what a server asks for, else equal jitter under a doubling bound."""

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from random import Random

from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.sessions import micros

_SECONDS = re.compile(r"[0-9]+(\.[0-9]*)?")
_LONGEST_S = 1e12
"""Bounds hundreds of digits, which a float cannot hold. A time in seconds since 1970 is below it, and each
caller has a shorter bound of its own."""
_LAST_DOUBLING = 64
"""Beyond it, every bound is reached, and 2.0 ** n would overflow in the end."""


def asked_wait_s(header: str | None, now: int) -> float | None:
    """The seconds that a Retry-After header asks for, 0 where its date is past.

    ``header`` holds seconds or an HTTP date; ``now`` is in UTC microseconds. None where it cannot be read.
    """
    text = (header or "").strip()
    seconds = seconds_in(text)
    if seconds is not None:
        return seconds
    try:
        until = parsedate_to_datetime(text)
        # A date that names no zone is UTC: HTTP has no other.
        moment = micros(until if until.tzinfo else until.replace(tzinfo=UTC))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return max(0.0, (moment - now) / SECOND_US)


def seconds_in(header: str | None) -> float | None:
    """The seconds of a header that holds a plain number; None for a sign, an exponent, or a word."""
    text = (header or "").strip()
    return min(float(text), _LONGEST_S) if _SECONDS.fullmatch(text) else None


def equal_jitter_s(attempt: int, first_s: float, longest_s: float, chance: Random) -> float:
    """The pause after the failed ``attempt``, counted from 1: between half and all of a bound.

    The bound doubles from ``first_s`` to ``longest_s``. Half is certain, so that nobody comes back at once,
    and half is chance, so that many clients do not come back together.
    """
    half = min(longest_s, first_s * 2.0 ** min(max(attempt, 1) - 1, _LAST_DOUBLING)) / 2
    return half + chance.uniform(0.0, half)
