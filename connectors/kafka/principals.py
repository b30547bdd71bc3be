"""The principals on a cluster and what each must be allowed to do: derived from topology and catalogue."""

from collections.abc import Iterable

from tapedeck.connectors.dispatch.inputs import beside
from tapedeck.connectors.kafka.acls import (
    ADMIN,
    CREATE,
    DELETE,
    DESCRIBE,
    INGEST,
    OPERATOR,
    READ,
    REPORTS,
    SCORER,
    SINK,
    Rights,
    copying,
)
from tapedeck.connectors.scoring.order import INPUTS
from tapedeck.streams.protocol import StageSpec
from tapedeck.streams.topology import Topology
from tapedeck.topics.catalogue import CATALOGUE, Layout


def principals(topology: Topology, layout: Layout, accounts: Iterable[str]) -> dict[str, Rights]:
    """Every kind of process and what it does: one principal each, a dispatcher for each of ``accounts``."""
    everything = tuple(topic.name for topic in CATALOGUE)
    return {
        INGEST: ingest(topology),
        **{spec.name: worker(spec, layout, topology.root(spec)) for spec in topology.market},
        **{f"dispatch-{account}": dispatcher(topology, account, layout) for account in accounts},
        SCORER: scorer(layout),
        SINK: copying(tuple(topic.name for topic in CATALOGUE.audited)),
        OPERATOR: Rights(reads=everything, writes=("controls",), on_groups=(DESCRIBE,)),
        ADMIN: Rights(
            reads=everything, writes=everything, on_topics=(CREATE, DELETE), on_groups=(READ, DELETE)
        ),
    }


def ingest(topology: Topology) -> Rights:
    """The writer of the source topics: it waits for the stages' watermarks, and resumes where it stopped."""
    sources = tuple(topic.name for topic in CATALOGUE if topic.owner in ("play", "ingest"))
    reads = dict.fromkeys((*sources, *topology.marked, *topology.optional, "heartbeats", "positions"))
    return Rights(reads=tuple(reads), writes=(*sources, *REPORTS))


def scorer(layout: Layout) -> Rights:
    """The scorer: it looks at its own output to know what it has scored."""
    own = tuple(topic.name for topic in CATALOGUE if topic.owner == SCORER)
    return Rights(reads=(*INPUTS, *own), writes=(*own, *REPORTS), groups=(layout.group(SCORER),))


def worker(spec: StageSpec, layout: Layout, source: str = "") -> Rights:
    """A worker of one stage. Of its ``source`` it reads watermarks, for the metric of its delay alone."""
    rights = _stage(spec, layout.group(spec.name))
    return rights | Rights(reads=(source,)) if source else rights


def dispatcher(topology: Topology, account: str, layout: Layout) -> Rights:
    """The dispatcher of one account: the account stage, and what it appends to the account's inbox."""
    spec = topology.account
    routing = Rights(reads=beside(topology), writes=spec.inputs)
    return _stage(spec, layout.group(f"dispatch-{account}")) | routing


def _stage(spec: StageSpec, group: str) -> Rights:
    return Rights(
        reads=(*spec.inputs, spec.changelog),
        writes=(*spec.outputs, spec.changelog, *REPORTS),
        groups=(group,),
    )
