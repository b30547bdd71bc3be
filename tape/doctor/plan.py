"""Which processes a pipeline must have: from its topology and its configuration, whatever starts them."""

from collections.abc import Iterator

from tapedeck.connectors.postgres.offsets import DEFAULT_GROUP as SINK
from tapedeck.connectors.scoring.loop import STAGE as SCORER
from tapedeck.connectors.scoring.order import INPUTS
from tapedeck.connectors.tapes.writers import LIVE, LIVE_NEWS
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import StageSpec
from tapedeck.streams.topology import Topology
from tapedeck.tape.doctor.snapshot import Expected, Feed
from tapedeck.topics.catalogue import Layout

DISPATCHER = "dispatch-"
"""What the name begins with under which an account's dispatcher reports."""
EXCHANGE = "exchange"
"""The process that has no heartbeat: the doctor asks it by itself."""


def expected(topology: Topology, layout: Layout, config: Config | None, feed: Feed) -> tuple[Expected, ...]:
    """What must report, in the order in which records pass it.

    Without ``config`` the accounts are not known. Only live data has ingesters.
    """
    return tuple(_expected(topology, layout, config, feed))


def _expected(topology: Topology, layout: Layout, config: Config | None, feed: Feed) -> Iterator[Expected]:
    if feed is Feed.LIVE:
        yield Expected(LIVE, (0,), "tape ingest bars")
        yield Expected(LIVE_NEWS, (0,), "tape ingest news")
    for spec in topology.market:
        yield Expected(spec.name, homes(spec, layout), f"tape worker {spec.name}")
    if any(topology.writer(name) for name in INPUTS):
        yield Expected(SCORER, (0,), "tape scorer")
    if config is not None and topology.accounts:
        inbox = topology.account.trigger
        for account in config.accounts:
            home = layout.partition(inbox, {"account_id": account.account_id})
            name = f"{DISPATCHER}{account.account_id}"
            yield Expected(name, (home,), f"tape dispatch {account.account_id}")
    yield Expected(SINK, (0,), "tape sink")


def homes(spec: StageSpec, layout: Layout) -> tuple[int, ...]:
    """The partitions of which a stage has a task each."""
    return (0,) if spec.scale == "single" else tuple(range(layout.partitions(spec.trigger)))
