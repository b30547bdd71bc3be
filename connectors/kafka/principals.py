"""Who speaks to the cluster, and what each must be allowed: derived from the topology and the catalogue."""

from collections.abc import Iterable

from tapedeck.connectors.dispatch.newest import NAMES as NEWEST
from tapedeck.connectors.kafka.acls import (
    ADMIN,
    CREATE,
    DELETE,
    DESCRIBE,
    INGEST,
    OPERATOR,
    READ,
    REPORTS,
    SINK,
    Rights,
    copying,
)
from tapedeck.streams.topology import MARKET_STAGES, spec_of, watermarked
from tapedeck.topics.catalogue import CATALOGUE, Layout

_EVERYTHING = tuple(topic.name for topic in CATALOGUE)
_AUDITED = tuple(topic.name for topic in CATALOGUE if topic.audited)
_SOURCES = tuple(topic.name for topic in CATALOGUE if topic.owner == "play")


def principals(layout: Layout, accounts: Iterable[str]) -> dict[str, Rights]:
    """Every kind of process and what it does: one principal each, a dispatcher for each of ``accounts``."""
    return {
        INGEST: ingest(),
        **{stage: market_stage(stage, layout) for stage in MARKET_STAGES},
        **{f"dispatch-{account}": dispatcher(account, layout) for account in accounts},
        SINK: copying(_AUDITED),
        OPERATOR: Rights(reads=_EVERYTHING, writes=("controls",), on_groups=(DESCRIBE,)),
        ADMIN: Rights(
            reads=_EVERYTHING, writes=_EVERYTHING, on_topics=(CREATE, DELETE), on_groups=(READ, DELETE)
        ),
    }


def ingest() -> Rights:
    """Who writes the source topics: it waits for the stages' watermarks, and goes on where it stopped."""
    marked = (name for stage in MARKET_STAGES for name in watermarked(spec_of(stage).outputs))
    return Rights(reads=(*_SOURCES, *marked, "heartbeats"), writes=_SOURCES)


def market_stage(name: str, layout: Layout) -> Rights:
    """A worker of one market stage."""
    return _stage(name, layout.group(name))


def dispatcher(account: str, layout: Layout) -> Rights:
    """The dispatcher of one account: the account stage, and what it appends to the account's inbox."""
    beside = Rights(reads=("signals", "controls", *NEWEST), writes=("account_inbox",))
    return _stage("account", layout.group(f"dispatch-{account}")) | beside


def _stage(name: str, group: str) -> Rights:
    spec = spec_of(name)
    return Rights(
        reads=(*spec.inputs, spec.changelog),
        writes=(*spec.outputs, spec.changelog, *REPORTS),
        groups=(group,),
    )
