"""From log records to table rows, one precomputed builder per topic.

A row is a tuple in the table's column order, ready for binary COPY. Two shortcuts keep it cheap:
``timestamptz`` and ``date`` are sent as integers (their binary form: microseconds and days since
2000-01-01) and ``jsonb`` as text behind its version byte.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from operator import itemgetter
from typing import Any

import orjson
from sqlalchemy import types
from sqlalchemy.dialects.postgresql import ENUM, JSONB

from tapedeck.connectors import dead_letters
from tapedeck.connectors.postgres.base import COMMON_COLUMNS, table_name
from tapedeck.connectors.postgres.tables import table_of
from tapedeck.schemas.codec import PREFIX, Body, decode
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.identity import event_id
from tapedeck.streams.protocol import Message
from tapedeck.topics.catalogue import CATALOGUE, topic

Row = tuple[Any, ...]
Builder = Callable[[Message], Row]

PG_EPOCH_US = 946_684_800_000_000
PG_EPOCH_DAYS = 10_957
JSONB_VERSION = "\x01"
CODE_VERSION = "tape-code-version"
CONFIG_DIGEST = "tape-config-digest"
SHA_DIGITS = 32
# One value for all records of a batch, so it is not sent with each row.
OF_THE_LOG = ("first_topic_id",)
_INBOX_BRANCH = "tapedeck."


def to_json(body: Any) -> str:
    """A body as JSON text: decimals as strings, times and dates as integers, as on the wire."""
    return orjson.dumps(body, default=str).decode()


# Checked in order: a DateTime is not a Date, a BigInteger is an Integer, an ENUM is a String.
_COPY_TYPES: tuple[tuple[type[types.TypeEngine[Any]], str], ...] = (
    (JSONB, "text"),
    (ENUM, "text"),
    (types.Text, "text"),
    (types.BigInteger, "int8"),
    (types.Integer, "int4"),
    (types.Double, "float8"),
    (types.Boolean, "bool"),
    (types.Numeric, "numeric"),
    (types.DateTime, "int8"),
    (types.Date, "int4"),
    (types.LargeBinary, "bytea"),
)


def copy_type(kind: types.TypeEngine[Any]) -> str:
    """The Postgres type whose binary form a column is sent in."""
    for python_type, name in _COPY_TYPES:
        if isinstance(kind, python_type):
            return name
    raise Fatal(
        "no binary form for this column type", value=kind, remedy="add it to connectors/postgres/mapping.py"
    )


def shift(kind: types.TypeEngine[Any]) -> int:
    """What to subtract from a Unix time or date to count from 2000-01-01; 0 for other columns."""
    if isinstance(kind, types.DateTime):
        return PG_EPOCH_US
    return PG_EPOCH_DAYS if isinstance(kind, types.Date) else 0


class TopicMap:
    """One topic's table: its columns in order, their COPY types, and the builder of its rows."""

    def __init__(self, name: str) -> None:
        columns = [column for column in table_of(topic(name)).columns if column.name not in OF_THE_LOG]
        self.topic = name
        self.table = table_name(name)
        self.columns = [column.name for column in columns]
        self.copy_types = [copy_type(column.type) for column in columns]
        self.row: Builder = _BUILDERS.get(name, _record_row)(name)


def typed_columns(name: str) -> list[tuple[str, int]]:
    """(field, shift) of the columns that a topic's table has besides the common ones."""
    columns = table_of(topic(name)).columns
    return [(column.name, shift(column.type)) for column in columns if column.name not in COMMON_COLUMNS]


def _record_row(name: str) -> Builder:
    """The builder for topics whose columns are fields of the record."""
    schema = topic(name).schema
    assert schema is not None
    columns = typed_columns(name)
    fields = _fields([field for field, _ in columns])
    shifts = [(index, by) for index, (_, by) in enumerate(columns) if by]

    def build(message: Message) -> Row:
        value = message.value
        body = decode(schema, value)
        assert value is not None
        typed = list(fields(body))
        for index, by in shifts:
            if typed[index] is not None:
                typed[index] -= by
        sha = sha256(memoryview(value)[PREFIX.size :]).hexdigest()[:SHA_DIGITS]
        return (*_common(message, body, body["event_id"], sha, body), *typed)

    return build


