"""How much disk space a stack takes, by part, and whether there is enough left."""

import shutil
from collections.abc import Callable
from pathlib import Path

from tapedeck.schemas.errors import Fatal
from tapedeck.tape.local.places import in_words, say, size_of
from tapedeck.tape.local.postgres import data_folder

LOW_BYTES = 2 << 30
"""Space for about eight sessions."""
LEAST_BYTES = 256 << 20
"""Space for one session: with less, nothing is started."""
_PARTS = ("kafka", "postgres", "state", "logs")
_REMEDY = (
    "free some space there, or stop the stack (`tape down`) and move its folder to a larger disk; "
    "`tape prefix list` and `tape status` show what uses it"
)

Free = Callable[[Path], int]


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk of ``folder``."""
    return shutil.disk_usage(folder).free


def usage(folder: Path) -> dict[str, int]:
    """Bytes on disk of the stack in ``folder``, by part; ``postgres`` wherever its data is."""
    sizes = {part: size_of(folder / part) for part in _PARTS}
    data = data_folder(folder / "postgres")
    if not data.is_relative_to(folder):
        sizes["postgres"] += size_of(data.parent)
    return sizes


def usage_in_words(sizes: dict[str, int]) -> str:
    """``kafka 62 MiB, postgres 150 MiB, state 20 MiB, logs 1 MiB``."""
    return ", ".join(f"{part} {in_words(size)}" for part, size in sizes.items())


class Room:
    """Watches the disks of one stack. ``free`` returns the free bytes on a folder's disk."""

    def __init__(self, folder: Path, free: Free = free_bytes) -> None:
        self._folder, self._free = folder, free
        self._said = LOW_BYTES + 1

    def left(self) -> tuple[int, Path]:
        """The fewest free bytes, and where."""
        data = data_folder(self._folder / "postgres")
        places = [self._folder, *([] if data.is_relative_to(self._folder) else [data.parent])]
        return min((self._free(place), place) for place in places)

    def demand(self) -> None:
        """Raises Fatal if too little space is left to start."""
        left, place = self.left()
        if left < LEAST_BYTES:
            raise Fatal(
                f"the disk is nearly full: {in_words(left)} free, a session takes up to "
                f"{in_words(LEAST_BYTES)}",
                value=str(place),
                remedy=_REMEDY,
            )

    def warning(self) -> str | None:
        """The warning about a disk with little space left, if any."""
        left, place = self.left()
        return _nearly_full(left, place) if left < LOW_BYTES else None

    def watch(self) -> None:
        """Warn once when space is low, again each time it has halved, and report when it is not low."""
        left, place = self.left()
        if left < LOW_BYTES and (self._said > LOW_BYTES or left <= self._said // 2):
            self._said = left
            say(_nearly_full(left, place))
        elif left >= LOW_BYTES and self._said <= LOW_BYTES:
            self._said = LOW_BYTES + 1
            say(f"the disk has space again: {in_words(left)} free")


def _nearly_full(left: int, place: Path) -> str:
    return f"the disk of {place} is nearly full: {in_words(left)} free; {_REMEDY}"
