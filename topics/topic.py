"""What a topic is: how it is keyed, partitioned and kept, and who owns it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tapedeck.topics.keeping import FOREVER
from tapedeck.topics.partitioning import murmur2_partition

SIGNALS = "signals"
"""The record schema of signals: what dispatchers route, gates judge and contracts are chosen for."""


class Spread(StrEnum):
    """What a topic is partitioned by."""

    SYMBOL = "S"
    ACCOUNT = "A"
    ONE = "1"


class Cleanup(StrEnum):
    DELETE = "delete"
    COMPACT = "compact"


@dataclass(frozen=True, kw_only=True)
class Topic:
    """One topic. ``key`` and ``part`` name body fields; ``schema`` is None if values are raw bytes."""

    name: str
    spread: Spread
    key: tuple[str, ...]
    part: str | None
    schema: str | None
    natural_key: tuple[str, ...]
    cleanup: Cleanup = Cleanup.DELETE
    keep_days: int = FOREVER
    watermarked: bool = False
    audited: bool = True
    owner: str
    doc: str

    @property
    def of_symbol(self) -> bool:
        """Whether each record is of one symbol, whose name is its key."""
        return self.key == ("symbol",)

    @property
    def carries_signals(self) -> bool:
        """Whether dispatchers route its records: a topic of signals is one of the schema ``signals``."""
        return self.schema == SIGNALS

    def record_key(self, body: dict[str, Any]) -> bytes:
        """The record key: the key fields joined by ``|``; a constant topic uses its own name."""
        return "|".join(str(body[field]) for field in self.key).encode() if self.key else self.name.encode()

    def partition(self, body: dict[str, Any], partitions: int) -> int:
        """The partition of ``body`` among ``partitions``."""
        if self.part is None or partitions == 1:
            return 0
        return murmur2_partition(str(body[self.part]).encode(), partitions)

    def partition_of_key(self, key: bytes, partitions: int) -> int | None:
        """The partition of the record key ``key``; None if the key does not start with what decides it."""
        if partitions == 1 or self.part is None or self.key[:1] != (self.part,):
            return None
        return murmur2_partition(key.split(b"|")[0] if len(self.key) > 1 else key, partitions)
