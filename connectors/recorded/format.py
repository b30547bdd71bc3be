"""Regression tapes: a folder with ``records.avro`` and ``manifest.json``, and a check of every byte.

``records.avro`` is an Avro object container, deflated: topic, partition, time in ms, key, value and headers
of each record, each partition's in log order, with the id log's schema ids. ``manifest.json`` says where they
come from, under which configuration they are decided, and the digests of the topics and tables that result.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import md5, sha256
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import fastavro
from pydantic import BaseModel, ConfigDict, ValidationError

from tapedeck.schemas.codec import with_log_id, with_wire_id
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.config.document import Config, from_dict
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import Message
from tapedeck.topics.catalogue import Layout

FORMAT = 1
RECORDS, MANIFEST = "records.avro", "manifest.json"
_AGAIN = "restore the folder from version control, or record it again"
_REMAKE = "if that is intended, recompute its digests with `tape record --update`"


def _schema(content: Any) -> Any:
    header = {
        "type": "record",
        "name": "Header",
        "fields": [{"name": "name", "type": "string"}, {"name": "content", "type": content}],
    }
    fields = [
        {"name": "topic", "type": "string"},
        {"name": "partition", "type": "int"},
        {"name": "timestamp", "type": "long", "doc": "ms"},
        {"name": "key", "type": ["null", "bytes"]},
        {"name": "value", "type": ["null", "bytes"]},
        {"name": "headers", "type": {"type": "array", "items": header}},
    ]
    return fastavro.parse_schema(
        {"type": "record", "name": "Recorded", "namespace": "tapedeck", "fields": fields}
    )


_PARSED, _PARSED_WITH_NULL = _schema("bytes"), _schema(["bytes", "null"])
"""The second one is for null headers; a file without them keeps the bytes that it always had."""
_BLOCK_BYTES = 1 << 18
_SYNC = md5(b"tapedeck.Recorded", usedforsecurity=False).digest()
"""The marker between blocks; always the same, so that the same records give the same bytes."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Digest(_Strict):
    """The distinct records of a topic, or the keys of a table: count and SHA-256 (``streams.digests``)."""

    count: int
    sha256: str


class Manifest(_Strict):
    """What a regression tape is. Times are ISO 8601, UTC: ``start`` to ``end`` is the window, ``history``
    the start of its warm-up. ``accounts`` are those whose inbox is on the tape. ``size``, in bytes, and
    ``sha256`` are of ``records.avro``."""

    format: int
    name: str
    note: str
    origins: tuple[str, ...]
    history: str
    start: str
    end: str
    symbols: tuple[str, ...]
    accounts: tuple[str, ...]
    symbol_partitions: int
    account_partitions: int
    rules_version: str
    config_digest: str
    records: Mapping[str, int]
    size: int
    sha256: str
    topics: Mapping[str, Digest]
    tables: Mapping[str, Digest]
    config: Mapping[str, Any]

    @property
    def layout(self) -> Layout:
        """The partition counts that the records were written for."""
        return Layout("", self.symbol_partitions, self.account_partitions)


@dataclass(frozen=True)
class RecordedTape:
    """A tape in memory. The ``messages`` of each partition have the offsets 0, 1, 2 ..."""

    manifest: Manifest
    messages: tuple[Message, ...]

    @property
    def layout(self) -> Layout:
        return self.manifest.layout

    @property
    def config(self) -> Config:
        """The configuration. Raises ConfigInvalid if this version refuses it."""
        return from_dict(dict(self.manifest.config))

    def source(self) -> MemorySource:
        """The records as a Source."""
        return MemorySource(self.layout, self.messages)


def renumbered(messages: Iterable[Message]) -> tuple[Message, ...]:
    """``messages`` partition by partition, with the offsets 0, 1, 2 ... in each."""
    offsets: dict[Part, Iterator[int]] = {}
    found = [
        message._replace(offset=next(offsets.setdefault((message.topic, message.partition), count())))
        for message in messages
    ]
    return tuple(sorted(found, key=lambda m: (m.topic, m.partition, m.offset)))


