"""``Columns``: many records of one schema as arrays instead of objects."""

from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from math import isfinite
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapedeck.schemas import varint
from tapedeck.schemas.codec import Body
from tapedeck.schemas.columns import kernel
from tapedeck.schemas.columns.layout import SCALE, Field, Layout, layout_of
from tapedeck.schemas.errors import DeadLetter

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

ABSENT = -1
"""The length of a null span."""

_EXACT = Context(prec=28)


def frozen(array: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """A contiguous read-only view: the numba functions are compiled for this form alone."""
    view = np.ascontiguousarray(array, dtype=dtype).view()
    view.flags.writeable = False
    return view


class Columns:
    """``n`` records of one schema. Nested records are flattened: "factors.base".

    ``ints`` int64 (n): integers, times in micros, dates in days, booleans 0 or 1, enums as index of
    ``symbols``, decimals unscaled at scale 6; null is NULL. ``floats`` float64 (n): null is NaN. ``spans``
    int64 (n, 2): start and length in ``data`` of a string's bytes, or of the raw Avro bytes of an array of
    strings; null has length -1. Write into the arrays (``ints["t"][:] = ...``), do not replace them.
    """

    def __init__(self, name: str, n: int, data: Bytes) -> None:
        self.name, self.n, self.data = name, n, data
        self.layout: Layout = layout_of(name)
        of = {block: self.layout.of_block(block) for block in ("ints", "floats", "spans")}
        # An odd number of cache lines per column: otherwise the columns of one row evict each other.
        width = n + (8 - n) % 16
        self.int_block = np.empty((len(of["ints"]), width), dtype=np.int64)
        self.float_block = np.empty((len(of["floats"]), width), dtype=np.float64)
        self.span_block = np.empty((len(of["spans"]), width, 2), dtype=np.int64)
        self.ints: Mapping[str, Ints] = _views(of["ints"], self.int_block, n)
        self.floats: Mapping[str, Floats] = _views(of["floats"], self.float_block, n)
        self.spans: Mapping[str, Ints] = _views(of["spans"], self.span_block, n)

    def __len__(self) -> int:
        return self.n

    @classmethod
    def empty(cls, name: str, n: int, data: Bytes) -> "Columns":
        """``n`` records to be filled, null in every field, over the bytes ``data``."""
        made = cls(name, n, data)
        made.int_block.fill(kernel.NULL)
        made.float_block.fill(np.nan)
        made.span_block[:] = 0, ABSENT
        return made

    @classmethod
    def of(cls, name: str, bodies: Sequence[Body]) -> "Columns":
        """The columns of bodies as ``schemas.codec.decode`` returns them.

        Raises DeadLetter (NOT_ENCODABLE) for a number that does not fit, KeyError for a missing field.
        """
        data = bytearray()
        made = cls.empty(name, len(bodies), np.empty(0, dtype=np.uint8))
        known: dict[Any, tuple[int, int]] = {}
        for field in made.layout.fields:
            values = _of_field(bodies, field)
            if field.kind in (kernel.STRING, kernel.STRINGS):
                made.spans[field.name][:] = _gathered(field, values, data, known)
                continue
            numbers = _numbers(field, values)
            made.column(field)[:] = _singly(field, values, name) if numbers is None else numbers
        made.data = np.frombuffer(bytes(data), dtype=np.uint8)
        return made

    def column(self, field: Field) -> NDArray[Any]:
        """The array of one field, whatever its block."""
        views: Mapping[str, NDArray[Any]]
        for views in (self.ints, self.floats, self.spans):
            if field.name in views:
                return views[field.name]
        raise KeyError(field.name)

    def take(self, indices: Any) -> "Columns":
        """The records at ``indices`` (int64, or a mask, or a slice), over the same bytes."""
        chosen = np.arange(self.n)[indices]
        made = Columns(self.name, len(chosen), self.data)
        made.int_block[:, : made.n] = self.int_block[:, chosen]
        made.float_block[:, : made.n] = self.float_block[:, chosen]
        made.span_block[:, : made.n] = self.span_block[:, chosen]
        return made

    def with_rows(self, rows: Ints, bodies: Sequence[Body]) -> "Columns":
        """These records with those at ``rows`` (int64) replaced by ``bodies`` from ``codec.decode``."""
        other = Columns.of(self.name, bodies)
        made = self.take(slice(None))
        made.data = np.concatenate((self.data, other.data))
        made.int_block[:, rows] = other.int_block[:, : other.n]
        made.float_block[:, rows] = other.float_block[:, : other.n]
        made.span_block[:, rows] = other.span_block[:, : other.n] + (len(self.data), 0)
        return made

    def strings(self, name: str) -> list[str | None]:
        """The texts of one column of strings."""
        spans = self.spans[name]
        if not len(spans):
            return []
        starts = spans[:, 0]
        ends = starts + spans[:, 1]
        low = int(starts.min())
        raw = self.data[low : max(low, int(ends.max()))].tobytes()
        return [
            raw[start:end].decode() if end >= start else None
            for start, end in zip((starts - low).tolist(), (ends - low).tolist(), strict=True)
        ]

    def row(self, index: int) -> Body:
        """One record as ``schemas.codec.decode`` returns its body."""
        body: Body = {}
        for field in self.layout.fields:
            *outer, last = field.path
            inside = body
            for key in outer:
                inside = inside.setdefault(key, {})
            inside[last] = self._value(field, index)
        return body

    def _value(self, field: Field, row: int) -> Any:
        if field.kind == kernel.DOUBLE:
            number = float(self.floats[field.name][row])
            return number if number == number else None  # noqa: PLR0124 - NaN is null
        if field.kind in (kernel.STRING, kernel.STRINGS):
            start, size = self.spans[field.name][row].tolist()
            if size == ABSENT:
                return None
            raw = self.data[start : start + size].tobytes()
            return raw.decode() if field.kind == kernel.STRING else unpack_strings(raw)
        value = int(self.ints[field.name][row])
        if value == kernel.NULL:
            return None
        if field.kind == kernel.BOOLEAN:
            return bool(value)
        if field.kind == kernel.ENUM:
            return field.symbols[value]
        return Decimal(value).scaleb(-SCALE, _EXACT) if field.kind == kernel.DECIMAL else value


def _views(fields: Sequence[Field], block: NDArray[Any], n: int) -> Mapping[str, NDArray[Any]]:
    return MappingProxyType({field.name: block[field.slot, :n] for field in fields})


def _of_field(bodies: Sequence[Body], field: Field) -> list[Any]:
    """The values of one field, None for null."""
    *outer, last = field.path
    inside: Sequence[Any] = bodies
    for key in outer:
        inside = [body[key] for body in inside]
    return [body[last] for body in inside]


def _gathered(
    field: Field, values: list[Any], data: bytearray, known: dict[Any, tuple[int, int]]
) -> list[tuple[int, int]]:
    """The spans in ``data`` of texts, or of arrays of them; each distinct text is stored once."""
    spans = []
    for value in values:
        if value is None:
            spans.append((0, ABSENT))
            continue
        text = value if field.kind == kernel.STRING else tuple(value)
        span = known.get(text)
        if span is None:
            raw = value.encode() if field.kind == kernel.STRING else pack_strings(value)
            span = known[text] = (len(data), len(raw))
            data += raw
        spans.append(span)
    return spans


def _numbers(field: Field, values: list[Any]) -> NDArray[Any] | None:
    """A whole column of plain numbers; None if one does not fit, or the field needs more than that."""
    nulls = values.count(None)
    try:
        if field.kind == kernel.DOUBLE:
            floats = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
            return floats if int(np.isfinite(floats).sum()) == len(values) - nulls else None
        if field.kind == kernel.DECIMAL:
            return None
        if field.kind == kernel.ENUM:
            places = {symbol: place for place, symbol in enumerate(field.symbols)}
            values = [None if value is None else places[value] for value in values]
        integers = np.array([kernel.NULL if value is None else value for value in values], dtype=np.int64)
    except (TypeError, ValueError, OverflowError, KeyError):
        return None
    return integers if int((integers == kernel.NULL).sum()) == nulls else None


def _singly(field: Field, values: list[Any], name: str) -> list[int | float]:
    """A column record by record: for decimals, and to say which value does not fit."""
    null = np.nan if field.kind == kernel.DOUBLE else kernel.NULL
    return [null if v is None else _packed(field, v, f"{name}.{field.name}") for v in values]


def _packed(field: Field, value: Any, path: str) -> int | float:
    match field.kind:
        case kernel.DOUBLE:
            packed = float(value)
            fits = isfinite(packed)
            if fits:
                return packed
        case kernel.ENUM:
            return field.symbols.index(value)
        case kernel.DECIMAL:
            value = int(value.scaleb(SCALE, _EXACT))
    if not kernel.NULL < value < -kernel.NULL:
        raise DeadLetter(
            f"{path} does not fit in a column",
            value=value,
            remedy="read it with schemas.codec, row by row",
            reason="NOT_ENCODABLE",
        )
    return int(value)


def pack_strings(values: Sequence[str]) -> bytes:
    """The Avro bytes of an array of strings: one block and the final 0."""
    out = bytearray()
    if values:
        varint.put(out, len(values))
        for value in values:
            encoded = value.encode()
            varint.put(out, len(encoded))
            out += encoded
    out.append(0)
    return bytes(out)


def unpack_strings(raw: bytes) -> list[str]:
    """The strings of an array as ``pack_strings`` packed them."""
    count, at = varint.get(raw, 0)
    found = []
    for _ in range(count):
        size, at = varint.get(raw, at)
        found.append(raw[at : at + size].decode())
        at += size
    return found
