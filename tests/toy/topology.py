"""The shipped pipeline with the stage moods, and two stages that join it where it is there."""

from dataclasses import replace

from tapedeck.streams.protocol import Join, StageSpec
from tapedeck.streams.stages.topology import TOPOLOGY as SHIPPED
from tapedeck.streams.topology import Topology

LISTENING = ("scores", "signals")
MOODS = StageSpec(
    name="moods",
    folder="tests.toy.moods",
    trigger="toy_notes",
    outputs=("toy_moods",),
    doc="how good the notes of a symbol are",
)


def pipeline() -> Topology:
    """The topology, made anew: that declares its changelogs."""
    return Topology(
        MOODS,
        *(
            replace(
                spec, folder=f"tests.toy.{spec.name}", joins=(*spec.joins, Join("toy_moods", optional=True))
            )
            if spec.name in LISTENING
            else spec
            for spec in SHIPPED
        ),
    )


TOPOLOGY = pipeline()
