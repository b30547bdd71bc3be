"""Logs of bounded size: the content of a full log moves to ``NAME.log.1``, and the file starts empty.

Every process keeps its file open and appends to it, Java and Postgres too. So the file is copied and
truncated, never renamed. A line written between the copy and the truncation is lost.
"""

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

LIMIT_BYTES = 8 << 20
KEPT = 3


def rotate(log: Path, limit_bytes: int = LIMIT_BYTES, kept: int = KEPT) -> bool:
    """Rotate ``log`` if it is longer than ``limit_bytes``, keeping ``kept`` old ones; returns whether it was.

    If the copy fails, as on a full disk, the log is truncated anyway. Raises nothing.
    """
    try:
        if log.stat().st_size <= limit_bytes:
            return False
        with suppress(OSError):
            for number in range(kept, 1, -1):
                older = _numbered(log, number - 1)
                if older.exists():
                    older.rename(_numbered(log, number))
            shutil.copyfile(log, _numbered(log, 1))
        os.truncate(log, 0)
    except OSError:
        return False
    return True


def rotate_all(logs: Iterable[Path]) -> None:
    """``rotate`` each."""
    for log in logs:
        rotate(log)


def _numbered(log: Path, number: int) -> Path:
    return log.with_name(f"{log.name}.{number}")
