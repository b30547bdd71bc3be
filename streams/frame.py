"""The frame of a table value: what the shell stores before a stage's own body.

Layout of format 2: magic ``TD``, version u8, epoch u32, cursor count u8, then per cursor input rank u8,
partition u16, position i64; log count u8, then per log input rank u8 and the topic's id, 16 bytes; then the
body. A cursor's position is the last applied offset of that input partition; in the ``~watermark`` value it
is the last applied watermark label. Format 1 has no logs: an offset there does not say in which topic it
counts.

Ranks from OPENED on are not inputs. They appear only in the ``~watermark`` value, and only where the
trigger's partitions have openings: (OPENED, partition) is the label of the last opening applied of that
partition of the trigger, (OPENED + rank, 0) the last label for which the optional input of that rank was
declared absent.
"""

import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from tapedeck.schemas.errors import Fatal

_HEAD = struct.Struct("<2sBIB")
_CURSOR = struct.Struct("<BHq")
_LOG = struct.Struct("<B16s")
_MAGIC = b"TD"
VERSION = 2
_WITHOUT_LOGS = 1
ID_BYTES = 16

Cursors = Mapping[tuple[int, int], int]
Logs = Mapping[int, bytes]
"""By input rank, the id of the topic whose offsets a cursor counts. Under OWN, the id of the changelog that
the value was written to. Unknown ids are left out."""
OWN = 255
OPENED = 128
"""The first rank that is not an input: see above."""
NO_LOGS: Logs = MappingProxyType({})


class Value(NamedTuple):
    """One framed table value. ``cursors`` maps (input rank, partition) to a position, ``logs`` an input rank
    to its topic's id."""

    epoch: int
    cursors: dict[tuple[int, int], int]
    body: bytes
    logs: Logs = NO_LOGS


def pack(epoch: int, cursors: Cursors, body: bytes, logs: Logs = NO_LOGS) -> bytes:
    """The bytes of a value; cursors and logs are written in order, so equal values are equal bytes."""
    parts = [_HEAD.pack(_MAGIC, VERSION, epoch, len(cursors)), *_cursors(cursors), bytes([len(logs)])]
    for rank, topic_id in sorted(logs.items()):
        assert len(topic_id) == ID_BYTES
        parts.append(_LOG.pack(rank, topic_id))
    parts.append(body)
    return b"".join(parts)


def _cursors(cursors: Cursors) -> list[bytes]:
    return [_CURSOR.pack(rank, part, cursors[rank, part]) for rank, part in sorted(cursors)]


def unpack(data: bytes) -> Value:
    """Unpack a value. Raises Fatal for bytes that are not a value of a version that is read."""
    try:
        magic, version, epoch, count = _HEAD.unpack_from(data)
        if magic != _MAGIC or version not in (_WITHOUT_LOGS, VERSION):
            raise _not_a_value(data)
        at = _HEAD.size
        cursors: dict[tuple[int, int], int] = {}
        for _ in range(count):
            rank, part, position = _CURSOR.unpack_from(data, at)
            cursors[rank, part] = position
            at += _CURSOR.size
        if version == _WITHOUT_LOGS:
            return Value(epoch, cursors, data[at:])
        logs: dict[int, bytes] = {}
        places = range(at + 1, at + 1 + data[at] * _LOG.size, _LOG.size)
        for place in places:
            rank, logs_id = _LOG.unpack_from(data, place)
            logs[rank] = logs_id
        return Value(epoch, cursors, data[places.stop :], logs)
    except (struct.error, IndexError):
        raise _not_a_value(data) from None


def body_of(data: bytes) -> bytes:
    """``unpack(data).body``, without unpacking the rest: a period stage reads every value each minute."""
    try:
        magic, version, _, count = _HEAD.unpack_from(data)
        start = _HEAD.size + count * _CURSOR.size
        if version == VERSION:
            start += 1 + data[start] * _LOG.size
    except (struct.error, IndexError):
        raise _not_a_value(data) from None
    if magic != _MAGIC or version not in (_WITHOUT_LOGS, VERSION) or start > len(data):
        raise _not_a_value(data)
    return data[start:]


def of_inputs(cursors: Cursors) -> dict[tuple[int, int], int]:
    """Those of ``cursors`` that belong to an input."""
    return {at: position for at, position in cursors.items() if at[0] < OPENED}


def without_logs(data: bytes) -> bytes:
    """The value in ``data`` in format 1, which is the same wherever it was applied."""
    value = unpack(data)
    parts = [_HEAD.pack(_MAGIC, _WITHOUT_LOGS, value.epoch, len(value.cursors)), *_cursors(value.cursors)]
    return b"".join([*parts, value.body])


def logs_of(cursors: Cursors, known: Logs, stored: Logs = NO_LOGS) -> dict[int, bytes]:
    """The logs of a value with ``cursors``: the ``known`` ids of its inputs, else those it had ``stored``."""
    ranks = (*sorted({rank for rank, _ in of_inputs(cursors)}), OWN)
    found = {rank: known.get(rank) or stored.get(rank, b"") for rank in ranks}
    return {rank: topic_id for rank, topic_id in found.items() if topic_id}


def _not_a_value(data: bytes) -> Fatal:
    return Fatal(
        "a state value is not in this version's format",
        value=data[:8],
        remedy=f"this code reads versions {_WITHOUT_LOGS} and {VERSION}: run the release that wrote it, "
        "or a fresh stack",
    )


def precedence(data: bytes) -> tuple[int, int]:
    """(epoch, cursor sum): of two values of one key in a changelog, the higher one wins."""
    value = unpack(data)
    return value.epoch, sum(value.cursors.values())
