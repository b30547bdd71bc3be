"""Faults as people write them: ``CANCEL_PENDING:operation=cancel,seconds=60,count=2``."""

import difflib
from collections.abc import Iterable
from typing import Any

from tapedeck.connectors.paper.faults import Faults
from tapedeck.connectors.paper.kinds import PLANS, Fault
from tapedeck.connectors.paper.tempers import CHANCES, Profile
from tapedeck.schemas.errors import Fatal

_ALIKE = 0.5
_SETTINGS = {"count": int, "skip": int, "seconds": float, "operation": str, "account": str}
_REMEDY = f"it takes {', '.join(_SETTINGS)}"


def arm_all(faults: Faults, texts: Iterable[str]) -> None:
    """Arm each text. Raises Fatal for one that names no fault, or a setting that does not exist."""
    for text in texts:
        name, _, settings = text.partition(":")
        arm(faults, name, dict(_pair(each, name) for each in settings.split(",") if settings))


def arm(faults: Faults, name: str, settings: dict[str, Any]) -> None:
    """Arm one fault by its name. Raises Fatal as ``arm_all`` does."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if key not in _SETTINGS:
            raise Fatal(f"{name} has no such setting", value=key, remedy=_REMEDY)
        try:
            found[key] = _SETTINGS[key](value)
        except (TypeError, ValueError):
            remedy = "count and skip are whole numbers, seconds is a number"
            raise Fatal(f"not a setting of {name}", value=value, remedy=remedy) from None
    faults.arm(known(name), **found)


def _pair(text: str, name: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not value:
        raise Fatal("not a setting", value=text, remedy=f"write {name}:seconds=60")
    return key, value


def known(name: str) -> Fault:
    """The fault of that name. Raises Fatal with the nearest names for an unknown one."""
    try:
        return Fault(name)
    except ValueError:
        near = difflib.get_close_matches(str(name), list(Fault), n=3, cutoff=_ALIKE)
        remedy = f"did you mean {' or '.join(near)}?" if near else "`tape exchange --faults` lists them"
        raise Fatal("no such fault", value=name, remedy=remedy) from None


def listed() -> list[str]:
    """One line per fault: its name, its call, and what happens."""
    width, at = max(map(len, Fault)), max(len(plan.at) for plan in PLANS.values())
    return [
        f"{name:{width}}  {plan.at:{at}}  {plan.line}{f' ({plan.seconds:g} s)' if plan.seconds else ''}"
        for name, plan in PLANS.items()
    ]


def rows(profile: Profile) -> list[tuple[str, str, str, str]]:
    """The chances of a profile, for a table: fault, call, rate in percent, seconds."""
    return [
        (
            f"`{each.fault}`",
            each.operation,
            f"{each.rate * 100:g} %",
            f"{each.shortest_s:g} to {each.longest_s:g}" if each.longest_s else "",
        )
        for each in CHANCES[profile]
    ]
