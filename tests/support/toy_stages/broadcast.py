"""A topology of one toy stage that joins a topic of one partition to one of several."""

from tapedeck.streams.protocol import Join, StageSpec
from tapedeck.streams.topology import Topology

TOPOLOGY = Topology(
    StageSpec(
        name="features",
        folder="tests.support.toy_stages.chained",
        trigger="bars",
        joins=(Join("scores"),),
        outputs=("features", "bars.late"),
        doc="every task reads all scores",
    )
)
