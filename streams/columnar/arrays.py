"""Byte-level work of the columnar driver, by block: watermark labels, key numbers, ids, row hashes."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tapedeck.schemas.columns import varint
from tapedeck.schemas.columns.text import put_bytes, put_decimal, put_hex
from tapedeck.streams.blocks import Block, Bytes, Ints
from tapedeck.streams.columnar.sha256 import sha256_of
from tapedeck.streams.identity import RULES_VERSION
from tapedeck.streams.watermarks import LABEL_HEADER, OPENS_HEADER
from tapedeck.topics.catalogue import WATERMARK_KEY

# ruff: noqa: PLR0917  (numba does not support keyword-only arguments)

RECORD = -(2**63)
"""The label of a row that is not a watermark."""
OPENING = RECORD + 1
"""The label of an opening. Openings are rare, so their headers are read one by one."""
UNREADABLE = RECORD + 2
"""The label of a watermark whose own label cannot be read."""

_KEY = np.frombuffer(WATERMARK_KEY, dtype=np.uint8)
_NAME = np.frombuffer(LABEL_HEADER.encode(), dtype=np.uint8)
_OPENS = np.frombuffer(OPENS_HEADER.encode(), dtype=np.uint8)


def readonly(data: Bytes) -> Bytes:
    """A read-only view: numba would compile a second version for writable arrays."""
    view = data.view()
    view.flags.writeable = False
    return view


def moved(spans: Ints, shift: int) -> Ints:
    """``spans`` of bytes that moved ``shift`` further on."""
    return spans + np.array([shift, 0], dtype=np.int64)


@njit
def same(data: Any, start: int, length: int, other: Any) -> bool:
    if length != len(other):
        return False
    begin = np.uint64(start)
    differs = np.uint8(0)
    for k in range(np.uint64(length)):
        differs |= data[begin + k] ^ other[k]
    return bool(differs == 0)


@njit
def _label(data: Any, at: int, name: Any, opens: Any) -> int:
    found = UNREADABLE
    count, at = varint.get(data, at)
    for _ in range(count):
        size, at = varint.get(data, at)
        matches = same(data, at, size, name)
        if same(data, at, size, opens):
            found = OPENING
        size, at = varint.get(data, at + size)
        if matches:
            sign, k, value = 1, 0, 0
            if size > 1 and data[at] == 45:
                sign, k = -1, 1
            if size <= 0 or size - k > 18:  # a negative length means null
                return UNREADABLE
            for place in range(at + k, at + size):
                digit = int(data[place]) - 48
                if digit < 0 or digit > 9:
                    return UNREADABLE
                value = value * 10 + digit
            return sign * value
        at += max(size, 0)
    return found


@njit(cache=True, nogil=True)
def _labels(
    data: Any, keys: Any, values: Any, headers: Any, key: Any, name: Any, opens: Any, out: Any
) -> None:
    for row in range(len(keys)):
        out[row] = RECORD
        if values[row, 1] < 0 and same(data, keys[row, 0], keys[row, 1], key):
            out[row] = _label(data, headers[row, 0], name, opens) if headers[row, 1] > 0 else UNREADABLE


def labels_of(block: Block) -> Ints:
    """The label of each row that is a watermark, else RECORD, OPENING or UNREADABLE: int64 (n)."""
    out = np.empty(len(block), dtype=np.int64)
    _labels(readonly(block.data), block.keys, block.values, block.headers, _KEY, _NAME, _OPENS, out)
    return out


@njit(cache=True, nogil=True)
def _intern(data: Any, spans: Any, known: Any, bounds: Any, count: int, out: Any, fresh: Any) -> int:
    """Number each span among the known texts. A new text gets -1 - its index in ``fresh``."""
    n_fresh = 0
    last = -1
    for row in range(len(spans)):
        start, length = spans[row, 0], max(spans[row, 1], 0)
        found = -1
        if last >= 0 and same(data, start, length, known[bounds[last] : bounds[last + 1]]):
            found = last
        else:
            for k in range(count):
                if same(data, start, length, known[bounds[k] : bounds[k + 1]]):
                    found = k
                    break
        if found < 0:
            fresh[n_fresh] = row
            n_fresh += 1
        else:
            last = found
        out[row] = found
    return n_fresh


class Interner:
    """Numbers texts in order of appearance: keys as integers. For hundreds of texts, not millions."""

    def __init__(self, texts: Iterable[bytes] = ()) -> None:
        self.texts = list(texts)
        self._learn()

    def ids_of(self, data: Bytes, spans: Ints) -> Ints:
        """The number of each span's text, int64 (n). A null counts as empty text."""
        out = np.empty(len(spans), dtype=np.int64)
        fresh = np.empty(len(spans), dtype=np.int64)
        while True:
            n = _intern(readonly(data), spans, self._known, self._bounds, len(self.texts), out, fresh)
            if not n:
                return out
            for row in fresh[: min(n, 1000)].tolist():
                start, length = spans[row].tolist()
                text = data[start : start + max(length, 0)].tobytes()
                if text not in self.texts:
                    self.texts.append(text)
            self._learn()

    def _learn(self) -> None:
        self._known = np.frombuffer(b"".join(self.texts) or b"\0", dtype=np.uint8)
        self._bounds = np.cumsum([0, *map(len, self.texts)]).astype(np.int64)


