"""How much disk a stack takes, by part, and whether there is room to go on."""

import shutil
from collections.abc import Callable
from pathlib import Path

from tapedeck.schemas.errors import Fatal
from tapedeck.tape.local.places import in_words, say, size_of
from tapedeck.tape.local.postgres import data_folder

LOW_BYTES = 2 << 30
"""Room for about eight sessions."""
LEAST_BYTES = 256 << 20
"""Room for one session: below it nothing is started."""
_PARTS = ("kafka", "postgres", "state", "logs")
_REMEDY = (
    "make room there, or stop the stack (`tape down`) and move its folder to a larger disk; "
    "`tape prefix list` and `tape status` say what takes it"
)

Free = Callable[[Path], int]


def free_bytes(folder: Path) -> int:
    """Bytes that can still be written where ``folder`` lies."""
    return shutil.disk_usage(folder).free


def usage(folder: Path) -> dict[str, int]:
    """Bytes on disk of the stack in ``folder``, by part; ``postgres`` wherever its data lie."""
    sizes = {part: size_of(folder / part) for part in _PARTS}
    data = data_folder(folder / "postgres")
    if not data.is_relative_to(folder):
        sizes["postgres"] += size_of(data.parent)
    return sizes


def usage_in_words(sizes: dict[str, int]) -> str:
    """``kafka 62 MiB, postgres 150 MiB, state 20 MiB, logs 1 MiB``."""
    return ", ".join(f"{part} {in_words(size)}" for part, size in sizes.items())


class Room:
    """Watches the disks of one stack. ``free`` tells the bytes left where a folder lies."""

    def __init__(self, folder: Path, free: Free = free_bytes) -> None:
        self._folder, self._free = folder, free
        self._said = LOW_BYTES + 1

    def left(self) -> tuple[int, Path]:
        """The fewest bytes left, and where."""
        data = data_folder(self._folder / "postgres")
        places = [self._folder, *([] if data.is_relative_to(self._folder) else [data.parent])]
        return min((self._free(place), place) for place in places)

    def demand(self) -> None:
        """Raises Fatal where too little is left to start."""
        left, place = self.left()
        if left < LEAST_BYTES:
            raise Fatal(
                f"the disk is nearly full: {in_words(left)} are left, a session takes up to "
                f"{in_words(LEAST_BYTES)}",
                value=str(place),
                remedy=_REMEDY,
            )

    def warning(self) -> str | None:
        """What to say of a disk on which little is left."""
        left, place = self.left()
        return _nearly_full(left, place) if left < LOW_BYTES else None

    def watch(self) -> None:
        """Say it once when little is left, again whenever half of it is gone, and when there is more."""
        left, place = self.left()
        if left < LOW_BYTES and (self._said > LOW_BYTES or left <= self._said // 2):
            self._said = left
            say(_nearly_full(left, place))
        elif left >= LOW_BYTES and self._said <= LOW_BYTES:
            self._said = LOW_BYTES + 1
            say(f"the disk has room again: {in_words(left)} are left")


def _nearly_full(left: int, place: Path) -> str:
    return f"the disk of {place} is nearly full: {in_words(left)} are left; {_REMEDY}"
