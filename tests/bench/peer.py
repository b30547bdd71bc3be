"""What every Python peer of the rebuild race shares: its settings, its count and its digest.

A peer tells the race on standard output when its warm-up is over and when all bars are done:
``peer: mark CPU WALL -`` and ``peer: done CPU WALL DIGEST``, in seconds; CPU is of the whole process. The
digest is SHA-256 over the outputs' rows sorted by event_id, a row being the event_id's 16 bytes and the
first 16 bytes of SHA-256 over the record key with its length and the Avro body. It is taken where nothing is
written.
"""

import os
import time
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from tapedeck.schemas.codec import PREFIX
from tapedeck.streams.config.document import Config, from_dict
from tapedeck.streams.sessions import Calendar, xnys

_HALF = 16


class Told(NamedTuple):
    """What the race tells a peer. ``output`` is empty where nothing is to be written."""

    bootstrap: str
    group: str
    bars: str
    output: str
    guarantee: str
    folder: Path
    warm: int
    total: int

    def environment(self) -> dict[str, str]:
        """As variables of the peer's process."""
        return {f"PEER_{name.upper()}": str(value) for name, value in self._asdict().items()}

    @classmethod
    def from_environment(cls) -> "Told":
        """As ``environment`` gave it. Raises KeyError where a peer is started by hand without it."""
        values = {name: os.environ[f"PEER_{name.upper()}"] for name in cls._fields}
        folder, warm, total = Path(values.pop("folder")), int(values.pop("warm")), int(values.pop("total"))
        return cls(**values, folder=folder, warm=warm, total=total)


class Progress:
    """Counts bars, takes the digest where nothing is written, and tells the race."""

    def __init__(self, warm: int, total: int, *, writes: bool) -> None:
        self._warm, self._total, self._writes = warm, total, writes
        self._bars = 0
        self._rows: dict[bytes, bytes] = {}

    def digest(self, event_id: str, key: bytes, value: bytes) -> None:
        """One output that would be written: its record key, and its value with prefix."""
        if self._bars < self._total:
            content = len(key).to_bytes(4, "big") + key + value[PREFIX.size :]
            self._rows[bytes.fromhex(event_id)] = sha256(content).digest()[:_HALF]

    def bar(self) -> None:
        """One more bar is done, its outputs included."""
        self._bars += 1
        if self._bars == self._warm:
            tell("mark", "-")
        elif self._bars == self._total:
            tell("done", "-" if self._writes else self._hexdigest())

    def _hexdigest(self) -> str:
        return sha256(b"".join(event + row for event, row in sorted(self._rows.items()))).hexdigest()


def tell(what: str, digest: str) -> None:
    """A line for the race."""
    print(f"peer: {what} {time.process_time():.3f} {time.perf_counter():.3f} {digest}", flush=True)


def rules() -> tuple[Config, Calendar]:
    """The configuration and calendar of the race: the defaults."""
    return from_dict({}), xnys()
