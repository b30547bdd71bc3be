"""Runs the checks over a snapshot and orders what they find."""

from collections.abc import Sequence

from tapedeck.schemas.errors import Fatal
from tapedeck.tape.doctor.check import Check
from tapedeck.tape.doctor.checks.all import CHECKS
from tapedeck.tape.doctor.findings import Diagnosis, Finding
from tapedeck.tape.doctor.snapshot import Snapshot


def diagnose(snapshot: Snapshot, checks: Sequence[Check] = CHECKS) -> Diagnosis:
    """Every finding of ``checks``: the worst first, and causes before what follows from them.

    Of what is wrong with one stage, the first check's word comes first: a stage that is slow is told before
    the records that are late because of it, even if it is amber and they are red.
    """
    found = [(place, each) for place, check in enumerate(checks) for each in check.run(snapshot)]
    worst: dict[str, int] = {}
    for _, each in found:
        worst[each.stage] = max(worst.get(each.stage, 0), each.severity.exit_code)

    def order(entry: tuple[int, Finding]) -> tuple[int, bool, int]:
        place, each = entry
        code = each.severity.exit_code
        return -(worst[each.stage] if code and each.stage else code), each.follows, place

    found.sort(key=order)
    return Diagnosis(tuple(each.name for each in checks), tuple(each for _, each in found))


def check_named(name: str) -> Check:
    """The check called ``name``. Raises Fatal for one that does not exist."""
    for each in CHECKS:
        if each.name == name:
            return each
    raise Fatal("no such check", value=name, remedy=f"checks: {', '.join(each.name for each in CHECKS)}")
