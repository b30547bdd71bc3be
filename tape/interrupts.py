"""Stop signals such as Ctrl-C, for commands with a stack: the first ends the work, later ones are ignored."""

import signal
from types import FrameType
from typing import NoReturn

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def raise_on_stops() -> None:
    """Let stop signals raise KeyboardInterrupt in the main thread from now on."""
    for number in _STOPS:
        signal.signal(number, _interrupt)


def ignore_stops() -> None:
    """Ignore stop signals from now on, so that the shutdown completes."""
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
