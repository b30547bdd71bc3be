"""Outputs as log records, with the same headers as live output and with the watermarks in between."""

from typing import Any

import numpy as np
from numba import njit

from tapedeck.schemas.codec import PREFIX
from tapedeck.schemas.columns import varint
from tapedeck.schemas.columns.text import put_bytes, put_decimal, put_hex
from tapedeck.streams.blocks import Block, Bytes, Ints, pack_headers
from tapedeck.streams.columnar.arrays import moved, readonly, same
from tapedeck.streams.columnar.outs import Outs
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.shell import Forward
from tapedeck.streams.watermarks import headers_for, opening_headers
from tapedeck.streams.wire import TRACE, Headers, Origin
from tapedeck.topics.catalogue import WATERMARK_KEY

# ruff: noqa: PLR0917  (numba does not support keyword-only arguments)

_NONE = np.empty((0, 2), dtype=np.int64)
_ID, _TRACE = 32, 55
"""Characters of an event_id, and of a W3C trace context."""
_TRACE_READ = 53
"""How many characters of a trace context are checked: the flags after them do not matter."""
_ID_LENGTH, _ID_AT = 64, PREFIX.size + 1
"""Avro's length byte of an event_id, and where in a value the id follows it."""


@njit
def _put_piece(out: Any, at: int, pieces: Any, bounds: Any, number: int) -> Any:
    return put_bytes(out, at, pieces, bounds[number], bounds[number + 1] - bounds[number])


@njit
def _trace_of(data: Any, at: int, size: int, name: Any) -> Any:
    """Where the trace id in a record's trace context starts, -1 if there is no readable one."""
    if size <= 0:
        return -1
    count, at = varint.get(data, at)
    for _ in range(count):
        length, at = varint.get(data, at)
        matches = same(data, at, length, name)
        length, at = varint.get(data, at + length)
        if matches:
            return _trace_in(data, at) if length >= _TRACE_READ else -1
        at += max(length, 0)  # negative means null
    return -1


@njit
def _trace_in(data: Any, at: int) -> Any:
    if data[at + 2] != 45 or data[at + 35] != 45 or data[at + 52] != 45:
        return -1
    for k in range(52):
        c = data[at + k]
        if k not in (2, 35) and not (48 <= c <= 57 or 97 <= c <= 102):
            return -1
    return at + 3


@njit
def _id_in(data: Any, at: int, size: int) -> Any:
    """Where the event_id at the start of a record's value starts, -1 if there is none."""
    if size < _ID_AT + _ID or data[at + _ID_AT - 1] != _ID_LENGTH:
        return -1
    for k in range(at + _ID_AT, at + _ID_AT + _ID):
        if not (48 <= data[k] <= 57 or 97 <= data[k] <= 102):
            return -1
    return at + _ID_AT


@njit(cache=True, nogil=True)
def _headers(
    cause_data: Any, cause_headers: Any, cause_values: Any, offsets: Any, causes: Any, ids: Any, pieces: Any,
    bounds: Any, name: Any, out: Any, spans: Any,
) -> int:  # fmt: skip
    """Per output: the fixed part, ce_id, ce_type, traceparent, tape-cause; returns the bytes written."""
    at = 0
    for row in range(len(causes)):
        start, cause = at, causes[row]
        at = _put_piece(out, at, pieces, bounds, 0)
        at = put_hex(out, at, ids[row])
        at = _put_piece(out, at, pieces, bounds, 1)
        trace = _trace_of(cause_data, cause_headers[cause, 0], cause_headers[cause, 1], name)
        if trace < 0:
            trace = _id_in(cause_data, cause_values[cause, 0], cause_values[cause, 1])
        at = put_bytes(out, at, cause_data, trace, 32) if trace >= 0 else put_hex(out, at, ids[row])
        out[at] = 45
        put_hex(out, at + 1, ids[row])
        at = _put_piece(out, at + 17, pieces, bounds, 2)
        length_at = at
        at = _put_piece(out, at + 1, pieces, bounds, 3)
        at = put_decimal(out, at, offsets[cause])
        out[length_at] = (at - length_at - 1) << 1
        spans[row, 0], spans[row, 1] = start, at - start
    return at


