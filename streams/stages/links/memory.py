"""What a stage that links remembers of items: the last version of each, for as long as it can matter.

The memory is bounded by age, by count and by size, and it depends on the order of the log alone.
"""

from collections.abc import Callable, Mapping
from typing import Generic, NamedTuple, Protocol, TypeVar

from tapedeck.streams.stages.links.reasons import LinkReason

_FIXED, _SYMBOL = 64, 8
"""Characters that an entry takes beside its texts, and for each symbol, about."""


class Entry(Protocol):
    """The last version of an item. Times are UTC microseconds."""

    @property
    def event_time(self) -> int: ...
    @property
    def updated_at(self) -> int: ...
    @property
    def symbols(self) -> tuple[str, ...]: ...
    @property
    def title(self) -> str | None: ...


class Bounds(NamedTuple):
    """The most entries, and the most characters of state, about."""

    entries: int
    size: int


E = TypeVar("E", bound=Entry)


class Memory(Generic[E]):
    """Entries by name. ``settle(entry, age)``: what is kept of an entry of that age in microseconds."""

    def __init__(
        self, entries: Mapping[str, E], bounds: Bounds, settle: Callable[[E, int], E | None]
    ) -> None:
        self.entries = dict(entries)
        self._bounds, self._settle = bounds, settle
        self._size = sum(_size(name, entry) for name, entry in self.entries.items())
        self._minute: int | None = None

    def advance(self, minute: int) -> None:
        """Forget what is too old at log minute ``minute``."""
        if minute == self._minute:
            return
        self._minute = minute
        for name, entry in list(self.entries.items()):
            kept = self._settle(entry, minute - entry.event_time)
            if kept is not entry:
                self._replace(name, kept)

    def refuses(self, name: str, updated_at: int) -> LinkReason | None:
        """Why a version changes nothing; None if it is newer than what is known."""
        known = self.entries.get(name)
        if known is None or updated_at > known.updated_at:
            return None
        return LinkReason.DUPLICATE if updated_at == known.updated_at else LinkReason.SUPERSEDED

    def put(self, name: str, entry: E) -> int:
        """Remember a version at the log minute of the last ``advance``; returns how many were forgotten."""
        assert self._minute is not None
        self._replace(name, self._settle(entry, self._minute - entry.event_time))
        forgotten = 0
        while len(self.entries) > self._bounds.entries or self._size > self._bounds.size:
            oldest = min(self.entries, key=lambda each: (self.entries[each].event_time, each))
            self._replace(oldest, None)
            forgotten += 1
        return forgotten

    def _replace(self, name: str, entry: E | None) -> None:
        old = self.entries.pop(name, None)
        if old is not None:
            self._size -= _size(name, old)
        if entry is not None:
            self.entries[name] = entry
            self._size += _size(name, entry)


def _size(name: str, entry: Entry) -> int:
    return _FIXED + len(name) + len(entry.title or "") + _SYMBOL * len(entry.symbols)
