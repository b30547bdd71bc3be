"""A log writer in memory."""

from collections.abc import Iterable
from typing import Any

from tapedeck.schemas.codec import encode
from tapedeck.streams.wire import Wire


class Written:
    """A writer that keeps what it was given, in order."""

    def __init__(self) -> None:
        self.said: list[tuple[str, Any]] = []
        self.wires: list[Wire] = []
        self.flushed = 0

    def send(self, name: str, body: dict[str, Any], headers: dict[str, bytes] | None = None) -> None:
        encode(name, body)
        self.said.append((name, body))

    def watermark(self, name: str, label: int) -> None:
        self.said.append((f"~{name}", label))

    def opening(self, name: str, label: int, absent: Iterable[str], partitions: Any = None) -> None:
        self.said.append((f"~~{name}", label))

    def write(self, wires: Iterable[Wire]) -> None:
        self.wires += wires

    def flush(self) -> None:
        self.flushed = len(self.said)

    def of(self, name: str) -> list[Any]:
        return [said for each, said in self.said if each == name]
