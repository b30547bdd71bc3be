"""Embedded Kafka: one real broker in KRaft mode on loopback, with its own cluster id."""

import base64
import os
import signal
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import KafkaException

from tapedeck.connectors.kafka.cluster import Cluster, accepts
from tapedeck.connectors.kafka.identity import ask_cluster_id, cluster_id_of
from tapedeck.connectors.kafka.security import Security
from tapedeck.schemas.errors import Fatal
from tapedeck.tape.local import jars
from tapedeck.tape.local.places import LOOPBACK, free_ports, need_free
from tapedeck.tape.local.process import STOP_S, Child, Launch, tail

START_S = 60.0
_ATTEMPTS = 3
_META = "meta.properties"
_MADE_BY = "kafka.version"
"""Beside the broker's own files, so that a backup of the data has it. The broker reads folders only."""
_PORT_TAKEN = "Address already in use"
_ROUND_TRIP_S = 0.5

_HEAP = ("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError")
_LOGGING = (
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
)
# One node: every internal topic has one copy. The controller's timers only guard against other controllers.
# Only closed segments are compacted: at the default of 1 GiB a changelog would grow for months. For a segment
# of 16 MiB, indexes of 32 KiB are enough; the default reserves 10 MiB for each.
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{controller}
listeners={listeners},CONTROLLER://{controller}
advertised.listeners={listeners}
controller.listener.names=CONTROLLER
inter.broker.listener.name={between}
listener.security.protocol.map={protocols}
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
controller.quorum.election.timeout.ms=100
controller.quorum.election.backoff.max.ms=50
log.cleaner.dedupe.buffer.size=16777216
log.segment.bytes=16777216
log.index.size.max.bytes=1048576
num.network.threads=2
num.io.threads=4
"""
_CONTROLLER = "CONTROLLER"
_OWNER_ONLY = 0o600


@dataclass(frozen=True)
class Doors:
    """The listeners of a broker: the protocol of each by its name, the one for clients first.

    ``between``: the one for brokers and for the administrator; ``security`` is how to connect to it.
    ``options``: additional broker properties.
    """

    listeners: Mapping[str, str]
    controller: str
    between: str
    security: Security = field(default_factory=Security)
    options: Mapping[str, str] = field(default_factory=dict)


PLAIN = Doors({"PLAINTEXT": "PLAINTEXT"}, "PLAINTEXT", "PLAINTEXT")


class EmbeddedKafka:
    """A broker over ``folder`` (data, log, cluster id). A second start on the folder keeps its topics.

    ``port``: a free one by default. Raises Fatal with the end of the log if the broker does not start.
    """

    def __init__(
        self,
        folder: Path,
        cache: Path,
        *,
        port: int | None = None,
        jvm: tuple[str, ...] = (),
        doors: Doors = PLAIN,
    ) -> None:
        self.folder = folder.absolute()
        self.cache = cache
        self.cluster_id = ""
        self.log = self.folder / "kafka.log"
        self._wanted_port = port
        self._doors = doors
        self._addresses = dict.fromkeys(doors.listeners, f"{LOOPBACK}:0")
        self._jvm = jvm
        self._child: Child | None = None

    @property
    def bootstrap(self) -> str:
        """The address for clients."""
        return next(iter(self._addresses.values()))

    def address(self, listener: str) -> str:
        """The address of one of its listeners."""
        return self._addresses[listener]

    @property
    def cluster(self) -> Cluster:
        """The broker's cluster, without a prefix, for the administrator."""
        address, security = self._addresses[self._doors.between], self._doors.security
        return Cluster(address, expected_id=self.cluster_id, security=security)

    @property
    def child(self) -> Child:
        """The broker's process. Raises Fatal before the first launch."""
        if self._child is None:
            raise Fatal("the embedded Kafka has not been started", remedy="call start() first")
        return self._child

    @property
    def launched(self) -> bool:
        """Whether the process was ever started."""
        return self._child is not None

    def start(self) -> str:
        """Launch and wait; returns the bootstrap address."""
        self.launch()
        self.wait_ready()
        return self.bootstrap

    def launch(self) -> None:
        """Format the folder if it is new and start the process, without waiting for it."""
        classpath = jars.classpath(self.cache)
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        check_version(self.folder)
        settings = self._settings(data)
        java = [str(jars.java()), *_HEAP, *_LOGGING, *self._flags()]
        on_classpath = ["-cp", classpath]
        self.cluster_id = known_cluster_id(data) or self._format([*java, *on_classpath], settings)
        (data / _MADE_BY).write_text(f"{jars.KAFKA_VERSION}\n")
        self._child = Child(
            Launch(
                name="kafka",
                argv=[*java, *self._compiler(), *self._jvm, *on_classpath, "kafka.Kafka", str(settings)],
                log=self.log,
                env=_environment(),
                cwd=self.folder,
                farewell=signal.SIGTERM,
            )
        )

    def wait_ready(self) -> None:
        """Wait until the broker answers with its own cluster id.

        If another process took the port, a new one is tried.
        """
        for attempt in range(_ATTEMPTS):
            try:
                self.child.wait_ready(self._answers, START_S)
                return
            except Fatal:
                last = attempt + 1 == _ATTEMPTS or self._wanted_port is not None
                if last or _PORT_TAKEN not in tail(self.log, 60):
                    self.kill()
                    raise
                self.launch()

    def stop(self, deadline_s: float = STOP_S) -> None:
        """Shut down in order; SIGKILL after ``deadline_s``. Does nothing if it does not run."""
        if self._child is not None:
            self._child.stop(deadline_s)

    def kill(self) -> None:
        """SIGKILL: what a crash of the broker looks like."""
        if self._child is not None:
            self._child.kill()

    def freeze(self) -> None:
        """Connections are still accepted, but nothing answers. Returns when the broker is stopped."""
        self.child.freeze()

    def thaw(self) -> None:
        """Continue after ``freeze``."""
        self.child.send(signal.SIGCONT)

    def _settings(self, data: Path) -> Path:
        """Write the broker's properties, with ports that are free now. Those of tests hold passwords."""
        free = [port for port in free_ports(len(self._addresses) + 2) if port != self._wanted_port]
        controller, *ports = free[: len(self._addresses) + 1]
        if self._wanted_port is not None:
            ports[0] = need_free(self._wanted_port, "Kafka")
        for name, port in zip(self._addresses, ports, strict=True):
            self._addresses[name] = f"{LOOPBACK}:{port}"
        protocols = {**self._doors.listeners, _CONTROLLER: self._doors.controller}
        text = _PROPERTIES.format(
            controller=f"{LOOPBACK}:{controller}",
            listeners=",".join(f"{name}://{address}" for name, address in self._addresses.items()),
            protocols=",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            between=self._doors.between,
            data=data,
        )
        text += "".join(f"{name}={value}\n" for name, value in self._doors.options.items())
        settings = self.folder / "server.properties"
        settings.unlink(missing_ok=True)
        with os.fdopen(os.open(settings, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "w") as file:
            file.write(text)
        return settings

    def _answers(self) -> bool:
        if not accepts(self.cluster.bootstrap):
            return False
        try:
            found = ask_cluster_id(self.cluster, _ROUND_TRIP_S)
        except (KafkaException, TimeoutError):
            return False
        if found != self.cluster_id:
            cluster_id_of(self.cluster)
        return True

    def _compiler(self) -> tuple[str, ...]:
        """Only the second compiler uses the processor's AES instructions, which are 20 times as fast."""
        encrypted = any(protocol.endswith("SSL") for protocol in self._doors.listeners.values())
        return ("-XX:TieredStopAtLevel=4",) if encrypted else ()

    def _flags(self) -> tuple[str, ...]:
        crash = f"-XX:ErrorFile={self.folder}/jvm-crash-%p.log"
        archive = jars.folder(self.cache) / "broker.aot"
        # The JVM ignores a cache that another runtime made; -Xlog hides its messages about that.
        aot = (f"-XX:AOTCache={archive}", "-Xlog:aot*=off") if archive.is_file() and not self._jvm else ()
        return (crash, *aot)

    def _format(self, command: list[str], settings: Path) -> str:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # An id that starts with a dash reads as an option on the command line.
        cluster_id = "t" + cluster_id[1:]
        result = subprocess.run(
            [*command, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(settings)],
            capture_output=True,
            text=True,
            check=False,
            env=_environment(),
            cwd=self.folder,
            timeout=START_S,
        )
        if result.returncode != 0:
            last = (result.stderr or result.stdout).strip().splitlines()[-1:]
            raise Fatal(
                f"Kafka's data folder cannot be formatted: {' '.join(last)}",
                value=str(self.folder),
                remedy="free disk space, or remove the folder and start again",
            )
        return cluster_id


def made_by(folder: Path) -> str:
    """The version of the broker that last wrote the data below ``folder``; empty if there is none or unknown.

    Folders from before versions were recorded have none: 4.3.1 made them all.
    """
    try:
        return (folder / "data" / _MADE_BY).read_text().strip()
    except OSError:
        return ""


def check_version(folder: Path) -> None:
    """Raises Fatal if another version of the broker than this release's wrote the data below ``folder``.

    A newer broker's data cannot be opened at all, and an older one's could not be opened by it again.
    """
    found = made_by(folder)
    if found and found != jars.KAFKA_VERSION:
        raise Fatal(
            f"the data folder was written by Kafka {found}, and this release runs Kafka {jars.KAFKA_VERSION}",
            value=str(folder),
            remedy="run the release that wrote it, or record what you need there (`tape record`) and start "
            "another stack with --name",
        )


def known_cluster_id(data: Path) -> str:
    """The cluster id for which ``data`` is formatted; empty if it is not."""
    try:
        lines = (data / _META).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition("=")[2] for line in lines if line.startswith("cluster.id=")), "")


def _environment() -> dict[str, str]:
    """Only what a JVM needs: options meant for other Java programs must not reach the broker."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
