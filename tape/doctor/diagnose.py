"""Runs the checks over a snapshot and orders what they find."""

from collections.abc import Sequence

from tapedeck.schemas.errors import Fatal
from tapedeck.tape.doctor.check import Check
from tapedeck.tape.doctor.checks.all import CHECKS
from tapedeck.tape.doctor.findings import Diagnosis, Finding
from tapedeck.tape.doctor.snapshot import Snapshot


def diagnose(snapshot: Snapshot, checks: Sequence[Check] = CHECKS) -> Diagnosis:
    """Every finding of ``checks``: red before amber, causes before what follows from them."""
    found = [
        (place, n, each) for place, check in enumerate(checks) for n, each in enumerate(check.run(snapshot))
    ]

    def order(entry: tuple[int, int, Finding]) -> tuple[int, bool, int, int]:
        place, n, each = entry
        return -each.severity.exit_code, each.follows, place, n

    return Diagnosis(
        tuple(each.name for each in checks), tuple(each for *_, each in sorted(found, key=order))
    )


def check_named(name: str) -> Check:
    """The check called ``name``. Raises Fatal for one that does not exist."""
    for each in CHECKS:
        if each.name == name:
            return each
    raise Fatal("no such check", value=name, remedy=f"checks: {', '.join(each.name for each in CHECKS)}")
