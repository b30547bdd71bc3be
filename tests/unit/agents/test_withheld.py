"""A transaction that hangs open is named in the worker's log, not at once and not all the time."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tapedeck.agents.runner import StageRunner
from tapedeck.agents.withheld import AGAIN_S, PATIENCE_S, Withheld
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.transactions import OpenTransaction
from tapedeck.schemas.errors import Retry

PARTS = [("bars", 0), ("bars", 1)]
OPEN = [
    OpenTransaction("bars", p, 7, 3, "p.bars", "127.0.0.1:1", transactional_id=f"vendor-{p}", producer_id=4)
    for p in (0, 1)
]


class Fixture:
    """A look with a clock; ``held`` are the partitions whose end is withheld."""

    def __init__(self, ask: Any = lambda cluster, names: OPEN) -> None:
        self.now, self.held = 0.0, {PARTS[0]}
        runner = SimpleNamespace(
            parts=lambda: PARTS,
            broadcasts={},
            withheld=lambda part: part in self.held,
            spec=SimpleNamespace(name="features"),
        )
        self.look = Withheld(
            cast(StageRunner, runner), Cluster("127.0.0.1:1"), ask=ask, monotonic=lambda: self.now
        )

    def at(self, now: float) -> None:
        self.now = now
        asyncio.run(self.look.look())


def test_it_is_named_after_a_while_and_again_later(caplog: pytest.LogCaptureFixture) -> None:
    it = Fixture()
    with caplog.at_level(logging.WARNING):
        it.at(1)
        it.at(PATIENCE_S)
        assert caplog.messages == []
        it.at(1 + PATIENCE_S)
        (told,) = caplog.messages
        assert "features waits: bars/0: 3 offsets from 7 on" in told and "vendor-0" in told
        it.at(1 + PATIENCE_S + AGAIN_S / 2)
        assert len(caplog.messages) == 1
        it.at(1 + PATIENCE_S + AGAIN_S)
        assert len(caplog.messages) == 2


def test_transactions_that_come_and_go_are_nothing_to_tell(caplog: pytest.LogCaptureFixture) -> None:
    it = Fixture()
    with caplog.at_level(logging.WARNING):
        for now in range(0, 100, 5):
            it.held = {PARTS[0]} if now % 2 else set()
            it.at(now)
    assert caplog.messages == []


def test_a_broker_that_does_not_answer_is_said(caplog: pytest.LogCaptureFixture) -> None:
    def ask(cluster: Cluster, names: Any) -> Any:
        raise Retry("silent", value="x", remedy="y")

    it = Fixture(ask)
    with caplog.at_level(logging.WARNING):
        it.at(1)
        it.at(1 + PATIENCE_S)
    assert "the broker cannot be asked about them" in caplog.text