def to_avro(messages: Iterable[Message]) -> bytes:
    """The bytes of ``records.avro``: the same for the same messages."""
    messages, out = list(messages), BytesIO()
    nulls = any(content is None for m in messages for _, content in m.headers)
    rows = (
        {
            "topic": m.topic,
            "partition": m.partition,
            "timestamp": m.timestamp,
            "key": m.key,
            "value": with_log_id(m.value),
            "headers": [{"name": name, "content": content} for name, content in m.headers],
        }
        for m in messages
    )
    schema = _PARSED_WITH_NULL if nulls else _PARSED
    fastavro.writer(
        out, schema, rows, codec="deflate", codec_compression_level=9, sync_interval=_BLOCK_BYTES,
        sync_marker=_SYNC,
    )  # fmt: skip
    return out.getvalue()


def from_avro(content: bytes) -> tuple[Message, ...]:
    """The messages that ``to_avro`` wrote."""
    rows: Iterator[Any] = iter(fastavro.reader(BytesIO(content)))
    return renumbered(
        Message(
            row["topic"],
            row["partition"],
            0,
            row["timestamp"],
            row["key"],
            with_wire_id(row["value"]),
            tuple((each["name"], each["content"]) for each in row["headers"]),
        )
        for row in rows
    )


def save(folder: Path, tape: RecordedTape) -> None:
    """Write ``tape`` into ``folder``, overwriting it; computes its manifest's size and digest."""
    content = to_avro(tape.messages)
    manifest = tape.manifest.model_copy(
        update={"format": FORMAT, "size": len(content), "sha256": sha256(content).hexdigest()}
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECORDS).write_bytes(content)
    document = manifest.model_dump(mode="json")
    (folder / MANIFEST).write_text(json.dumps(document | {"seal": _seal(document)}, indent=1) + "\n")


def is_recorded(path: Path) -> bool:
    """Whether ``path`` is the folder of a regression tape."""
    return (path / MANIFEST).is_file()


def load(folder: Path) -> RecordedTape:
    """The tape in ``folder``, with every byte checked.

    Raises Fatal, with value and remedy, for a folder that is not a tape, another format version, and a file
    that is truncated or changed.
    """
    manifest = _manifest(folder / MANIFEST)
    path = folder / RECORDS
    content = _read(path)
    if len(content) != manifest.size:
        cut = "is truncated" if len(content) < manifest.size else "is too long"
        sizes = f"{len(content)} of {manifest.size} bytes"
        raise Fatal(f"the tape's file {RECORDS} {cut}", value=f"{path}: {sizes}", remedy=_AGAIN)
    found = sha256(content).hexdigest()
    if found != manifest.sha256:
        what = f"the tape's file {RECORDS} was changed: its SHA-256 is not the manifest's {manifest.sha256}"
        raise Fatal(what, value=found, remedy=_AGAIN)
    return RecordedTape(manifest, from_avro(content))


def _manifest(path: Path) -> Manifest:
    try:
        document = json.loads(_read(path))
    except ValueError as error:
        raise Fatal(f"{MANIFEST} is truncated or damaged: {error}", value=str(path), remedy=_AGAIN) from None
    version = document.get("format") if isinstance(document, dict) else None
    if version != FORMAT:
        what = f"this version reads tapes of format {FORMAT}"
        raise Fatal(what, value=version, remedy="read it with the version that wrote it, or record it again")
    seal = document.pop("seal", None)
    if seal != _seal(document):
        what = f"{MANIFEST} was changed: its checksum does not match"
        raise Fatal(what, value=str(path), remedy=f"{_AGAIN}; {_REMAKE}")
    try:
        return Manifest.model_validate_json(json.dumps(document))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise Fatal(f"{MANIFEST}, {where}: {first['msg']}", value=str(path), remedy=_AGAIN) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        remedy = "name the folder that `tape record --out` wrote"
        raise Fatal("there is no recorded tape", value=str(path), remedy=remedy) from None


def _seal(document: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of a manifest without its seal."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode()).hexdigest()
