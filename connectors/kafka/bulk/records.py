"""Converts record batches between the log's bytes and columns."""

import gzip
import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from aiokafka import codec
from aiokafka.record.util import calc_crc32c

from tapedeck.connectors.kafka.bulk import kernel as K
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.blocks import Block, Bytes, Ints
from tapedeck.streams.merge import Part

CRC_START = 21
"""The start of the bytes that a batch's CRC-32C covers."""

_CODEC = 0x07
_EXPANDED_BYTES = 8 << 20
_NO_EPOCH = -1
_UNCOVERED, _COVERED = struct.Struct(">qiibI"), struct.Struct(">hiqqqhii")
"""A batch's header before and after the start of the CRC."""

_Decode = Callable[[bytes], bytes]
_CODECS: dict[int, tuple[str, Callable[[], bool], _Decode]] = {
    1: ("gzip", codec.has_gzip, gzip.decompress),
    2: ("snappy", codec.has_snappy, codec.snappy_decode),
    3: ("lz4", codec.has_lz4, codec.lz4_decode),
    4: ("zstd", codec.has_zstd, codec.zstd_decode),
}


def batches_of(data: Bytes, part: Part) -> Ints:
    """The table of the whole batches in ``data``, int64 (n, kernel.COLUMNS): at least one.

    A batch cut off at the end is left out. Raises Fatal for message formats before v2 and for bytes that are
    not batches.
    """
    count, why = K.scan(data, np.empty((0, K.COLUMNS), dtype=np.int64))
    table = np.empty((count, K.COLUMNS), dtype=np.int64)
    K.scan(data, table)
    if why == K.OLD_FORMAT:
        raise Fatal(
            "the topic holds records of a format from before Kafka 0.11",
            value=_named(part),
            remedy="copy it with a current client to a new topic",
        )
    if why == K.DAMAGED or not count:  # a broker sends its first batch whole, however small the request
        at = f" after offset {table[-1, K.LAST]}" if count else ""
        raise _damaged(part, f"the bytes{at} are not a record batch")
    return table


def check(data: Bytes, table: Ints, part: Part) -> None:
    """Raise Fatal if a batch's CRC-32C does not match its bytes."""
    for at, size, base, crc in table[:, (K.AT, K.SIZE, K.BASE, K.CRC)].tolist():
        if calc_crc32c(data[at + CRC_START : at + size]) != crc:
            raise _damaged(part, f"the checksum of the batch at offset {base} is wrong")


def blocks_of(data: Bytes, table: Ints, part: Part, start: int, end: int) -> Iterator[Block]:
    """The records of ``table``'s batches with offsets in [start, end).

    One block over ``data`` itself if nothing is compressed; each one has at least one record.
    Raises Fatal for records that cannot be read, and for a codec that is not installed.
    """
    wanted = (table[:, K.LAST] >= start) & (table[:, K.BASE] < end) & (table[:, K.COUNT] > 0)
    table = table[wanted & (table[:, K.ATTRIBUTES] & K.CONTROL == 0)]
    for bytes_, batches in _expanded(data, table, part):
        block = _parsed(bytes_, batches, part, start, end)
        if len(block):
            yield block


def _parsed(data: Bytes, table: Ints, part: Part, start: int, end: int) -> Block:
    count = int(table[:, K.COUNT].sum())
    if count * 7 > len(data):  # a record has at least 7 bytes: allocate nothing for invalid counts
        raise _damaged(part, f"the batches from offset {table[0, K.BASE]} on have impossible counts")
    offsets, times = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    keys, values, headers = (np.empty((count, 2), dtype=np.int64) for _ in range(3))
    found = K.parse(data, table, start, end, offsets, times, keys, values, headers)
    if found < 0:
        base = table[-1 - found, K.BASE]
        raise _damaged(part, f"the records of the batch at offset {base} do not fill it")
    return Block(*part, data, offsets, times, keys, values, headers).part_of(0, found)


