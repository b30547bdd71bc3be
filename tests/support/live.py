"""Helpers of the tests that run real worker processes on a real broker."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.kafka.scan import ends_of, read_topic
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.schemas.codec import decode
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import Message
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.watermarks import readable_label
from tapedeck.streams.wire import Origin
from tapedeck.tape.local.process import tail
from tapedeck.topics.catalogue import Layout
from tests.support.cases import REPOSITORY

KILLED = -signal.SIGKILL


class Workers:
    """Worker processes of one test, on one prefix; all are dead when the test ends."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path, config: Config, **layout: int) -> None:
        self.cluster, self.folder = Cluster(bootstrap, Layout(prefix, **layout)), folder
        self.config_path = folder / "tape.toml"
        self.config_path.write_text(config.to_toml())
        self._started: list[subprocess.Popen[bytes]] = []
        ensure(self.cluster)

    @property
    def layout(self) -> Layout:
        return self.cluster.layout

    def start(
        self,
        *stages: str,
        disk: str = "disk",
        extra: Mapping[str, str] | None = None,
        file_bytes: int | None = None,
    ) -> subprocess.Popen[bytes]:
        """Run ``stages`` in one process. ``disk`` names its folder, on which no file may exceed
        ``file_bytes``; ``extra`` is for the probe."""
        return self._launch(stages, ("tests.chaos.worker", *stages), disk, extra, file_bytes)

    def scorer(self, name: str, *, extra: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Run the scorer of ``tests.chaos.scorer``."""
        return self._launch((name,), ("tests.chaos.scorer", "scorer"), "disk", extra, None)

    def tape(
        self, *words: str, extra: Mapping[str, str] | None = None, under: tuple[str, ...] = ()
    ) -> subprocess.Popen[bytes]:
        """Run a command of ``tape``, as an argument of the command ``under`` if one is given."""
        return self._launch(words, ("tapedeck", *words), "disk", extra, None, under)

    def _launch(
        self,
        name: tuple[str, ...],
        module: tuple[str, ...],
        disk: str,
        extra: Mapping[str, str] | None,
        file_bytes: int | None,
        under: tuple[str, ...] = (),
    ) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            **self.cluster.environment(),
            "TAPE_CONFIG": str(self.config_path),
            "TAPE_HOME": str(self.folder / disk),
            **(extra or {}),
        }

        def limit_files() -> None:
            if file_bytes is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

        with (self.folder / f"{'-'.join(name)}.log").open("ab") as log:
            process = subprocess.Popen(
                [*under, sys.executable, "-m", *module],
                cwd=REPOSITORY,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=limit_files,  # noqa: PLW1509 - one system call, no lock
            )
        self._started.append(process)
        return process

    def log_of(self, *name: str) -> str:
        return (self.folder / f"{'-'.join(name)}.log").read_text()

    def write(self, log: MemoryLog, names: tuple[str, ...] = ("bars", "quotes", "universe")) -> None:
        """Put a memory log's source topics onto the cluster, partition by partition in order."""
        self.put(message for name in names for message in log.messages(name))

    def put(self, messages: Iterable[Message]) -> None:
        """Append messages unchanged, each to its partition."""
        writer = KafkaLogWriter(self.cluster, Origin("test", "test", ""), linger_ms=5)
        writer.write_messages(messages)
        writer.close()

    @contextmanager
    def with_logs(self) -> Iterator[None]:
        """A failure shows the logs."""
        try:
            yield
        except AssertionError as error:
            logs = "\n".join(f"{log}:\n{tail(log)}" for log in sorted(self.folder.glob("*.log")))
            raise AssertionError(f"{error}\n{logs}") from None

    def stop(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait(10)


def eventually(check: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
    """Poll until ``check`` holds; fails naming ``what``."""
    end = time.monotonic() + timeout_s
    while not check():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen within {timeout_s:.0f} s")
        time.sleep(0.1)


def last_label(cluster: Cluster, name: str) -> int | None:
    """The lowest over partitions of the last watermark in topic ``name``; None if one has none."""
    labels = []
    for partition in range(cluster.layout.partitions(name)):
        marks = [
            label
            for m in read_topic(cluster, name)
            if m.partition == partition and (label := readable_label(m)) is not None
        ]
        labels.append(max(marks, default=None))
    return (
        None
        if any(label is None for label in labels)
        else min(label for label in labels if label is not None)
    )


def end_of(cluster: Cluster, name: str) -> int:
    """Records in topic ``name``, all partitions."""
    return sum(end for _, end in ends_of(cluster, (name,)).values())


def bodies(cluster: Cluster, name: str) -> list[dict[str, object]]:
    """Every decoded record of a topic."""
    return [decode(name, m.value) for m in read_topic(cluster, name) if m.value is not None]


def until_label(workers: Workers, name: str, label: int, timeout_s: float = 90.0) -> None:
    """Wait until watermark(label) is in every partition of topic ``name``; a failure shows the logs."""
    with workers.with_logs():
        what = f"watermark {label} in {name}"
        eventually(lambda: (last_label(workers.cluster, name) or 0) >= label, what, timeout_s)


def last_minute(tape: Tape, minutes: slice) -> int:
    """The label of the last minute that ``written(tape, minutes=...)`` plays."""
    return tape.minutes[minutes][-1].label
