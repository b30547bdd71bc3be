"""The bytes that columns of strings point into: constants, event_ids, arrays of event_ids."""

from typing import Any

import numpy as np
from numba import njit

from tapedeck.schemas.columns import varint
from tapedeck.schemas.columns.text import put_bytes
from tapedeck.streams.blocks import Bytes, Ints
from tapedeck.streams.columnar.arrays import hex_of, moved, readonly


@njit(cache=True, nogil=True)
def _arrays(data: Any, ids: Any, out: Any, spans: Any) -> Any:
    at = 0
    for row in range(len(ids)):
        start, count = at, 0
        for k in range(ids.shape[1]):
            count += ids[row, k, 1] >= 0
        if count:
            at = varint.put(out, at, count)
            for k in range(ids.shape[1]):
                if ids[row, k, 1] >= 0:
                    at = varint.put(out, at, ids[row, k, 1])
                    at = put_bytes(out, at, data, ids[row, k, 0], ids[row, k, 1])
        out[at] = 0
        at += 1
        spans[row, 0], spans[row, 1] = start, at - start
    return at


class Texts:
    """The bytes that columns of strings point into, collected piece by piece."""

    def __init__(self, data: Bytes) -> None:
        self._parts = [data]
        self._size = len(data)

    def add(self, content: Bytes) -> int:
        """Append ``content``; returns where it starts."""
        at = self._size
        self._parts.append(content)
        self._size += len(content)
        return at

    def constant(self, text: str) -> tuple[int, int]:
        """The span of ``text``."""
        content = np.frombuffer(text.encode(), dtype=np.uint8)
        return self.add(content), len(content)

    def ids(self, raw: Bytes) -> Ints:
        """The spans of raw event_ids as text, int64 (n, 2)."""
        at = self.add(hex_of(raw))
        spans = np.empty((len(raw), 2), dtype=np.int64)
        spans[:, 0] = at + 32 * np.arange(len(raw))
        spans[:, 1] = 32
        return spans

    def arrays(self, data: Bytes, ids: Ints) -> Ints:
        """The spans of Avro arrays of ids. ``ids`` int64 (n, k, 2): spans in ``data``, length -1 for none."""
        out = np.empty(
            int(np.maximum(ids[:, :, 1], 0).sum()) + len(ids) * (3 + 3 * ids.shape[1]), dtype=np.uint8
        )
        spans = np.empty((len(ids), 2), dtype=np.int64)
        size = _arrays(readonly(data), ids, out, spans)
        return moved(spans, self.add(out[:size]))

    def whole(self) -> Bytes:
        return np.concatenate(self._parts)