def _expanded(data: Bytes, table: Ints, part: Part) -> Iterator[tuple[Bytes, Ints]]:
    """Runs of uncompressed batches: in place, or unpacked into a new buffer of a few MB."""
    codecs = table[:, K.ATTRIBUTES] & _CODEC
    edges = [0, *(np.flatnonzero(np.diff(codecs != 0)) + 1).tolist(), len(table)]
    for first, last in pairwise(edges):
        run = table[first:last]
        if len(run) and codecs[first]:
            yield from _unpacked(data, run, part)
        elif len(run):
            yield data, run


def _unpacked(data: Bytes, run: Ints, part: Part) -> Iterator[tuple[Bytes, Ints]]:
    first, size, contents = 0, 0, list[bytes]()
    for row, batch in enumerate(run):
        content = _decoded(data, batch, part)
        if contents and size + len(content) > _EXPANDED_BYTES:
            yield _joined(contents, run[first:row])
            first, size, contents = row, 0, []
        contents.append(content)
        size += len(content)
    yield _joined(contents, run[first:])


def _joined(contents: list[bytes], run: Ints) -> tuple[Bytes, Ints]:
    """The batches over their unpacked bytes, as if each still had its header before them."""
    sizes = np.array([len(content) for content in contents], dtype=np.int64)
    table = run.copy()
    table[:, K.SIZE] = sizes + K.HEADER
    table[:, K.AT] = np.cumsum(sizes) - sizes - K.HEADER
    return np.frombuffer(bytearray().join(contents), dtype=np.uint8), table


def _decoded(data: Bytes, batch: Ints, part: Part) -> bytes:
    at, size, number = int(batch[K.AT]), int(batch[K.SIZE]), int(batch[K.ATTRIBUTES]) & _CODEC
    if number not in _CODECS:
        raise _damaged(part, f"the batch at offset {batch[K.BASE]} names compression {number}")
    name, installed, decode = _CODECS[number]
    if not installed():
        raise Fatal(
            f"records are compressed with {name}, whose codec is not installed",
            value=_named(part),
            remedy="install the package cramjam",
        )
    try:
        return decode(data[at + K.HEADER : at + size].tobytes())
    except _DECODE_ERRORS as error:
        raise _damaged(part, f"the {name} of the batch at offset {batch[K.BASE]}: {error}") from error


def _decode_errors() -> tuple[type[Exception], ...]:
    own: Any = getattr(codec.cramjam, "DecompressionError", None)
    return (OSError, EOFError, ValueError, zlib.error, struct.error, *((own,) if own else ()))


_DECODE_ERRORS = _decode_errors()


def _named(part: Part) -> str:
    return f"{part[0]}/{part[1]}"


def _damaged(part: Part, what: str) -> Fatal:
    remedy = "read again; if the error persists, a disk or a producer is faulty: compare with another replica"
    return Fatal(f"the log of {_named(part)} is damaged: {what}", remedy=remedy)


def contiguous(block: Block) -> tuple[Any, ...]:
    """The columns of ``block`` that ``kernel.fill`` takes, in memory without gaps."""
    columns = (block.data, block.timestamps, block.keys, block.values, block.headers)
    return tuple(np.ascontiguousarray(column) for column in columns)


def seal(out: Bytes, filling: Ints, producer: tuple[int, int], sequence: int) -> memoryview:
    """Write the header of the batch in ``out`` that ``kernel.fill`` filled; its bytes.

    ``producer``: id and epoch. The base offset is 0; the broker sets it.
    """
    size, count = int(filling[K.F_AT]), int(filling[K.F_COUNT])
    first, newest = int(filling[K.F_FIRST_TIME]), int(filling[K.F_MAX_TIME])
    view = out.data[:size]
    _COVERED.pack_into(view, CRC_START, 0, count - 1, first, newest, *producer, sequence, count)
    crc = calc_crc32c(view[CRC_START:])
    _UNCOVERED.pack_into(view, 0, 0, size - K.LENGTH_END, _NO_EPOCH, K.MAGIC, crc)
    return view