@njit(cache=True, nogil=True)
def _uncaused(ids: Any, pieces: Any, bounds: Any, out: Any, spans: Any) -> int:
    """Like ``_headers`` for outputs that a watermark caused: each has its own trace, and names no cause."""
    at = 0
    for row in range(len(ids)):
        start = at
        at = _put_piece(out, at, pieces, bounds, 0)
        at = put_hex(out, at, ids[row])
        at = _put_piece(out, at, pieces, bounds, 1)
        at = put_hex(out, at, ids[row])
        out[at] = 45
        put_hex(out, at + 1, ids[row])
        at = _put_piece(out, at + 17, pieces, bounds, 2)
        spans[row, 0], spans[row, 1] = start, at - start
    return at


class Records:
    """Turns outputs into log records with the headers of live output. ``ingest_us``: when, UTC micros."""

    def __init__(self, origin: Origin, ingest_us: int) -> None:
        self._static = [*origin.static(), ("tape-ingest-time", str(ingest_us).encode())]
        self._trace = np.frombuffer(TRACE.encode(), dtype=np.uint8)

    def block(self, outs: Outs, source: Block | None, marks: list[tuple[int, Forward]]) -> Block:
        """``outs`` with watermarks and openings in between, ordered by index; offsets start at 0.

        Indices are those of the causes in ``source``, or a separate order where watermarks caused everything.
        """
        headers, spans = self._headers(outs, source)
        base = len(outs.data)
        keys, values = [outs.keys], [outs.values]
        times, all_spans = [outs.times // 1000], [moved(spans, base)]
        parts = [outs.data, headers]
        if marks:
            said = [_punctuation(each) for _, each in marks]
            parts.append(np.frombuffer(b"".join([WATERMARK_KEY, *said]), dtype=np.uint8))
            key_at, n = base + len(headers), len(marks)
            sizes = np.array([len(each) for each in said], dtype=np.int64)
            starts = key_at + len(WATERMARK_KEY) + np.cumsum(sizes) - sizes
            all_spans.append(np.stack([starts, sizes], axis=1))
            keys.append(np.tile(np.array([[key_at, len(WATERMARK_KEY)]]), (n, 1)))
            values.append(np.tile(np.array([[0, -1]]), (n, 1)))
            times.append(np.array([(each.label + MINUTE_US) // 1000 for _, each in marks]))
        places = np.concatenate([outs.causes, np.array([place for place, _ in marks], dtype=np.int64)])
        order = np.argsort(places, kind="stable")
        return Block(
            outs.topic,
            outs.partition,
            np.concatenate(parts),
            np.arange(len(order)),
            np.concatenate(times)[order],
            np.concatenate(keys)[order],
            np.concatenate(values)[order],
            np.concatenate(all_spans)[order],
        )

    def _headers(self, outs: Outs, source: Block | None) -> tuple[Bytes, Ints]:
        if not len(outs):
            return np.empty(0, dtype=np.uint8), _NONE
        pieces, bounds = self._pieces(outs.topic, source)
        out = np.empty(len(outs) * (len(pieces) + 32 + 32 + 17 + 24), dtype=np.uint8)
        spans = np.empty((len(outs), 2), dtype=np.int64)
        if source is None:
            size = _uncaused(outs.ids, pieces, bounds, out, spans)
        else:
            size = _headers(
                readonly(source.data), source.headers, source.values, source.offsets, outs.causes, outs.ids,
                pieces, bounds, self._trace, out, spans,
            )  # fmt: skip
        return out[:size], spans

    def _pieces(self, topic: str, source: Block | None) -> tuple[Bytes, Ints]:
        """The bytes before the id, before the trace, after it, before the cause's offset; their bounds."""
        of_type = ("ce_type", f"tapedeck.{topic}".encode())
        count = len(self._static) + (3 if source is None else 4)
        pieces = [
            _packed([*self._static, ("ce_id", bytes(_ID))], count)[:-_ID],
            _packed([of_type, (TRACE, bytes(_TRACE))])[:-_TRACE] + b"00-",
            b"-01",
        ]
        if source is not None:
            pieces[-1] += _packed([("tape-cause", b"")])[:-1]
            pieces.append(f"{source.topic}/{source.partition}@".encode())
        bounds = np.cumsum([0, *map(len, pieces)]).astype(np.int64)
        return np.frombuffer(b"".join(pieces), dtype=np.uint8), bounds


def _punctuation(forward: Forward) -> bytes:
    """The headers of a forwarded watermark or opening."""
    if forward.absent is None:
        return pack_headers(headers_for(forward.label))
    return pack_headers(opening_headers(forward.label, forward.absent))


def _packed(headers: Headers, count: int | None = None) -> bytes:
    """Headers as in the log, after the total count where it is given. A count below 64 is one byte."""
    return (b"" if count is None else bytes([count << 1])) + pack_headers(headers)[1:]
