"""Digests of outputs and of state: what must be equal whichever driver ran the tape."""

from collections.abc import Iterable, Mapping
from hashlib import sha256

from tapedeck.schemas.codec import PREFIX, decode
from tapedeck.streams.columnar.rows import Rows, raw_id, row_of
from tapedeck.streams.frame import unpack
from tapedeck.streams.protocol import Message
from tapedeck.topics.catalogue import WATERMARK_KEY, topic


class OutputDigest:
    """The distinct records of one topic: each event_id counts once. Bodies are Avro bytes without prefix."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[bytes, bytes]] = {}
        self.conflicts: list[str] = []

    def add(self, key: bytes, event_id: str, body: bytes) -> None:
        """One record; a repeat counts once, a repeat with another body is a conflict."""
        known = self._rows.setdefault(event_id, (key, body))
        if known != (key, body):
            self.conflicts.append(event_id)

    def __len__(self) -> int:
        return len(self._rows)

    def first_difference(self, other: Rows) -> tuple[bytes, str] | None:
        """(record key, event_id) of the first row that only one of the two has; None if they are equal.

        The key is empty if only the other one has the row.
        """
        ours = Rows()
        for event_id, (key, body) in self._rows.items():
            ours.add_one(key, event_id, body)
        known = {raw_id(event_id).hex(): (key, event_id) for event_id, (key, _) in self._rows.items()}
        odd = (each.event_id for each in ours.differences(other))
        return min((known.get(row_id, (b"", row_id)) for row_id in odd), default=None)

    def hexdigest(self) -> str:
        """SHA-256 over the rows in order of event_id: 16 bytes of it, 16 of the hash of key and body."""
        rows = (row_of(key, event_id, body) for event_id, (key, body) in self._rows.items())
        return sha256(b"".join(sorted(rows))).hexdigest()


def of_messages(name: str, messages: Iterable[Message]) -> OutputDigest:
    """The digest of topic ``name`` over ``messages``; watermarks and undecodable values are left out."""
    digest = OutputDigest()
    schema = topic(name).schema
    assert schema is not None
    for message in messages:
        if message.value is not None and message.key != WATERMARK_KEY:
            body = decode(schema, message.value)
            digest.add(message.key or b"", body["event_id"], message.value[PREFIX.size :])
    return digest


def of_state(values: Mapping[bytes, bytes]) -> str:
    """SHA-256 over sorted (key, body) of framed table values, the ``~watermark`` value left out."""
    total = sha256()
    for key in sorted(values):
        if key != WATERMARK_KEY:
            body = unpack(values[key]).body
            total.update(len(key).to_bytes(4, "big") + key + len(body).to_bytes(4, "big") + body)
    return total.hexdigest()


def first_difference(ours: Mapping[bytes, bytes], theirs: Mapping[bytes, bytes]) -> bytes | None:
    """The first key whose body is not the same in two tables of framed values; None if they are equal."""
    for key in sorted((ours.keys() | theirs.keys()) - {WATERMARK_KEY}):
        if key not in ours or key not in theirs or unpack(ours[key]).body != unpack(theirs[key]).body:
            return key
    return None
