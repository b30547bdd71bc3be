"""The time of a data server, as another process sees it."""

import threading

import pytest

from tapedeck.connectors.clock import RunningClock, SystemClock
from tapedeck.connectors.paper.remote_clock import RemoteClock, market_clock, remote_clock
from tapedeck.connectors.paper.server import MovableClock
from tapedeck.schemas.errors import Fatal
from tests.support.paper import MINUTE, OPEN, StepClock, exchange, serving


class Wall:
    """Seconds that the test counts."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def test_time_runs_between_two_looks_as_fast_as_the_servers_and_never_backwards() -> None:
    wall = Wall()
    with serving(exchange(now=OPEN), RunningClock(OPEN, 60.0, monotonic=wall)) as url:
        clock = RemoteClock(url, monotonic=wall)
        assert clock.look()
        first = clock.now()
        wall.at += 2
        assert clock.now() - first == 2 * MINUTE
    with serving(exchange(now=OPEN), RunningClock(OPEN, 60.0, monotonic=wall)) as again:
        clock._url = again
        assert clock.look() and clock.now() == first + 2 * MINUTE, "the server began anew"
        wall.at += 3
        assert clock.now() == OPEN + 3 * MINUTE


def test_time_that_waits_for_a_player_is_refused() -> None:
    stands: MovableClock = StepClock(OPEN)
    with serving(exchange(now=OPEN), stands) as url, pytest.raises(Fatal, match="waits for a player"):
        remote_clock(url, threading.Event())


def test_server_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapedeck.connectors.paper.remote_clock._PATIENCE_S", 0.1)
    monkeypatch.setattr("tapedeck.connectors.paper.remote_clock._AGAIN_S", 0.01)
    with pytest.raises(Fatal, match="does not answer"):
        remote_clock("http://127.0.0.1:9", threading.Event())


def test_the_markets_time_is_that_of_a_data_server_here_and_this_machines_for_any_other() -> None:
    stop = threading.Event()
    with serving(exchange(now=OPEN), RunningClock(OPEN, 0.001)) as url:
        assert OPEN <= market_clock(url, stop).now() < OPEN + MINUTE
        stop.set()
    assert isinstance(market_clock("https://data.alpaca.markets", stop), SystemClock)
