"""Ctrl-C and its like, for commands that own a stack: the first one ends the work, later ones are ignored."""

import signal
from types import FrameType
from typing import NoReturn

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def raise_on_stops() -> None:
    """From now on a stop signal raises KeyboardInterrupt in the main thread."""
    for number in _STOPS:
        signal.signal(number, _interrupt)


def ignore_stops() -> None:
    """From now on nothing interrupts: what was begun is being ended."""
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
