"""How a table value is framed: what the shell keeps before a stage's own body.

Layout: magic ``TD``, version u8, epoch u32, cursor count u8, then per cursor input rank u8,
partition u16, position i64, then the body. A cursor's position is the last applied offset of that
input partition; in the ``~watermark`` value it is the last applied watermark label.
"""

import struct
from collections.abc import Mapping
from typing import NamedTuple

from tapedeck.schemas.errors import Fatal

_HEAD = struct.Struct("<2sBIB")
_CURSOR = struct.Struct("<BHq")
_MAGIC = b"TD"
VERSION = 1

Cursors = Mapping[tuple[int, int], int]


class Value(NamedTuple):
    """One framed table value. ``cursors`` maps (input rank, partition) to a position."""

    epoch: int
    cursors: dict[tuple[int, int], int]
    body: bytes


def pack(epoch: int, cursors: Cursors, body: bytes) -> bytes:
    """The bytes of a value; cursors are written in order, so equal values are equal bytes."""
    parts = [_HEAD.pack(_MAGIC, VERSION, epoch, len(cursors))]
    parts.extend(_CURSOR.pack(rank, part, cursors[rank, part]) for rank, part in sorted(cursors))
    parts.append(body)
    return b"".join(parts)


def unpack(data: bytes) -> Value:
    """The value behind ``data``. Raises Fatal for bytes that are not a value of this version."""
    if len(data) < _HEAD.size or data[:2] != _MAGIC or data[2] != VERSION:
        raise _not_a_value(data)
    _, _, epoch, count = _HEAD.unpack_from(data)
    if len(data) < _HEAD.size + count * _CURSOR.size:
        raise _not_a_value(data)
    cursors: dict[tuple[int, int], int] = {}
    at = _HEAD.size
    for _ in range(count):
        rank, part, position = _CURSOR.unpack_from(data, at)
        cursors[rank, part] = position
        at += _CURSOR.size
    return Value(epoch, cursors, data[at:])


def _not_a_value(data: bytes) -> Fatal:
    return Fatal(
        "a state value is not in this version's format",
        value=data[:8],
        remedy=f"this code reads version {VERSION}: run the release that wrote it, or a fresh stack",
    )


def precedence(data: bytes) -> tuple[int, int]:
    """(epoch, cursor sum): of two values of one key in a changelog, the higher one wins."""
    value = unpack(data)
    return value.epoch, sum(value.cursors.values())
