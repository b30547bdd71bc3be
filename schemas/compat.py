"""The compatibility gate: what a new version of a schema may change. Runs without a server.

Facts are BACKWARD_TRANSITIVE: the newest reader reads every version ever written. So are the records of
accounts (``REFUSED_WHEN_NEWER``): their readers are upgraded first, and an older process refuses a newer one
by name. Other state and proposals are FULL_TRANSITIVE: any version reads any other, because an older process
may take a key over. We add rules of our own, because generic checkers allow too much: logical types, scale
and precision never change, enum symbols keep their order (new ones go to the end), and records, enums and
fields are never renamed.

``python -m tapedeck.schemas.compat`` prints each fault, and exits with 1 if there is one.
"""

import json
import sys
from collections.abc import Iterator
from itertools import combinations
from typing import Any, NamedTuple

from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse

from tapedeck.schemas.ids import names, versions

FULL = frozenset(
    {
        "accounts",
        "earnings",
        "heartbeats",
        "memberships",
        "proposals",
        "regime",
        "sentiment_windows",
        "universe",
        "watchlist",
    }
)
"""State (compacted topics) and reservations, except what an older process refuses to read."""

_FIXED = ("logicalType", "scale", "precision")


class Break(NamedTuple):
    """One forbidden change between two versions."""

    path: str
    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.rule}: {self.what}"


def check_history(name: str, history: list[dict[str, Any]]) -> list[Break]:
    """Every forbidden change between any older and any newer document of ``history`` (oldest first)."""
    return [
        fault
        for older, newer in combinations(history, 2)
        for fault in (*_generic(name, older, newer), *own_rules(older, newer))
    ]


def check_log() -> list[Break]:
    """The forbidden changes in the id log."""
    return [fault for name in names() for fault in check_history(name, [doc for _, doc in versions(name)])]


def readable(reader: dict[str, Any], writer: dict[str, Any]) -> list[str]:
    """Why ``reader`` cannot read what ``writer`` wrote, by the generic checker; empty if it can."""
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
    result = checker.get_compatibility(parse(json.dumps(reader)), parse(json.dumps(writer)))
    if result.compatibility is SchemaCompatibilityType.compatible:
        return []
    return sorted(f"{at}: {message}" for at, message in zip(result.locations, result.messages, strict=False))


def _generic(name: str, older: dict[str, Any], newer: dict[str, Any]) -> Iterator[Break]:
    for why in readable(reader=newer, writer=older):
        yield Break(name, "BACKWARD", why)
    if name in FULL:
        for why in readable(reader=older, writer=newer):
            yield Break(name, "FORWARD", why)


def own_rules(older: Any, newer: Any) -> list[Break]:
    """The changes that this project forbids and generic checkers allow."""
    return list(_compare(older, newer, older["name"]))


def _compare(older: Any, newer: Any, path: str) -> Iterator[Break]:
    if isinstance(older, list) or isinstance(newer, list):
        yield from _compare_unions(older, newer, path)
        return
    old, new = _as_document(older), _as_document(newer)
    for attribute in _FIXED:
        if old.get(attribute) != new.get(attribute):
            yield Break(path, attribute, f"{old.get(attribute)} became {new.get(attribute)}")
    for attribute in ("name", "namespace"):
        if old.get(attribute) != new.get(attribute):
            yield Break(path, "name", f"{old.get(attribute)} became {new.get(attribute)}")
    if new.get("aliases"):
        yield Break(path, "name", f"aliases {', '.join(new['aliases'])} hide another name")
    if "symbols" in old and "symbols" in new and new["symbols"][: len(old["symbols"])] != old["symbols"]:
        yield Break(path, "enum order", f"{', '.join(old['symbols'])} became {', '.join(new['symbols'])}")
    for inner in ("items", "values"):
        if inner in old and inner in new:
            yield from _compare(old[inner], new[inner], f"{path}[]")
    if "fields" in old and "fields" in new:
        yield from _compare_fields(old["fields"], new["fields"], path)


def _compare_fields(old: list[dict[str, Any]], new: list[dict[str, Any]], path: str) -> Iterator[Break]:
    by_name = {field["name"]: field for field in new}
    for field in new:
        if field.get("aliases"):
            aliases = ", ".join(field["aliases"])
            yield Break(f"{path}.{field['name']}", "name", f"aliases {aliases} hide another name")
    for field in old:
        if field["name"] in by_name:
            yield from _compare(field["type"], by_name[field["name"]]["type"], f"{path}.{field['name']}")


def _compare_unions(older: Any, newer: Any, path: str) -> Iterator[Break]:
    old = older if isinstance(older, list) else [older]
    new = newer if isinstance(newer, list) else [newer]
    by_name = {_branch_name(branch): branch for branch in new}
    for branch in old:
        if _branch_name(branch) in by_name:
            yield from _compare(branch, by_name[_branch_name(branch)], path)


def _branch_name(node: Any) -> str:
    document = _as_document(node)
    return str(document.get("name", document["type"]))


def _as_document(node: Any) -> dict[str, Any]:
    return node if isinstance(node, dict) else {"type": node}


if __name__ == "__main__":
    faults = check_log()
    print("\n".join(map(str, faults)) or "every version is compatible")
    sys.exit(bool(faults))
