"""Passwords that are replaced while a process runs: the next connection uses what the file contains.

A client keeps the password that it was created with. This module checks the password's file every few
seconds and tells every client that is still in use about a new one.
"""

import logging
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tapedeck.connectors.secrets import Secret
from tapedeck.schemas.errors import Fatal

log = logging.getLogger("tapedeck.kafka")

LOOK_S = 2.0


@dataclass
class _Followed:
    owner: "weakref.ref[Any]"
    secret: Secret
    tell: Callable[[Any, str], None]
    last: str


_followed: list[_Followed] = []
_lock = threading.Lock()
_thread: threading.Thread | None = None


def follow(owner: Any, secret: Secret, tell: Callable[[Any, str], None]) -> None:
    """While ``owner`` lives, call ``tell(owner, password)`` when the file of ``secret`` has a new one.

    Does nothing for a secret that is not in a file.
    """
    global _thread  # noqa: PLW0603 - one thread for all clients of the process
    if not secret.path:
        return
    with _lock:
        _followed.append(_Followed(weakref.ref(owner), secret, tell, secret.read()))
        if _thread is None:
            _thread = threading.Thread(target=_look, name="tapedeck-passwords", daemon=True)
            _thread.start()


def _look() -> None:
    pause = threading.Event()
    while not pause.wait(LOOK_S):
        look()


def look() -> None:
    """Check every file once. A file that cannot be read is reported, and the password stays."""
    with _lock:
        _followed[:] = [each for each in _followed if each.owner() is not None]
        waiting = list(_followed)
    for each in waiting:
        try:
            found = each.secret.read()
        except Fatal as error:
            log.warning("%s; still using the previous password", error)
            continue
        owner = each.owner()
        if owner is not None and found != each.last:
            each.tell(owner, found)
            each.last = found
