"""The append-only id log ``schemas/ids.jsonl``: one line per schema version ever written.

A line is ``{"id", "name", "schema"}``. Lines are added by ``python -m tapedeck.schemas`` (with the golden
bytes of the new version) and never changed, so that a reader needs no registry to decode what an older writer
left.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from tapedeck.schemas.errors import Fatal

LOG_NAME = "ids.jsonl"
REGISTRY_VARIABLE = "SCHEMA_REGISTRY_URL"
"""Names the registry whose ids are on the wire, in every process that reads or writes records."""

REFUSED_WHEN_NEWER = frozenset({"account_inbox", "orders", "positions"})
"""The records of an account that no process may leave out because it does not know their schema: it stops.

Their schemas are BACKWARD_TRANSITIVE; readers are upgraded before writers.
"""


FIRST_OWN = 1_000_000
"""Ids from here on are for packages with records of their own; the shipped log stays below."""

Rows = dict[int, tuple[str, dict[str, Any]]]
"""Lines of an id log: record name and schema by id."""

LAST = 2**31 - 1
"""The highest id that other tools read: on the wire an id has four bytes, and many take them as signed."""

_declared: Rows = {}


def declare(log: Traversable) -> None:
    """Add the records of another package: ``log`` has the lines of an id log, with ids from FIRST_OWN on.

    Raises Fatal for a line that cannot be read, an id below FIRST_OWN, and an id or a name that is taken.
    """
    try:
        adopt(dict(_own_line(log, line) for line in log.read_text().splitlines() if line.strip()))
    except Fatal as error:
        raise error.at(str(log)) from error.__cause__


def declared(names: Collection[str | None]) -> Rows:
    """What packages have declared of the records ``names``, every version."""
    return {schema_id: row for schema_id, row in _declared.items() if row[0] in names}


def adopt(rows: Rows) -> None:
    """Declare ``rows``. Raises Fatal for an id or a name that is taken."""
    by_id, newest = _log()
    for schema_id, (name, schema) in rows.items():
        if by_id.get(schema_id, (name, schema)) != (name, schema):
            raise Fatal(
                f"two schemas have the same id, {by_id[schema_id][0]} and {name}: readers would confuse them",
                value=schema_id,
                remedy=f"give {name} another id in its id log",
            )
        if newest.get(name, schema_id) not in rows:
            raise Fatal(
                "two packages have a record with the same name",
                value=name,
                remedy=f"give it another name in its id log: id {newest[name]} already has this name",
            )
    _replace_declared(_declared | rows)


def _replace_declared(rows: Rows) -> None:
    _declared.clear()
    _declared.update(rows)
    _log.cache_clear()
    log_ids.cache_clear()


@contextmanager
def scratch() -> Iterator[None]:
    """What is declared meanwhile is forgotten afterwards."""
    before = dict(_declared)
    try:
        yield
    finally:
        _replace_declared(before)


def _own_line(log: Traversable, line: str) -> tuple[int, tuple[str, dict[str, Any]]]:
    try:
        row = json.loads(line)
        schema_id, name, schema = int(row["id"]), str(row["name"]), dict(row["schema"])
    except (ValueError, KeyError, TypeError) as error:
        remedy = f'a line is {{"id": {FIRST_OWN}, "name": ..., "schema": {{...}}}}'
        what = f"a line of {log.name} cannot be read: {error!r}"
        raise Fatal(what, value=line[:80], remedy=remedy) from error
    if not FIRST_OWN <= schema_id <= LAST:
        remedy = f"use ids from {FIRST_OWN} to {LAST}: lower ids belong to the shipped log"
        raise Fatal(f"an id of {log.name} is not in the range for packages", value=schema_id, remedy=remedy)
    return schema_id, (name, schema)


@cache
def _log() -> tuple[dict[int, tuple[str, dict[str, Any]]], dict[str, int]]:
    by_id: dict[int, tuple[str, dict[str, Any]]] = {}
    newest: dict[str, int] = {}
    path = resources.files("tapedeck.schemas") / LOG_NAME
    for line in path.read_text().splitlines():
        row = json.loads(line)
        by_id[row["id"]] = (row["name"], row["schema"])
        newest[row["name"]] = row["id"]
    for schema_id, (name, schema) in sorted(_declared.items()):
        by_id[schema_id] = (name, schema)
        newest[name] = schema_id
    return by_id, newest


def declared_schema(name: str) -> dict[str, Any] | None:
    """The newest schema of a record that another package declared; None for any other name."""
    found = [schema for _, (known, schema) in sorted(_declared.items()) if known == name]
    return found[-1] if found else None


def names() -> list[str]:
    """Every record name in the log, sorted."""
    return sorted(_log()[1])


def schema_of(schema_id: int) -> tuple[str, dict[str, Any]]:
    """Record name and schema document of one id. Raises KeyError for an unknown id."""
    return _log()[0][schema_id]


def current_id(name: str) -> int:
    """The id that writers of ``name`` stamp. Raises Fatal if the log has none."""
    try:
        return _log()[1][name]
    except KeyError:
        remedy = "run python -m tapedeck.schemas"
        raise Fatal("no schema id for this record", value=name, remedy=remedy) from None


def next_own() -> int:
    """The first id from FIRST_OWN on that no package has declared so far."""
    return max(_declared, default=FIRST_OWN - 1) + 1


def newest_id() -> int:
    """The highest id of the shipped log."""
    return max(schema_id for schema_id in _log()[0] if schema_id < FIRST_OWN)


def versions(name: str) -> list[tuple[int, dict[str, Any]]]:
    """Every (id, schema) of ``name`` ever logged, oldest first."""
    return [(i, schema) for i, (n, schema) in sorted(_log()[0].items()) if n == name]


@dataclass(frozen=True)
class IdMap:
    """The ids on the wire: of each record name for writers, and back to ids of the log for readers."""

    to_wire: Mapping[str, int]
    to_log: Mapping[int, int]


@cache
def log_ids() -> IdMap:
    """The ids of the log itself, used where no registry is."""
    by_id, newest = _log()
    return IdMap(to_wire=newest, to_log={schema_id: schema_id for schema_id in by_id})


def append_changed(folder: Path) -> list[str]:
    """Log each ``.avsc`` under ``folder``/avsc that differs from its newest version; returns their names."""
    added = []
    by_id, newest = _log()
    next_id = max((each for each in by_id if each < FIRST_OWN), default=0) + 1
    with (folder / LOG_NAME).open("a") as log:
        for path in sorted((folder / "avsc").glob("*.avsc")):
            name, schema = path.stem, json.loads(path.read_text())
            if name in newest and by_id[newest[name]][1] == schema:
                continue
            row = {"id": next_id, "name": name, "schema": schema}
            log.write(json.dumps(row, separators=(",", ":")) + "\n")
            added.append(name)
            next_id += 1
    _log.cache_clear()
    log_ids.cache_clear()
    return added
