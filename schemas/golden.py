"""Golden bytes: samples of every schema version, kept forever and checked against every later reader.

``python -m tapedeck.schemas`` adds a file for each version that has none. It never changes an old one.
A file is ``{"id", "name", "schema_sha256", "samples": [{"body", "wire"}]}``; ``wire`` is hexadecimal,
``body`` is the decoded record with decimals as text.
"""

import io
import json
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import fastavro

from tapedeck.schemas.codec import MAGIC, PREFIX, without_times
from tapedeck.schemas.guard import is_record_union
from tapedeck.schemas.ids import names, versions

FOLDER = Path(__file__).parent / "golden"


def schema_digest(document: dict[str, Any]) -> str:
    """SHA-256 of a schema document as written in the id log."""
    return sha256(json.dumps(document, separators=(",", ":")).encode()).hexdigest()


def samples_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """As many bodies as the widest union has branches, so that each branch occurs in one of them."""
    return [_sample(document, turn) for turn in range(_widest(document))]


def _widest(node: Any) -> int:
    if isinstance(node, list):
        return max(len(node), *map(_widest, node))
    if isinstance(node, dict):
        inner = [field["type"] for field in node.get("fields", ())] + [node.get("items"), node.get("values")]
        return max(map(_widest, inner))
    return 1


def _sample(node: Any, turn: int) -> Any:
    if isinstance(node, list):
        branch = node[(turn + len(node) - 1) % len(node)]
        value = _sample(branch, turn)
        return (f"tapedeck.{branch['name']}", value) if is_record_union(node) else value
    kind = node["type"] if isinstance(node, dict) else node
    match kind:
        case "record":
            return {field["name"]: _sample(field["type"], turn) for field in node["fields"]}
        case "array":
            return [_sample(node["items"], turn + i) for i in range(2)]
        case "map":
            return {"first": _sample(node["values"], turn), "second": _sample(node["values"], turn + 1)}
        case "enum":
            return node["symbols"][turn % len(node["symbols"])]
        case "bytes":
            return Decimal("12.345678") + turn
        case _:
            plain = {"string": f"text-{turn}", "double": 0.1 + turn, "boolean": turn % 2 == 0, "null": None}
            return plain.get(kind, 1_381_498_200 + turn)


def as_json(body: Any) -> Any:
    """A decoded body as a golden file stores it."""
    return json.loads(json.dumps(body, default=str))


def _encoded(schema_id: int, document: dict[str, Any], body: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    out.write(PREFIX.pack(MAGIC, schema_id))
    fastavro.schemaless_writer(out, fastavro.parse_schema(without_times(document)), body)
    return out.getvalue()


def add_missing(folder: Path = FOLDER) -> list[str]:
    """Write the file of each logged version that has none; returns their names."""
    folder.mkdir(exist_ok=True)
    added = []
    for name in names():
        for schema_id, document in versions(name):
            path = folder / f"{name}-{schema_id}.json"
            if path.exists():
                continue
            samples = [
                {"body": as_json(body), "wire": _encoded(schema_id, document, body).hex()}
                for body in samples_of(document)
            ]
            content = {
                "id": schema_id,
                "name": name,
                "schema_sha256": schema_digest(document),
                "samples": samples,
            }
            path.write_text(json.dumps(content, indent=1) + "\n")
            added.append(path.name)
    return added
