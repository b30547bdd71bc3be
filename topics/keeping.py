"""How long topics are kept: as the catalogue says, forever, or as TAPE_KEEP says for some of them."""

from collections.abc import Mapping
from functools import lru_cache

from tapedeck.schemas.errors import Fatal

KEEP = "TAPE_KEEP"
REPLICATION = "TAPE_REPLICATION"
DAY_MS = 86_400_000
FOREVER = -1
NEVER_MS = 2**63 - 1
COPIES = 3
"""Replicas of a topic where TAPE_REPLICATION is not set and there are that many brokers."""

ALL_FOREVER = "forever"
BY_CATALOGUE = "catalogue"
_REMEDY = f"write {ALL_FOREVER}, {BY_CATALOGUE}, or topics with days, such as bars=800,quotes={ALL_FOREVER}"


@lru_cache(maxsize=32)
def named_days(keep: str) -> Mapping[str, int]:
    """The topics that ``keep`` names, with their days or FOREVER; empty if it is a single word.

    Raises Fatal for text that cannot be read.
    """
    if keep in (ALL_FOREVER, BY_CATALOGUE):
        return {}
    found: dict[str, int] = {}
    for part in keep.split(","):
        name, _, days = (each.strip() for each in part.partition("="))
        if not name or not (days == ALL_FOREVER or (days.isdecimal() and 0 < int(days) <= 100_000)):
            raise Fatal(f"{KEEP} is not understood", value=part, remedy=_REMEDY)
        found[name] = FOREVER if days == ALL_FOREVER else int(days)
    return found


def in_days(milliseconds: str) -> str:
    """A broker setting in readable form: ``7 d``, ``for ever``; anything but a number stays as it is."""
    try:
        count = int(milliseconds)
    except ValueError:
        return milliseconds
    return "for ever" if count in (FOREVER, NEVER_MS) else f"{count / DAY_MS:g} d"
