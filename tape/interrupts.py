"""Stop signals such as Ctrl-C, for commands with a stack: the first ends the work, later ones are ignored.

Python drops an exception that is raised in a destructor or in a callback of C code, and a signal may arrive
there: while LLVM compiles a kernel, the next Python code to run is its callback. So a stop that was dropped
is sent again.
"""

import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN_S = 0.05


def raise_on_stops() -> None:
    """Let stop signals raise KeyboardInterrupt in the main thread from now on."""
    sys.unraisablehook = _dropped
    for number in _STOPS:
        signal.signal(number, _interrupt)


def ignore_stops() -> None:
    """Ignore stop signals from now on, so that the shutdown completes."""
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _dropped(found: "sys.UnraisableHookArgs") -> None:
    """Python's hook for an exception that nobody can catch."""
    if found.exc_type is not None and issubclass(found.exc_type, KeyboardInterrupt):
        # Not from here: it would be raised in this hook, and be dropped once more.
        again = threading.Timer(_AGAIN_S, os.kill, (os.getpid(), signal.SIGINT))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(found)
