"""The log writer as a context: it waits for its records at the end, and for nothing after an error."""

import time

import pytest

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.streams.wire import Origin
from tapedeck.tape.local.places import free_port
from tapedeck.topics.catalogue import Layout


def test_an_interrupt_does_not_wait_for_a_broker_that_does_not_answer() -> None:
    nobody = Cluster(f"127.0.0.1:{free_port()}", Layout())
    with pytest.raises(KeyboardInterrupt), KafkaLogWriter(nobody, Origin("test", "test", "")) as writer:
        writer.watermark("bars", 60_000_000)
        began = time.monotonic()
        raise KeyboardInterrupt
    assert time.monotonic() - began < 10, "a flush waits for half a minute"
