"""One record in words: what its stage tells of it, by its scalar fields where no stage does."""

from collections.abc import Iterator

from tapedeck.streams.again import Held
from tapedeck.streams.telling import Body, Named, Told, scalars
from tapedeck.streams.topology import Topology, definition_of
from tapedeck.tape.explain.lookup import Found


def told(topology: Topology, name: str) -> Told | None:
    """What is told of topic ``name``: by the stage that writes it; of a source by the first that reads it."""
    writer = topology.writer(name)
    stages = [spec for spec in topology if name in spec.inputs] if writer is None else [writer]
    found = (definition_of(spec).told.get(name) for spec in stages)
    return next((each for each in found if each is not None), None)


def names(topology: Topology) -> Iterator[tuple[str, Named]]:
    """The topics whose records have ids beside the event_id, what is nearest to the trade first."""
    for spec in reversed(topology.stages):
        for name, each in definition_of(spec).told.items():
            yield from ((name, named) for named in each.names)


def headline(topology: Topology, name: str, body: Body) -> str:
    """What a record of topic ``name`` says, in one line."""
    words = told(topology, name)
    return words.headline(body) if words else scalars(name, body)


def details(topology: Topology, found: Found, held: Held | None = None) -> list[str]:
    """The lines below the headline, and what its stage's state held for it."""
    words = told(topology, found.topic)
    lines = words.details(found.body) if words and words.details else []
    return lines + ([held.text()] if held else [])
