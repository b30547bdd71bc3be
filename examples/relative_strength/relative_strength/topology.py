"""The shipped pipeline with ``strength`` and ``rsignals``: what TAPE_TOPOLOGY names."""

import relative_strength  # noqa: F401 - declares the topics that are named here
from tapedeck.streams.protocol import Join, StageSpec
from tapedeck.streams.stages.topology import TOPOLOGY as SHIPPED
from tapedeck.streams.topology import Topology

STRENGTH = StageSpec(
    name="strength",
    folder="relative_strength.strength",
    trigger="features",
    outputs=("universe_means", "strengths"),
    scale="single",
    period=60,
    doc="momentum of every symbol against the universe's mean, each minute",
)
RSIGNALS = StageSpec(
    name="rsignals",
    folder="relative_strength.rsignals",
    trigger="features",
    joins=(Join("strengths", optional=True),),
    outputs=("rsignals",),
    doc="a signal where a symbol is much stronger or weaker than the universe",
)


def pipeline() -> Topology:
    """The topology, made anew."""
    return Topology(*SHIPPED, STRENGTH, RSIGNALS)


TOPOLOGY = pipeline()
