"""The secured broker of this machine: who may come in, and as whom."""

import pytest

from tapedeck.connectors.kafka.identity import ask_cluster_id
from tapedeck.tape.local.secured import INTERNAL
from tests.secured import ADDED, SecuredKafka


@pytest.mark.parametrize("listener", ["CLIENTS", INTERNAL, *ADDED])
def test_every_listener_answers_the_administrator(secured: SecuredKafka, listener: str) -> None:
    assert ask_cluster_id(secured.cluster(listener=listener), 10.0) == secured.cluster_id
