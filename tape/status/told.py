"""A diagnosis in words and as JSON, and an alarm's line in a local stack's log."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tapedeck.streams.sessions import iso_utc
from tapedeck.tape.doctor.check import clock
from tapedeck.tape.doctor.findings import Diagnosis, Finding, in_words


def lines(diagnosis: Diagnosis, *, whole: bool = False) -> list[str]:
    """The cause first, then everything that is not well; with ``whole``, what is well too."""
    shown = diagnosis.findings if whole else diagnosis.faults
    found = [diagnosis.headline]
    for n, each in enumerate(shown):
        if n or not diagnosis.faults:
            found.append(in_words(each))
        found += [f"    {line}" for line in _more(each)]
    return found


def _more(finding: Finding) -> list[str]:
    told = []
    if finding.since is not None:
        told.append(f"since {clock(finding.since)}")
    if finding.stage:
        told.append(f"first at fault: {finding.stage}")
    if finding.remedy:
        told.append(f"to mend it: {finding.remedy}")
    return told


def document(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis for a program. ``exit_code`` is that of the command."""
    return {
        "headline": diagnosis.headline,
        "exit_code": diagnosis.exit_code,
        "checks": list(diagnosis.checks),
        "findings": [_row(each) for each in diagnosis.findings],
    }


def _row(finding: Finding) -> Mapping[str, Any]:
    return asdict(finding) | {"since": None if finding.since is None else iso_utc(finding.since)}


def append_alarms(log: Path, diagnosis: Diagnosis, now: int) -> int:
    """Append what is not well to ``log``, a JSON line each; returns how many."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as stream:
        for each in diagnosis.faults:
            stream.write(json.dumps({"at": iso_utc(now), **_row(each)}) + "\n")
    return len(diagnosis.faults)
