"""Mentions and surges on a broker: a worker that is killed leaves what the sim leaves."""

from pathlib import Path

import pytest

from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.kafka.scan import read_topic
from tapedeck.streams.digests import of_messages
from tapedeck.streams.watermarks import readable_label
from tapedeck.streams.wire import Origin, Wire
from tests.conftest import Broker
from tests.support.live import KILLED, Workers, eventually, last_label, until_label
from tests.support.mention_days import CONFIG, clean, log_of

HOURS = 5
pytestmark = pytest.mark.integration


@pytest.mark.long
def test_a_killed_worker_leaves_the_digests_of_the_sim(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    log = clean(HOURS)[0]
    labels = [label for m in log.messages("sentiment") if (label := readable_label(m)) is not None]
    workers = Workers(kafka.bootstrap, prefix, tmp_path, CONFIG)
    try:
        killed = workers.start("mentions", "surges")
        with KafkaLogWriter(workers.cluster, Origin("test", "", "")) as writer:
            writer.write(
                Wire(m.topic, m.partition, m.key, m.value, m.timestamp, list(m.headers))
                for m in log_of(HOURS).messages("sentiment")
            )
            writer.flush()
        eventually(lambda: last_label(workers.cluster, "mentions") is not None, "the first minutes")
        killed.kill()
        assert killed.wait(10) == KILLED
        workers.start("mentions", "surges")
        until_label(workers, "surges", labels[-1])
    finally:
        workers.stop()
    for name in ("mentions", "surges"):
        assert of_messages(name, read_topic(workers.cluster, name)).hexdigest() == clean(HOURS)[1][name], name