@njit(cache=True, nogil=True)
def _identity_texts(
    head: Any, tail: Any, data: Any, parts: Any, time: Any, revision: Any, inputs: Any, out: Any, spans: Any
) -> None:
    """``head parts|..|time|revision tail input,input``; a part or an input of length -1 is left out."""
    at = 0
    for row in range(len(time)):
        start = at
        at = put_bytes(out, at, head, 0, len(head))
        for k in range(parts.shape[1]):
            if parts[row, k, 1] >= 0:
                at = put_bytes(out, at, data, parts[row, k, 0], parts[row, k, 1])
                out[at] = 124
                at += 1
        at = put_decimal(out, at, time[row])
        out[at] = 124
        at = put_decimal(out, at + 1, revision[row])
        at = put_bytes(out, at, tail, 0, len(tail))
        for k in range(inputs.shape[1]):
            if inputs[row, k, 1] >= 0:
                if k:
                    out[at] = 44
                    at += 1
                at = put_bytes(out, at, data, inputs[row, k, 0], inputs[row, k, 1])
        spans[row, 0], spans[row, 1] = start, at - start


def event_ids(
    record_type: str, config_digest: str, data: Bytes, parts: Ints, time: Ints, revision: Ints, inputs: Ints
) -> Bytes:
    """The raw event_ids of derived records, uint8 (n, 16), as ``streams.identity.event_id`` computes them.

    ``parts`` int64 (n, k, 2): the spans of the natural key's texts, which end in ``time``; ``inputs`` int64
    (n, j, 2): the spans of the input event_ids, length -1 if there is none.
    """
    head = np.frombuffer(f"{record_type}|".encode(), dtype=np.uint8)
    tail = np.frombuffer(f"|{RULES_VERSION}|{config_digest}|".encode(), dtype=np.uint8)
    n = len(time)
    lengths = np.maximum(parts[:, :, 1], 0).sum() + np.maximum(inputs[:, :, 1], 0).sum()
    size = int(lengths) + n * (len(head) + len(tail) + parts.shape[1] + inputs.shape[1] + 44)
    out = np.empty(size, dtype=np.uint8)
    spans = np.empty((n, 2), dtype=np.int64)
    _identity_texts(head, tail, readonly(data), parts, time, revision, inputs, out, spans)
    return np.ascontiguousarray(sha256_of(out, spans)[:, :16])


@njit(cache=True, nogil=True)
def _hex(raw: Any, out: Any) -> None:
    for row in range(len(raw)):
        put_hex(out, row * 32, raw[row])


def hex_of(raw: Bytes) -> Bytes:
    """Raw event_ids as text, uint8 (n * 32)."""
    out = np.empty(len(raw) * 32, dtype=np.uint8)
    _hex(raw, out)
    return out


@njit(cache=True, nogil=True)
def _row_texts(data: Any, keys: Any, values: Any, prefix: int, out: Any, spans: Any) -> None:
    at = 0
    for row in range(len(keys)):
        start, length = at, max(keys[row, 1], 0)
        for k in range(4):
            out[at + k] = (length >> (24 - 8 * k)) & 0xFF
        at = put_bytes(out, at + 4, data, keys[row, 0], length)
        at = put_bytes(out, at, data, values[row, 0] + prefix, values[row, 1] - prefix)
        spans[row, 0], spans[row, 1] = start, at - start


def rows_of(ids: Bytes, data: Bytes, keys: Ints, values: Ints, prefix: int) -> Bytes:
    """Rows as ``columnar.rows`` keeps them, uint8 (n, 32); bodies start ``prefix`` bytes into a value."""
    out = np.empty(int(np.maximum(keys[:, 1], 0).sum() + values[:, 1].sum()) + 4 * len(ids), dtype=np.uint8)
    spans = np.empty((len(ids), 2), dtype=np.int64)
    _row_texts(readonly(data), keys, values, prefix, out, spans)
    found = np.empty((len(ids), 32), dtype=np.uint8)
    found[:, :16] = ids
    found[:, 16:] = sha256_of(out, spans)[:, :16]
    return found


@njit
def _unhex(data: Any, at: int, out: Any) -> bool:
    for k in range(16):
        byte = 0
        for half in range(2):
            c = int(data[at + 2 * k + half])
            if 48 <= c <= 57:
                digit = c - 48
            elif 97 <= c <= 102:
                digit = c - 87
            elif 65 <= c <= 70:
                digit = c - 55
            else:
                return False
            byte = byte * 16 + digit
        out[k] = byte
    return True


@njit(cache=True, nogil=True)
def _raw_ids(data: Any, spans: Any, out: Any, odd: Any) -> int:
    n_odd = 0
    for row in range(len(spans)):
        if spans[row, 1] != 32 or not _unhex(data, spans[row, 0], out[row]):
            odd[n_odd] = row
            n_odd += 1
    return n_odd


def raw_ids(data: Bytes, spans: Ints) -> tuple[Bytes, NDArray[np.int64]]:
    """(raw event_ids uint8 (n, 16), indices of those that are not 32 hex digits)."""
    out = np.zeros((len(spans), 16), dtype=np.uint8)
    odd = np.empty(len(spans), dtype=np.int64)
    return out, odd[: _raw_ids(readonly(data), spans, out, odd)]
