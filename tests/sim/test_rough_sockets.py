"""Rough sessions over sockets: the exchange in a process of its own, HTTP and websocket between."""

from pathlib import Path

import pytest

from tapedeck.connectors.paper.faults import Fault
from tests.support.cases import few
from tests.support.judge import judge, told
from tests.support.rough_sockets import SocketSession

SEEDS = (5, 0, 2, 6, 7)
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", few(SEEDS, 1))
def test_each_order_exists_once_and_both_sides_agree_over_sockets_too(tmp_path: Path, seed: int) -> None:
    run = SocketSession(tmp_path, seed)
    try:
        run.play().rest(10).finish()
        connections = run.connections
    finally:
        run.close()
    assert run.kept is not None
    print(told([run.kept.fired]))
    assert sum(run.kept.fired.values()) > 5, "nothing went wrong"
    assert run.signals and any(book.executions for book in run.kept.books.values())
    assert sum(each.first_heard for each in run.dispatchers) > 0, "no update came before its answer"
    assert run.kept.fired[Fault.STREAM_CUT] and connections > len(run.dispatchers)
    assert judge(run) == []
