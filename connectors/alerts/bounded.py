"""A bounded call of a server: a time for each try, and a number of tries."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from tapedeck.schemas.errors import Retry

TRY_S = 10.0
"""A whole try, name lookup and TLS included."""
ANSWER_S = 5.0
"""How long a server may be silent within it."""
TRIES = 2
PAUSE_S = 0.5
READ_MOST = 65_536
"""Bytes of an answer that are read."""


class Open:
    """What a try has opened, to be cut from outside: a server that drips bytes never times out."""

    def __init__(self) -> None:
        self.socket: Callable[[], socket.socket | None] = lambda: None
        self.is_cut = False

    def cut(self) -> None:
        """Close it under whoever reads from it."""
        self.is_cut = True
        if (opened := self.socket()) is not None:
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            with suppress(OSError):
                opened.close()


def within(seconds: float, server: str, do: Callable[[Open], None]) -> None:
    """Run ``do``, for at most ``seconds``. Raises what it raises, or Retry if ``server`` is late."""
    opened, failed = Open(), list[BaseException]()

    def run() -> None:
        try:
            do(opened)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="alert", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        opened.cut()
        raise late(server, seconds)
    if failed:
        raise failed[0]


def late(server: str, seconds: float) -> Retry:
    """The error of a server that takes too long."""
    return Retry(f"{server} has not taken it within {seconds:g} s", remedy="check the server and the network")


def tried(do: Callable[[], None], *, tries: int = TRIES, pause_s: float = PAUSE_S) -> None:
    """``do``, and again while it raises Retry, ``tries`` times in all. Raises the last error."""
    for left in reversed(range(tries)):
        try:
            return do()
        except Retry:
            if not left:
                raise
            time.sleep(pause_s)
    return None
