"""The inputs of a decision by topic: those that it names, else the newest earlier record of the topic."""

from bisect import bisect_left
from collections.abc import Set
from typing import Any

from tapedeck.tape.why.symbol_tape import SymbolTape
from tapedeck.tape.why.way import Way
from tapedeck.topics.catalogue import topic

Body = dict[str, Any]


class Beside:
    """The records of ``tape``, each topic's by its time."""

    def __init__(self, way: Way, tape: SymbolTape) -> None:
        self._way, self._recording = way, tape.recording
        self._sorted: dict[str, list[Body]] = {}

    def of(self, decision: Body) -> dict[str, Body | None]:
        """The inputs of ``decision`` by topic, as far as they are kept."""
        spec = self._way.decider
        found = {name: self._named(decision, name) for name in spec.inputs}
        t = int(decision[self._way.time_of(self._way.spine[-1])])
        for join in spec.joins:
            self._before(join.topic, t, found)
        for name in spec.outputs:
            found[name] = self._last(name, t)
        return found

    def made_of(self, event_ids: Set[str], name: str) -> Body | None:
        """The first record of topic ``name`` that names one of ``event_ids`` as its input."""
        bodies = self._recording.bodies(name)
        return next((body for body in bodies if not event_ids.isdisjoint(body.get("inputs", ()))), None)

    def _before(self, name: str, t: int, found: dict[str, Body | None]) -> None:
        """The inputs of the joined record of topic ``name``; without one, what existed at ``t``."""
        spec, body = self._way.topology.writer(name), found[name]
        if spec is None:
            return
        at = t if body is None else int(body[self._way.time_of(name)])
        for other in spec.outputs:
            if other not in found:
                found[other] = None if body is None else self._named(body, other)
        for other in spec.inputs:
            if other not in found:
                found[other] = self._last(other, at + 1)
                self._before(other, at, found)

    def _named(self, body: Body, name: str) -> Body | None:
        known = self._recording[name].bodies
        return next((known[each] for each in body["inputs"] if each in known), None)

    def _last(self, name: str, before: int) -> Body | None:
        """The newest record of topic ``name`` before a time.

        For topics without symbols, the newest of all.
        """
        field = self._way.time_of(name)
        if name not in self._sorted:
            self._sorted[name] = sorted(self._recording.bodies(name), key=lambda body: int(body[field]))
        bodies = self._sorted[name]
        is_source = self._way.topology.writer(name) is None and not topic(name).of_symbol
        n = len(bodies) if is_source else bisect_left(bodies, before, key=lambda body: int(body[field]))
        return bodies[n - 1] if n else None
