"""The small file in which a process keeps what it must know after a restart: it is replaced as a whole."""

import os
from pathlib import Path
from typing import Any


def write(path: Path, text: str, *, is_private: bool = False) -> None:
    """Replace the file in one step: a crash leaves the old one or the new one.

    ``is_private``: only its owner can read it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f"{path.suffix}.new")
    fresh.unlink(missing_ok=True)
    mode = 0o600 if is_private else 0o666
    with os.fdopen(
        os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8"
    ) as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)


def set_aside(path: Path) -> Path:
    """Keep a damaged file under another name, which is returned."""
    aside = path.with_suffix(f"{path.suffix}.damaged")
    path.replace(aside)
    return aside


def typed(kind: Any, value: Any) -> Any:
    """``value``, which was read from a file. Raises TypeError if it is not a ``kind``."""
    # bool is a kind of int in Python, not here.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{value!r} is no {getattr(kind, '__name__', kind)}")
    return value
