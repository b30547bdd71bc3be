"""Which pipeline ``tape status`` and ``tape doctor`` look at, and what is known of it without asking."""

import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from tapedeck.connectors.alerts.settings import sinks_in
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.security import VARIABLES, Security
from tapedeck.connectors.tapes.writers import LIVE, LIVE_POSTS
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.topology import Topology
from tapedeck.tape.alerting.deliver import Memory
from tapedeck.tape.doctor.snapshot import DataSeen, DiskSeen, Feed, LocalProcess, SinkSeen
from tapedeck.tape.local import plan, state, status
from tapedeck.tape.local.disk import LEAST_BYTES, LOW_BYTES, Room
from tapedeck.tape.local.jars import KAFKA_VERSION
from tapedeck.tape.local.kafka import made_by
from tapedeck.tape.local.places import stack_folder
from tapedeck.tape.local.state import EXCHANGE_URL, StackState
from tapedeck.tape.local.where import DATABASE, Value, Where, look
from tapedeck.tape.status.collect import Target

SOURCE = "TAPE_SOURCE"
"""Who writes the source topics of a cluster that is no local stack: ``live`` (the default) or ``tape``."""
RELEASE = "TAPE_EXPECTED_RELEASE"
ALERT_STATE = "TAPE_ALERT_STATE"
"""The file that keeps what the alert sinks were told; by default in the folder of the stack."""
ALERTS_LOG = "alerts.log"
_HASH_CHARACTERS = 12
_REGISTRY = ("SCHEMA_REGISTRY_SSL_CA_LOCATION", "SCHEMA_REGISTRY_SSL_CERTIFICATE_LOCATION")


class Looked(NamedTuple):
    """The pipeline to look at, and the local stack that it is, if it is one."""

    target: Target
    folder: Path
    stack: StackState | None

    @property
    def alerts_log(self) -> Path | None:
        """Where a local stack's alarms are kept."""
        return self.folder / "logs" / ALERTS_LOG if self.stack is not None else None

    @property
    def pipeline(self) -> str:
        """What alarms call it."""
        return _pipeline(self.target.cluster, self.stack)

    @property
    def alert_state(self) -> Path:
        """Where it is kept what the alert sinks were told."""
        return _alert_state(self.folder, self.pipeline)


def looked_at(name: str | None, typed: Mapping[str, str | None], *, again: bool = False) -> Looked:
    """The stack called ``name``, else what the options, the environment or the folder name.

    ``again``: what may surprise has been said before.
    Raises Fatal if there is none, and as a document's reading does.
    """
    if name is None:
        where = look(typed) if again else look(typed).say()
    else:
        folder = stack_folder(name)
        known = state.running(folder)
        told = {each: Value(text, f"the local stack in {folder}") for each, text in known.told().items()}
        rest = {each: Value(text, each) for each, text in os.environ.items() if text and each not in told}
        where = Where({**rest, **told}, folder, known, None, frozenset())
    return Looked(target_of(where), where.folder, where.stack)


def target_of(where: Where) -> Target:
    """The pipeline of ``where``. Raises Fatal if none is named and no local stack runs."""
    cluster, topology = where.cluster(), where.topology()
    config = where.document() if where.config else None
    stack = where.stack
    return Target(
        cluster=cluster,
        topology=topology,
        config=config,
        feed=_feed(where),
        database_url=where.get(DATABASE),
        exchange_url=where.get(EXCHANGE_URL),
        release=where.get(RELEASE),
        sinks=_sinks(where),
        sink_faults=_sink_faults(where, cluster),
        data=_data(where.folder, stack) if stack is not None else None,
        disk=_disk(where.folder) if stack is not None else None,
        local=_processes(stack, topology, config or Config()) if stack is not None else (),
        is_local=stack is not None,
        posts=stack is not None and any(each.name == LIVE_POSTS for each in stack.processes),
        files=_files(where, cluster.security),
    )


def _feed(where: Where) -> Feed:
    if where.stack is not None:
        return Feed.LIVE if any(each.name == LIVE for each in where.stack.processes) else Feed.TAPE
    text = where.get(SOURCE) or Feed.LIVE
    try:
        return Feed(text)
    except ValueError:
        remedy = f"write {' or '.join(Feed)}"
        raise Fatal(f"{SOURCE} does not say who writes the sources", value=text, remedy=remedy) from None


def _sinks(where: Where) -> tuple[str, ...]:
    """A local stack keeps its alarms in a log of its own: it is somebody's desk, and nobody is on call."""
    named = sinks_in(where.told())
    names = (*named.usable, *named.refused)
    return names if names or where.stack is None else (str(where.folder / "logs" / ALERTS_LOG),)


def _sink_faults(where: Where, cluster: Cluster) -> tuple[SinkSeen, ...]:
    """The sinks with a wrong setting, and those that failed when something was last sent."""
    named = sinks_in(where.told())
    memory = Memory(_alert_state(where.folder, _pipeline(cluster, where.stack)))
    memory.load()
    wrong = (SinkSeen(name, error.what, error.remedy) for name, error in named.refused.items())
    return (*wrong, *memory.failed(named.usable))


def _pipeline(cluster: Cluster, stack: StackState | None) -> str:
    if stack is not None:
        return f"stack {stack.name}"
    return f"{cluster.prefix} on {cluster.bootstrap}" if cluster.prefix else cluster.bootstrap


def _alert_state(folder: Path, pipeline: str) -> Path:
    if named := os.environ.get(ALERT_STATE):
        return Path(named).expanduser()
    return folder / f"alerts-{sha256(pipeline.encode()).hexdigest()[:_HASH_CHARACTERS]}.json"


def _data(folder: Path, stack: StackState) -> DataSeen | None:
    """The data folder of the stack's own broker."""
    if not any(each.name == "kafka" for each in stack.processes):
        return None
    place = folder / "kafka"
    return DataSeen(str(place), made_by(place), KAFKA_VERSION)


def _disk(folder: Path) -> DiskSeen:
    free, place = Room(folder).left()
    return DiskSeen(str(place), free, LOW_BYTES, LEAST_BYTES)


def _processes(stack: StackState, topology: Topology, config: Config) -> tuple[LocalProcess, ...]:
    stages = {each.name: each.stages for each in plan.workers(topology, config)}
    return tuple(
        LocalProcess(line.name, line.pid, line.alive, line.restarts, stages.get(line.name, ()))
        for line in status.processes(stack)
    )


def _files(where: Where, security: Security) -> dict[str, Path]:
    """The certificates that settings name, for Kafka, Postgres and the registry."""
    named = {
        VARIABLES["ssl.ca.location"]: security.ca,
        VARIABLES["ssl.certificate.location"]: security.certificate,
        **{each: where.get(each) for each in _REGISTRY},
    }
    try:
        database = conninfo_to_dict(where.get(DATABASE))
    except ProgrammingError:
        database = {}
    for each in ("sslrootcert", "sslcert"):
        path = str(database.get(each) or "")
        named[f"{each} of {DATABASE}"] = "" if path == "system" else path
    return {setting: Path(path) for setting, path in named.items() if path}
