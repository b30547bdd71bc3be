"""Which columns a record has, and the program that reads and writes them, compiled from its ``.avsc``."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapedeck.schemas.codec import load_schema, without_times
from tapedeck.schemas.columns import kernel
from tapedeck.schemas.errors import Fatal

SCALE = 6
_PLAIN = {
    "long": kernel.LONG,
    "int": kernel.INT,
    "boolean": kernel.BOOLEAN,
    "double": kernel.DOUBLE,
    "string": kernel.STRING,
}


@dataclass(frozen=True, slots=True)
class Field:
    """One column: its dotted name, its kind and its place in the block of that kind.

    ``null_branch`` is the index of null in the field's union, -1 if the field is never null.
    """

    name: str
    kind: int
    slot: int
    null_branch: int = -1
    symbols: tuple[str, ...] = ()

    @property
    def path(self) -> list[str]:
        return self.name.split(".")


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of one record in the order of its schema. ``program``: see ``schemas.columns.kernel``."""

    fields: tuple[Field, ...]
    program: NDArray[np.int64]
    by_name: Mapping[str, Field]

    def of_block(self, block: str) -> list[Field]:
        """The fields of one block ("ints", "floats" or "spans") in the order of their places."""
        return [field for field in self.fields if block_of(field.kind) == block]


class _Unsupported(Exception):
    """The schema has a part that columns do not support."""


def block_of(kind: int) -> str:
    """The block that keeps fields of ``kind``."""
    return "floats" if kind == kernel.DOUBLE else "spans" if kind >= kernel.STRING else "ints"


def supports(name: str) -> bool:
    """Whether records of ``name`` can be columns: no maps, arrays of strings only, unions with null only."""
    return _compiled(name) is not None


def layout_of(name: str) -> Layout:
    """The columns of ``name``. Raises Fatal if ``supports`` is False."""
    found = _compiled(name)
    if found is None:
        raise Fatal("this record has no columns", value=name, remedy="use schemas.codec, row by row")
    return found


def symbols(name: str, field: str) -> tuple[str, ...]:
    """The symbols that an enum column's integers index. Raises Fatal if the column is not an enum."""
    found = layout_of(name).by_name.get(field)
    if found is None or not found.symbols:
        raise Fatal(f"{name} has no enum of this name", value=field, remedy=f"see schemas/avsc/{name}.avsc")
    return found.symbols


@cache
def _compiled(name: str) -> Layout | None:
    return compiled(load_schema(name))


def compiled(document: Mapping[str, Any]) -> Layout | None:
    """The layout of one ``.avsc`` document; None if it has a part that columns do not support."""
    taken = {"ints": 0, "floats": 0, "spans": 0}
    fields = []
    try:
        for path, kind, null_branch, names in _walk(without_times(document), ""):
            block = block_of(kind)
            fields.append(Field(path, kind, taken[block], null_branch, names))
            taken[block] += 1
    except _Unsupported:
        return None
    rows = [(f.kind, f.slot, f.null_branch, len(f.symbols)) for f in fields]
    program = np.array(rows, dtype=np.int64).reshape(-1, 4)
    program.flags.writeable = False
    return Layout(tuple(fields), program, {field.name: field for field in fields})


def _walk(record: Mapping[str, Any], inside: str) -> Iterator[tuple[str, int, int, tuple[str, ...]]]:
    for field in record["fields"]:
        path, node, null_branch = inside + field["name"], field["type"], -1
        if isinstance(node, dict) and node["type"] == "record":
            yield from _walk(node, path + ".")
            continue
        if isinstance(node, list):
            if len(node) != 2 or node.count("null") != 1:
                raise _Unsupported
            null_branch = node.index("null")
            node = node[1 - null_branch]
        yield path, _kind(node), null_branch, _symbols(node)


def _kind(node: Any) -> int:
    match node:
        case {"type": "enum"}:
            return kernel.ENUM
        case {"type": "array", "items": "string"}:
            return kernel.STRINGS
        case {"type": "bytes", "logicalType": "decimal", "scale": int(scale)} if scale == SCALE:
            return kernel.DECIMAL
        case str() if node in _PLAIN:
            return _PLAIN[node]
    raise _Unsupported


def _symbols(node: Any) -> tuple[str, ...]:
    return tuple(node["symbols"]) if isinstance(node, dict) and node["type"] == "enum" else ()
