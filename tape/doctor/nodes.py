"""The path of a minute: every process that ends minutes, what it waits for, and how far it is."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tapedeck.connectors.scoring.loop import STAGE as SCORER
from tapedeck.connectors.scoring.order import INPUTS
from tapedeck.connectors.scoring.records import TOPIC as SCORED
from tapedeck.streams.protocol import MINUTE_US, StageSpec
from tapedeck.tape.doctor.plan import DISPATCHER
from tapedeck.tape.doctor.snapshot import Snapshot
from tapedeck.topics.catalogue import topic

LIMIT_US = 3 * MINUTE_US
SCORER_LIMIT_US = 2 * MINUTE_US
_BESIDE_US = 2 * MINUTE_US


class Node(NamedTuple):
    """One process that ends minutes. ``ahead``: the label that all it waits for have reached, ``own`` its
    own, None without a watermark. ``moved``: its label rose while the doctor looked, None if it looked once.
    ``waits``: it stands where an optional input of it stands. ``inputs``: what it reads, where only its
    heartbeats tell how far it is.
    """

    stage: str
    ahead: int | None
    own: int | None
    moved: bool | None
    limit: int = LIMIT_US
    waits: bool = False
    inputs: tuple[str, ...] = ()


def nodes(snap: Snapshot) -> Iterator[Node]:
    """In the order in which a minute passes them."""
    topology, scored = snap.topology, False
    writers = {spec.name for name in INPUTS if (spec := topology.writer(name)) is not None}
    for spec in topology.market:
        left = {each.name for each in topology.market[topology.market.index(spec) :]}
        if writers and not scored and not writers & left:
            yield _scorer(snap)
            scored = True
        yield _stage(snap, spec)
    if writers and not scored:
        yield _scorer(snap)
    for each in snap.expected:
        if each.stage.startswith(DISPATCHER):
            yield _beaten(snap, each.stage, topology.signal_topics)


def _stage(snap: Snapshot, spec: StageSpec) -> Node:
    waits_for = (spec.trigger, *(join.topic for join in spec.joins if not join.optional))
    marked = [name for name in spec.outputs if topic(name).watermarked]
    if not marked:
        return _beaten(snap, spec.name, waits_for)
    own, moved = _reached(snap, marked)
    optional = (_ahead(snap, (join.topic,)) for join in spec.joins if join.optional)
    waits = any(
        own is not None and label is not None and 0 <= own - label <= _BESIDE_US for label in optional
    )
    return Node(spec.name, _ahead(snap, waits_for), own, moved, waits=waits)


def _scorer(snap: Snapshot) -> Node:
    """It goes on without an input that is silent."""
    known = [name for name in INPUTS if snap.marks.get(name) and snap.marks[name].label is not None]
    return Node(SCORER, _ahead(snap, known[:1]), *_reached(snap, (SCORED,)), SCORER_LIMIT_US)


def _beaten(snap: Snapshot, stage: str, waits_for: Iterable[str]) -> Node:
    """One whose progress only its heartbeats tell."""
    beats, inputs = snap.beats_of(stage), tuple(waits_for)
    looked = [each.moved for each in beats if each.moved is not None]
    return Node(
        stage,
        _ahead(snap, inputs),
        _lowest(each.watermark for each in beats),
        any(each.advanced for each in beats) if looked else None,
        inputs=inputs,
    )


def _ahead(snap: Snapshot, names: Iterable[str]) -> int | None:
    return _lowest(mark.label if (mark := snap.marks.get(name)) else None for name in names)


def _reached(snap: Snapshot, names: Iterable[str]) -> tuple[int | None, bool | None]:
    """The newest label known of all ``names``, and whether it rose."""
    marks = [snap.marks[name] for name in names if name in snap.marks]
    first = _lowest(each.label for each in marks)
    if all(each.later is None for each in marks):
        return first, None
    later = _lowest(each.label if each.later is None else each.later for each in marks)
    return later, later is not None and (first is None or later > first)


def _lowest(labels: Iterable[int | None]) -> int | None:
    """The lowest; None if there is none, or one is not known."""
    found = list(labels)
    known = [label for label in found if label is not None]
    return min(known) if found and len(known) == len(found) else None
