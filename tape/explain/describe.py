"""One record in words: by its stage's description, else by its scalar fields."""

from collections.abc import Iterator

from tapedeck.streams.again import Held
from tapedeck.streams.telling import Body, Named, Told, scalars
from tapedeck.streams.topology import Topology, definition_of
from tapedeck.tape.explain.lookup import Found


def told(topology: Topology, name: str) -> Told | None:
    """The description of topic ``name``: from the stage that writes it.

    For a source, from the first that reads it.
    """
    writer = topology.writer(name)
    stages = [spec for spec in topology if name in spec.inputs] if writer is None else [writer]
    found = (definition_of(spec).told.get(name) for spec in stages)
    return next((each for each in found if each is not None), None)


def names(topology: Topology) -> Iterator[tuple[str, Named]]:
    """The topics whose records have ids besides the event_id, those nearest to the trade first."""
    for spec in reversed(topology.stages):
        for name, each in definition_of(spec).told.items():
            yield from ((name, named) for named in each.names)


def headline(topology: Topology, name: str, body: Body) -> str:
    """A record of topic ``name`` in one line."""
    words = told(topology, name)
    return words.headline(body) if words else scalars(name, body)


def details(topology: Topology, found: Found, held: Held | None = None) -> list[str]:
    """The lines below the headline, including what its stage's state held."""
    words = told(topology, found.topic)
    lines = words.details(found.body) if words and words.details else []
    return lines + ([held.text()] if held else [])
