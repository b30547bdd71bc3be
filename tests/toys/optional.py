"""A topology of one toy stage that joins a topic of one partition where it is there."""

from tapedeck.streams.contract import Join, StageSpec
from tapedeck.streams.topology import Topology

TOPOLOGY = Topology(
    StageSpec(
        name="features",
        folder="tests.toys.chained",
        trigger="bars",
        joins=(Join("scores", optional=True),),
        outputs=("features", "bars.late"),
        doc="a minute may be declared to be without scores",
    )
)
