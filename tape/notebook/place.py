"""Where a notebook's records are: named by it, by the environment, or in the stack that runs here."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tapedeck.connectors.config_file import load
from tapedeck.connectors.kafka.admin import describe
from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.cluster import BOOTSTRAP, Cluster
from tapedeck.connectors.kafka.identity import cluster_id_of
from tapedeck.connectors.registry import Registry, use_registry
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.blocks import Source
from tapedeck.streams.config.document import Config
from tapedeck.streams.named import TOPOLOGY_VARIABLE
from tapedeck.tape.local.where import DATABASE, PREFIX, look
from tapedeck.topics.catalogue import Layout

_LAG = "min.compaction.lag.ms"


def _leave() -> None:
    """The caller closes a source that it passed in."""


class Place(NamedTuple):
    """Open access to the records. ``cluster`` is None if the source is not a cluster."""

    source: Source
    close: Callable[[], None] = _leave
    cluster: Cluster | None = None
    database: str | None = None
    config: Path | None = None
    topology: str = ""

    @property
    def layout(self) -> Layout:
        return self.source.layout

    def compaction_lag(self, name: str) -> int | None:
        """For how many ms the cluster keeps every record of topic ``name``; None if unknown."""
        if self.cluster is None:
            return int(self.layout.topic_config(name)[_LAG])
        text = describe(self.cluster)[self.layout.wire_name(name)].config.get(_LAG, "")
        return int(text) if text.isdecimal() else None

    def environment(self) -> dict[str, str]:
        """The variables by which a command of ``tape`` finds the same cluster."""
        told = {
            **(self.cluster or Cluster("", self.layout)).environment(),
            "TAPE_CONFIG": str(self.config or ""),
            TOPOLOGY_VARIABLE: self.topology,
            "DATABASE_URL": self.database or "",
        }
        return {name: value for name, value in told.items() if value}

    def document(self) -> Config:
        """The current configuration; the default one if none is named."""
        return load(self.config) if self.config else Config()


def find(bootstrap: str | None, prefix: str | None, database: str | None) -> Place:
    """The cluster to read from, which was checked to answer.

    Raises Fatal if none is named and no local stack runs, or if no broker answers.
    """
    # A tap needs no document: the path in TAPE_CONFIG often does not exist from a notebook's folder.
    where = look(
        {BOOTSTRAP: bootstrap or None, PREFIX: prefix, DATABASE: database or None}, is_document_needed=False
    )
    if not where.is_named:
        raise Fatal(
            "no cluster is named and no local stack runs here",
            value=str(where.folder),
            remedy="start one with `tape up` (or `make demo`), set KAFKA_BOOTSTRAP_SERVERS, or call "
            'td.connect(bootstrap="host:9092")',
        )
    cluster = where.say().cluster()
    cluster_id_of(cluster)
    where.topology()  # so that its topics can be read
    if registry := Registry.described(where.told()):
        _registered(registry, cluster.prefix)
    source = KafkaSource(cluster)
    database_url, topology = where.get(DATABASE) or None, where.get(TOPOLOGY_VARIABLE)
    return Place(source, source.close, cluster, database_url, where.config, topology)


@cache
def _registered(registry: Registry, prefix: str) -> None:
    use_registry(registry, prefix)
