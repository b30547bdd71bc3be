"""The tree of inputs: from a record back to the bars, by the event_ids of each record's inputs.

This module knows no topic. A record's inputs are the ids in ``inputs``, and in an inbox record the field that
ends in ``_event_id``. The topology says which topics its stage reads.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tapedeck.streams import identity
from tapedeck.streams.merge import Part
from tapedeck.streams.topology import Topology
from tapedeck.tape.explain.describe import told
from tapedeck.tape.explain.lookup import Found, Lookup
from tapedeck.topics.catalogue import CATALOGUE, topic

FEW = 8
"""Records with at most this many inputs show all of them."""
MOST = 16
"""Of more inputs of one topic than this, the newest are shown."""
ALL_DEPTH = 10
"""How deep ``--all`` goes: each list names the list before it, back to the first."""
_SUFFIX = "_event_id"


@dataclass
class Fold:
    """Inputs that are not shown: how many of which topic, and their event_ids."""

    topic: str
    event_ids: list[str]


@dataclass
class Node:
    """One record of the tree. ``found`` is None if the log does not hold it, or no longer does.

    ``beside`` marks the record that says why another one exists, made from the same inputs.
    """

    event_id: str
    found: Found | None
    beside: bool = False
    repeated: bool = False
    inputs: list["Node"] = field(default_factory=list)
    folds: list[Fold] = field(default_factory=list)

    def __iter__(self) -> Iterator["Node"]:
        """This node and all below it, each record once."""
        yield self
        for node in self.inputs:
            for each in node:
                if not each.repeated:
                    yield each


def named_inputs(topology: Topology, found: Found) -> dict[str, tuple[str, ...]]:
    """The event_ids of a record's inputs, and the topics that may hold each."""
    topics = candidates(topology, found.topic)
    named = {str(each): topics for each in found.body.get("inputs", ())}
    for name, content in payload(found.body).items():
        if name.endswith(_SUFFIX) and isinstance(content, str):
            named[content] = _topics_of(topology, name.removesuffix(_SUFFIX))
    return named


def _topics_of(topology: Topology, record: str) -> tuple[str, ...]:
    """The topics that may hold a record that an inbox record names: a signal is in any topic of signals."""
    if record == "signal":
        return topology.signal_topics
    known = {each.name for each in CATALOGUE}
    return tuple(name for name in (record, f"{record}s", f"{record}_events") if name in known)


def payload(body: dict[str, Any]) -> dict[str, Any]:
    """The record inside a record of ``account_inbox``; nothing for any other."""
    inner = body.get("payload")
    return inner[1] if isinstance(inner, tuple) and isinstance(inner[1], dict) else {}


def candidates(topology: Topology, name: str) -> tuple[str, ...]:
    """The topics that can hold the inputs of a record of ``name``: what its stage reads, then writes.

    For a source, what it is made of.
    """
    spec = topology.writer(name)
    if spec is not None:
        return (*spec.inputs, *spec.outputs)
    if (words := told(topology, name)) is not None and words.made_of:
        return words.made_of
    return tuple(each.name for each in CATALOGUE.audited if each.schema)


def parts_of(lookup: Lookup, name: str, body: dict[str, Any]) -> list[Part]:
    """The partition of topic ``name`` for ``body``; all partitions if ``body`` does not say."""
    about = payload(body) | body
    chosen = topic(name)
    if chosen.part is None or about.get(chosen.part) is not None:
        return [(name, lookup.layout.partition(name, about))]
    return [(name, partition) for partition in range(lookup.layout.partitions(name))]


class Walker:
    """Builds trees. ``depth`` bounds the levels; ``everything`` also shows what is normally folded."""

    def __init__(
        self, topology: Topology, lookup: Lookup, *, depth: int | None = None, everything: bool = False
    ) -> None:
        self._topology, self._lookup = topology, lookup
        self._everything = everything
        self._depth = depth if depth is not None or not everything else ALL_DEPTH
        self._seen: set[str] = set()

    def walk(self, found: Found, level: int = 0, symbol: str | None = None) -> Node:
        """The tree of ``found``. ``symbol``: that of the records above."""
        repeated = found.event_id in self._seen
        node = Node(found.event_id, found, repeated=repeated)
        self._seen.add(found.event_id)
        if repeated:
            return node
        own = str(found.body.get("symbol") or payload(found.body).get("symbol") or symbol or "")
        reason = self._beside(found)
        if reason is not None:
            node.inputs = [self._opened(reason, level, own)]
            node.inputs[0].beside = True
            return node
        named = named_inputs(self._topology, found)
        inputs = self._resolve(found, named)
        shown, folded = self._choose(found, list(named), inputs, own, level)
        for event_id in shown:
            there = inputs.get(event_id)
            node.inputs.append(self._opened(there, level, own) if there else Node(event_id, None))
        for event_id in folded:
            _fold(node.folds, inputs[event_id].topic if event_id in inputs else "", event_id)
        return node

    def _opened(self, found: Found, level: int, symbol: str) -> Node:
        return self.walk(found, level + 1, symbol)

    def _choose(
        self, found: Found, named: Sequence[str], inputs: dict[str, Found], symbol: str, level: int
    ) -> tuple[list[str], list[str]]:
        """Which inputs to show: all if there are few, else those of the symbol.

        Never the list before a list.
        """
        if self._depth is not None and level >= self._depth:
            return [], list(named)
        if self._everything:
            return list(named), []

        def is_shown(event_id: str) -> bool:
            there = inputs.get(event_id)
            if there is None:
                return len(named) <= FEW
            if there.topic == found.topic:
                return False
            return len(named) <= FEW or there.body.get("symbol") == symbol

        chosen = [event_id for event_id in named if is_shown(event_id)]
        crowd = _crowd([inputs[event_id] for event_id in chosen if event_id in inputs])
        shown = [event_id for event_id in chosen if event_id not in crowd]
        return shown, [event_id for event_id in named if event_id not in shown]

    def _resolve(self, found: Found, named: dict[str, tuple[str, ...]]) -> dict[str, Found]:
        inputs: dict[str, Found] = {}
        for topics in dict.fromkeys(named.values()):
            wanted = [event_id for event_id, each in named.items() if each == topics]
            parts = [part for name in topics for part in parts_of(self._lookup, name, found.body)]
            inputs |= self._lookup.find(wanted, parts, found.time_us, found.header("tape-cause"))
        return inputs

    def _beside(self, found: Found) -> Found | None:
        """The record that says why ``found`` exists, made by the same step from the same inputs."""
        words = told(self._topology, found.topic)
        if words is None or not words.because:
            return None
        name = words.because
        natural, inputs = topic(name).natural_key, found.body["inputs"]
        wanted = identity.event_id(
            name,
            (found.body[each] for each in natural),
            config_digest=found.body["config_digest"],
            inputs=inputs,
        )
        parts = parts_of(self._lookup, name, found.body)
        return self._lookup.find([wanted], parts, found.time_us).get(wanted)


def _crowd(inputs: Sequence[Found]) -> set[str]:
    """Those beyond the newest MOST of their topic."""
    by_topic: dict[str, list[Found]] = {}
    for found in sorted(inputs, key=lambda each: -each.time_us):
        by_topic.setdefault(found.topic, []).append(found)
    return {found.event_id for mine in by_topic.values() for found in mine[MOST:]}


def _fold(folds: list[Fold], name: str, event_id: str) -> None:
    for fold in folds:
        if fold.topic == name:
            return fold.event_ids.append(event_id)
    return folds.append(Fold(name, [event_id]))
