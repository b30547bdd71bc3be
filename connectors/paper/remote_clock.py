"""The time of a market that a data server on this machine serves: it is the server's, not the machine's."""

import threading
import time
from collections.abc import Callable

import requests

from tapedeck.connectors.clock import Clock, SystemClock
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.accounts import is_loopback
from tapedeck.streams.protocol import SECOND_US

_PATIENCE_S = 60.0
_AGAIN_S = 0.5
_LOOK_S = 2.0
_ANSWER_S = 5.0


class RemoteClock:
    """The clock of the data server at ``url``: it runs on between two looks, and never backwards.

    A server that is started again may have an earlier time: this clock then stands until it is reached.
    """

    def __init__(self, url: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._url, self._monotonic = url, monotonic
        self._known = (0, 0.0, monotonic())
        self._latest = 0

    def now(self) -> int:
        start, speed, since = self._known
        self._latest = max(self._latest, start + int((self._monotonic() - since) * speed * SECOND_US))
        return self._latest

    def look(self) -> bool:
        """Ask the server once. False if it is none of ours, but another server of market data.

        Raises requests.RequestException if it does not answer, Fatal if its clock waits for a player.
        """
        asked = self._monotonic()
        answer = requests.get(f"{self._url}/_paper/state", timeout=_ANSWER_S)
        try:
            state = answer.json() if answer.ok else {}
        except ValueError:
            state = {}
        if not isinstance(state, dict) or "runs_at" not in state:
            return False
        if not state["runs_at"]:
            raise Fatal(
                "the time of the data server stands: it waits for a player",
                value=self._url,
                remedy="start it with `tape exchange --run`, or play the tape itself with `tape play`",
            )
        self._known = (int(state["now"]), float(state["runs_at"]), (asked + self._monotonic()) / 2)
        return True

    def follow(self, stop: threading.Event) -> None:
        """Look again every two seconds until ``stop``; a server that is away does not stop the time."""
        while not stop.wait(_LOOK_S):
            try:
                self.look()
            except (requests.RequestException, Fatal):
                continue


def remote_clock(url: str, stop: threading.Event) -> RemoteClock | None:
    """The clock of the data server at ``url``, followed until ``stop``; None if the server has none.

    Waits a minute for a server that is being started. Raises Fatal if it does not come, or its time stands.
    """
    clock = RemoteClock(url)
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            if not clock.look():
                return None
            break
        except requests.RequestException as error:
            if time.monotonic() > until or stop.is_set():
                raise Fatal(
                    f"the data server does not answer: {error}",
                    value=url,
                    remedy="start it with `tape exchange --run`, or correct TAPE_DATA_URL",
                ) from None
        stop.wait(_AGAIN_S)
    threading.Thread(target=clock.follow, args=(stop,), name="clock", daemon=True).start()
    return clock


def market_clock(url: str, stop: threading.Event) -> Clock:
    """The market's time at ``url``: a data server on this machine has its own. Raises Fatal as that does."""
    return (remote_clock(url, stop) if is_loopback(url) else None) or SystemClock()
