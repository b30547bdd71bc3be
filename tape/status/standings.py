"""How the processes fare that are no stage: the worst state of their sources, from their heartbeats.

A heartbeat's counts hold ``NOW_STATE``, and ``STATE:SOURCE`` for each source, as seconds in that state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from tapedeck.connectors.beats import NOW
from tapedeck.streams.topology import Topology
from tapedeck.tape.status.lines import StageLine

_DISPATCHER = "dispatch-"


class Severity(IntEnum):
    """How much a state needs a person."""

    GREEN = 0
    AMBER = 1
    RED = 2


SEVERITY: Mapping[str, Severity] = {
    **dict.fromkeys(("OK", "LIVE", "WAITING"), Severity.GREEN),
    **dict.fromkeys(
        (
            "CONNECTING", "PARTIAL", "HELD_BY_GHOST", "RATE_LIMITED", "MOVED", "FAILING", "MALFORMED",
            "SUBREDDIT_PRIVATE", "QUARANTINED",
        ),
        Severity.AMBER,
    ),
    **dict.fromkeys(
        ("STALE", "GONE", "REFUSED", "NO_APP", "TOKEN_EXPIRED", "NETWORK_BLOCKED"), Severity.RED
    ),
}  # fmt: skip
"""Every state of market data, feeds and Reddit."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One source's state, and since how many seconds. ``source`` is empty for the process as a whole."""

    state: str
    source: str
    for_s: int

    @property
    def severity(self) -> Severity:
        return SEVERITY[self.state]


@dataclass(frozen=True, kw_only=True)
class EdgeLine:
    """A process that is no stage. ``at``: its last heartbeat, UTC micros. ``worst``: None without a state."""

    name: str
    at: int
    watermark: int | None
    lag: int | None
    records: int
    worst: Standing | None


def edges(lines: list[StageLine], topology: Topology) -> list[EdgeLine]:
    """The lines that are of no stage and no dispatcher."""
    return [
        EdgeLine(
            name=line.stage,
            at=line.at,
            watermark=line.watermark,
            lag=line.lag,
            records=line.records,
            worst=max(standings(line), key=lambda each: (each.severity, each.for_s), default=None),
        )
        for line in lines
        if line.stage not in topology.names and not line.stage.startswith(_DISPATCHER)
    ]


def standings(line: StageLine) -> list[Standing]:
    """The states among the counts of a heartbeat."""
    return standings_in(line.reasons)


def standings_in(counts: Mapping[str, int]) -> list[Standing]:
    """The states among ``counts``."""
    read = ((name, _read(name)) for name in counts)
    return [Standing(state=found[0], source=found[1], for_s=counts[name]) for name, found in read if found]


def without_standings(reasons: Mapping[str, int]) -> dict[str, int]:
    """The counts that are no states."""
    return {name: n for name, n in reasons.items() if _read(name) is None}


def _read(name: str) -> tuple[str, str] | None:
    state, _, source = name.removeprefix(NOW).partition(":")
    said = name.startswith(NOW) or bool(source)
    return (state, source) if said and state in SEVERITY else None
