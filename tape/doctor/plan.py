"""Which processes a pipeline must have: from its topology and its configuration, whatever starts them."""

from collections.abc import Iterator

from tapedeck.connectors.postgres.offsets import DEFAULT_GROUP as SINK
from tapedeck.connectors.scoring.loop import STAGE as SCORER
from tapedeck.connectors.scoring.order import INPUTS
from tapedeck.connectors.tapes.writers import LIVE, LIVE_NEWS, LIVE_POSTS
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import StageSpec
from tapedeck.streams.topology import Topology
from tapedeck.tape.doctor.snapshot import Expected, Feed
from tapedeck.topics.catalogue import Layout

DISPATCHER = "dispatch-"
"""What the name begins with under which an account's dispatcher reports."""
EXCHANGE = "exchange"
"""The process that has no heartbeat: the doctor asks it by itself."""


def expected(
    topology: Topology, layout: Layout, config: Config | None, feed: Feed, *, posts: bool = False
) -> tuple[Expected, ...]:
    """What must report, in the order in which records pass it.

    Without ``config`` the accounts are not known. Only live data has ingesters, and ``posts`` says whether
    Reddit is read beside it.
    """
    ingesters = ((LIVE, "bars"), (LIVE_NEWS, "news"), *([(LIVE_POSTS, "posts")] if posts else []))
    live = [Expected(name, (0,), f"tape ingest {what}") for name, what in ingesters]
    return (*(live if feed is Feed.LIVE else ()), *_expected(topology, layout, config))


def _expected(topology: Topology, layout: Layout, config: Config | None) -> Iterator[Expected]:
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
