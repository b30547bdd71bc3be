"""The way of a minute through a topology: from its source, stage by stage, to the accounts' signals."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from functools import cache, cached_property
from typing import NamedTuple

from tapedeck.connectors.dispatch.inputs import routed
from tapedeck.schemas.codec import load_schema
from tapedeck.streams.protocol import StageSpec
from tapedeck.streams.topology import Topology, definition_of
from tapedeck.streams.trail import Trail
from tapedeck.tape.why.words import Missing
from tapedeck.topics.catalogue import topic

_TIME = {"type": "long", "logicalType": "timestamp-micros"}


class Wait(NamedTuple):
    """How a topic is waited for: ``joined``, up to the minute before, else up to the minute itself;
    ``unless`` one of these inputs was absent."""

    joined: bool
    unless: Set[str]


class Way:
    """The path of a symbol's minute through ``topology``."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._trails = {spec.name: definition_of(spec).trail or _plain(spec) for spec in topology}
        self._waits: dict[str, dict[str, set[Wait]]] = {}

    def trail(self, spec: StageSpec) -> Trail:
        """A stage's description of its part; by default each minute has a record."""
        return self._trails[spec.name]

    def time_of(self, name: str) -> str:
        """The field with the minute, or evaluation, of a record of topic ``name``."""
        spec, times = self.topology.writer(name), _times(name)
        own = [each for each in topic(name).natural_key if each in times]
        if not own and spec is not None and name != self.trail(spec).topic:
            own = [each for each in (self.time_of(self.trail(spec).topic),) if each in times]
        return own[0] if own else "event_time"

    @cached_property
    def decider(self) -> StageSpec:
        """The market stage that decides the accounts' signals; the last one if none does."""
        writers = (self.topology.writer(name) for name in routed(self.topology))
        return next((spec for spec in writers if spec is not None), self.topology.market[-1])

    @cached_property
    def spine(self) -> tuple[str, ...]:
        """The topics that have a record of each minute, the source's first, the decision last."""
        found = [self.trail(self.decider).topic]
        spec: StageSpec | None = self.decider
        while spec is not None:
            found.append(spec.trigger)
            spec = self.topology.writer(spec.trigger)
        return tuple(reversed(found))

    @property
    def head(self) -> str:
        """The source that a minute comes from."""
        return self.spine[0]

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The topics that trigger market stages and that no stage writes."""
        begun = {spec.trigger for spec in self.topology.market}
        return tuple(name for name in self.topology.sources if name in begun)

    @cached_property
    def places(self) -> tuple[str, ...]:
        """Where a minute can end, in order."""
        of_stages = (place for spec in self.topology for place in self.trail(spec).places)
        return tuple(dict.fromkeys((*self.sources, *of_stages)))

    def place(self, name: str) -> str:
        """The place of topic ``name``."""
        spec = self.topology.writer(name)
        if spec is None or name in self.trail(spec).places:
            return name
        return self.trail(spec).places[0]

    def told(self) -> Iterator[str]:
        """The topics about a minute in the market, in order."""
        yield from self.sources
        yield from (self.trail(spec).topic for spec in self.topology.market)

    @cached_property
    def waited(self) -> tuple[str, ...]:
        """The topics that a decision waits for, itself the last, in the order of the pipeline."""
        found = self.waits(self.spine[-1])
        return tuple(name for name in (*self.sources, *self.topology.marked) if name in found)

    def waits(self, name: str) -> Mapping[str, set[Wait]]:
        """How to wait for each topic that a record of ``name`` needs, including its own."""
        if name not in self._waits:
            self._waits[name] = defaultdict(set)
            self._wait(name, Wait(False, frozenset()), self._waits[name])
        return self._waits[name]

    def _wait(self, name: str, how: Wait, found: dict[str, set[Wait]]) -> None:
        spec = self.topology.writer(name)
        if how in found[name]:
            return
        found[name].add(how)
        if spec is None:
            return
        for other in spec.outputs:  # the stage finishes a minute in all of them
            if other in self.trail(spec).places and topic(other).watermarked:
                found[other].add(how)
        self._wait(spec.trigger, how, found)
        for join in spec.joins:
            if self.topology.writer(join.topic) is not None:
                unless = how.unless | {join.topic} if join.optional else how.unless
                self._wait(join.topic, Wait(True, unless), found)


def _plain(spec: StageSpec) -> Trail:
    marked = [name for name in spec.outputs if topic(name).watermarked]
    return Trail(topic=(marked or spec.outputs)[0], places=(spec.name,), nothing=Missing.NO_RECORD)


@cache
def _times(name: str) -> tuple[str, ...]:
    """The fields of topic ``name`` that are times."""
    schema = topic(name).schema
    fields = load_schema(schema)["fields"] if schema else ()
    return tuple(field["name"] for field in fields if field["type"] == _TIME)
