"""One recorded run on the broker, for every test that only reads."""

import uuid
from typing import NamedTuple

import pytest

from connectors.log import KafkaLogWriter
from streams.wire import Origin
from tests.conftest import Broker
from tests.sim.paths import morning
from topics.admin import ensure
from topics.catalogue import CATALOGUE, Layout


class Recorded(NamedTuple):
    """Where the simulated morning of two accounts lies: all topics, each record as the run left it."""

    bootstrap: str
    layout: Layout


@pytest.fixture(scope="session")
def recorded(kafka: Broker) -> Recorded:
    """A prefix that holds a run. Tests that write take a prefix of their own."""
    layout = Layout(f"recorded{uuid.uuid4().hex[:8]}")
    ensure(kafka.bootstrap, layout)
    log = morning().log
    writer = KafkaLogWriter(kafka.bootstrap, layout, Origin("test", "test", ""), linger_ms=5)
    writer.write_messages(message for each in CATALOGUE for message in log.messages(each.name))
    writer.close()
    return Recorded(kafka.bootstrap, layout)
