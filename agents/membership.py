"""How a worker is a member of its consumer groups.

A dynamic member gets a new id from the broker at each start, and leaves when it stops in order. A static one
(``TAPE_GROUP_INSTANCE``, in Kubernetes the pod's name) keeps its partitions while it restarts within the
session time-out, and does not leave when it stops: the same time-out is then the outage if it never comes
back. docs/operations.md has the measured seconds of both.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from tapedeck.schemas.errors import Fatal

INSTANCE, TIMEOUT, LEAVE = "TAPE_GROUP_INSTANCE", "TAPE_SESSION_TIMEOUT_S", "TAPE_LEAVE_ON_STOP"
_BOUNDS_S = (6.0, 300.0)
_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")
_SAYS = {"": False, "no": False, "yes": True}


class Membership(NamedTuple):
    """``instance``: the fixed name of a static member; empty for a dynamic one.

    ``leaves``: the static member leaves its groups when it is told to stop.
    """

    session_timeout_s: float = 6.0
    instance: str = ""
    leaves: bool = False


DYNAMIC = Membership()


def membership(told: Mapping[str, str]) -> Membership:
    """What the variables say. Raises Fatal for a value that cannot be."""
    return Membership(_seconds(told.get(TIMEOUT, "")), _instance(told.get(INSTANCE, "")), _leaves(told))


def _seconds(text: str) -> float:
    if not text:
        return DYNAMIC.session_timeout_s
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    lowest, highest = _BOUNDS_S
    if not lowest <= seconds <= highest:
        remedy = f"set {TIMEOUT} to {lowest:g} to {highest:g} seconds: brokers allow no less than 6"
        raise Fatal("not a session time-out", value=text, remedy=remedy)
    return seconds


def _instance(text: str) -> str:
    if text and not _NAME.fullmatch(text):
        remedy = f"set {INSTANCE} to up to 200 letters, digits, dots, dashes and underscores"
        raise Fatal("not a name of a group's member", value=text, remedy=remedy)
    return text


def _leaves(told: Mapping[str, str]) -> bool:
    text = told.get(LEAVE, "")
    if text not in _SAYS:
        raise Fatal("neither yes nor no", value=text, remedy=f"set {LEAVE} to yes or no")
    if _SAYS[text] and not told.get(INSTANCE):
        remedy = f"unset {LEAVE}, or name the member with {INSTANCE}"
        raise Fatal(f"{LEAVE} is for a static member: a dynamic one always leaves", value=text, remedy=remedy)
    return _SAYS[text]