def _fields(names: list[str]) -> Callable[[Body], Sequence[Any]]:
    """Extracts the values of ``names`` from a body, even for a single name or none."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda body: [body[name] for name in names]


def _inbox_row(name: str) -> Builder:
    """The builder for the inbox. An event_id there leaves out the time, and so does its hash."""

    def build(message: Message) -> Row:
        body = decode(name, message.value)
        branch, content = body["payload"]
        kind = branch.removeprefix(_INBOX_BRANCH)
        sha = sha256(f"{kind}{to_json(content)}".encode()).hexdigest()[:SHA_DIGITS]
        common = _common(message, body, body["event_id"], sha, {**body, "payload": content})
        return (*common, body["account_id"], kind)

    return build


def _dead_letter_row(name: str) -> Builder:
    """The builder for dead letters: raw bytes, identified by the refused record and who refused it."""

    def build(message: Message) -> Row:
        headers = dict(message.headers)
        texts = {
            key: content.decode("utf-8", "replace") for key, content in headers.items() if content is not None
        }
        source = (
            texts.get(dead_letters.SOURCE_TOPIC, message.topic),
            _integer(texts.get(dead_letters.SOURCE_PARTITION), message.partition),
            _integer(texts.get(dead_letters.SOURCE_OFFSET), message.offset),
        )
        stage = texts.get(dead_letters.STAGE, "")
        reason = texts.get(dead_letters.REASON, "")
        texts.pop(dead_letters.SOURCE_KEY, None)
        identity = event_id(name, (*source, stage, reason))
        sha = sha256(message.value or b"").hexdigest()[:SHA_DIGITS]
        body = {"event_time": message.timestamp * 1000}
        error = texts.get(dead_letters.ERROR_MESSAGE, "")
        return (
            *_common(message, body, identity, sha, {key: _plain(text) for key, text in texts.items()}),
            *(_plain(source[0]), source[1], source[2], _plain(stage), _plain(reason), _plain(error)),
            headers.get(dead_letters.SOURCE_KEY),
            message.value,
        )

    return build


def _common(message: Message, body: Body, identity: str, sha: str, payload: Mapping[str, Any]) -> Row:
    config_digest = body.get("config_digest")
    code_version = None
    for name, content in message.headers:
        if name == CODE_VERSION:
            code_version = (content or b"").decode("utf-8", "replace")
        elif name == CONFIG_DIGEST and config_digest is None:
            config_digest = (content or b"").decode("utf-8", "replace")
    return (
        identity,
        message.topic,
        message.partition,
        message.offset,
        body["event_time"] - PG_EPOCH_US,
        config_digest,
        code_version,
        sha,
        JSONB_VERSION + to_json(payload),
    )


def _integer(text: str | None, otherwise: int) -> int:
    return int(text) if text is not None and text.isdecimal() else otherwise


def _plain(text: str) -> str:
    """Postgres does not allow NUL in text, and a dead letter must always be storable."""
    return text.replace("\x00", "\ufffd")


_BUILDERS: dict[str, Callable[[str], Builder]] = {
    "account_inbox": _inbox_row,
    dead_letters.TOPIC: _dead_letter_row,
}


def maps(names: Sequence[str]) -> dict[str, TopicMap]:
    """A TopicMap per topic. Raises Fatal for a topic that is not audited."""
    known = [each.name for each in CATALOGUE.audited]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise Fatal(
            "these topics have no audit table", value=unknown, remedy=f"choose from {', '.join(known)}"
        )
    return {name: TopicMap(name) for name in names}
