"""Removing a stack's folder with everything that belongs to it."""

import shutil
from pathlib import Path

from tapedeck.tape.local.places import size_of
from tapedeck.tape.local.postgres import EmbeddedPostgres
from tapedeck.tape.local.state import only_stack


def purge(folder: Path) -> int:
    """Remove ``folder``, and the database that root keeps elsewhere; returns the bytes of the folder.

    Raises Fatal if a stack still runs in it.
    """
    if not folder.is_dir():
        return 0
    with only_stack(folder):
        size = size_of(folder)
        EmbeddedPostgres(folder / "postgres").remove()
        shutil.rmtree(folder)
    return size
