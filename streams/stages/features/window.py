"""What a feature's window held: which bars, and in which revision."""

from dataclasses import asdict, dataclass
from typing import Any

from tapedeck.streams.config.document import Config
from tapedeck.streams.stages.features import layout as L
from tapedeck.streams.telling import new_york


@dataclass(frozen=True, kw_only=True)
class Window:
    """The bars in the ring up to one feature's bar. Times are left edges, UTC microseconds.

    ``listed`` counts the bars of the previous and the current session; the ring keeps the newest of them.
    ``revised`` maps t to the current revision, where it is not the first.
    """

    first_t: int
    last_t: int
    bars: int
    listed: int
    revised: dict[int, int]

    def text(self) -> str:
        """On one line."""
        revised = ", ".join(f"{new_york(t)} revision {each}" for t, each in sorted(self.revised.items()))
        return (
            f"window  {self.bars} bars from {new_york(self.first_t)} to {new_york(self.last_t)} New York, "
            f"of {self.listed} in two sessions; {f'revised: {revised}' if revised else 'none revised'}"
        )

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def window_of(state: bytes, t: int, config: Config) -> Window:
    """The window up to the bar at ``t`` in a state value that the features stage made under ``config``."""
    slots, _ = L.open_state(state, L.fingerprint(config))
    count = int(slots[L.H_COUNT])
    held = {
        int(slots[L.RING_T + place % L.RING]): int(slots[L.RING_REVISION + place % L.RING])
        for place in range(max(0, count - L.RING), count)
    }
    newer = sum(each > t for each in held)
    inside = {each: revision for each, revision in held.items() if each <= t}
    return Window(
        first_t=min(inside, default=t),
        last_t=max(inside, default=t),
        bars=len(inside),
        listed=count - newer,
        revised={each: revision for each, revision in inside.items() if revision},
    )
