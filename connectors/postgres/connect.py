"""The Debezium JDBC sink of Kafka Connect for the audited topics: its configuration, and its tables.

For sites where Connect fills every database. The tables have the names and typed columns of the native
sink's, made of the same models, in a schema of their own: what a connector cannot write is not in them (see
docs/operations.md).
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Dialect, MetaData, Table, Text
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql import ENUM
from sqlalchemy.schema import CreateTable
from sqlalchemy.types import TypeEngine

from tapedeck.connectors.postgres.base import COMMON_COLUMNS
from tapedeck.connectors.postgres.tables import table_of
from tapedeck.schemas.codec import load_schema
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tapedeck.topics.topic import Topic

CONNECTOR = "tapedeck-audit"
SCHEMA = "connect"
PLACE = ("first_topic", "first_partition", "first_offset")
"""Where the record was, which Connect knows itself."""
KEY = "event_id"
PASSWORD = "${secret:/run/secrets:app_password}"
"""From a file, as docker-compose.yml mounts it: a variable shows it to whoever inspects the container."""
_POSTGRES: Dialect = registry.load("postgresql")()


def topics() -> tuple[Topic, ...]:
    """The audited topics whose records are Avro. Dead letters are raw bytes, which no converter reads."""
    return tuple(each for each in CATALOGUE.audited if each.schema is not None)


def columns(topic: Topic) -> list[Column[Any]]:
    """The columns of a topic's table that a connector can fill: the place, and fields of the record."""
    fields = {field["name"] for field in load_schema(topic.schema or "")["fields"]}
    wanted = (*(name for name in COMMON_COLUMNS if name in (*PLACE, KEY, "event_time")),)
    found = [table_of(topic).columns[name] for name in wanted]
    found += [each for each in table_of(topic).columns if each.name in fields - {*COMMON_COLUMNS}]
    return [
        Column(
            each.name,
            _kind(each.type),
            nullable=bool(each.nullable),
            primary_key=each.name == KEY,
        )
        for each in found
    ]


def _kind(native: TypeEngine[Any]) -> TypeEngine[Any]:
    """Enums as text, and times as UTC microseconds: the converter passes both on as they are on the wire."""
    if isinstance(native, ENUM):
        return Text()
    return BigInteger() if isinstance(native, DateTime) else native


def tables() -> str:
    """The statements that make the tables. They come first: the connector would choose other types."""
    made = (Table(table_of(each).name, MetaData(schema=SCHEMA), *columns(each)) for each in topics())
    statements = [f"CREATE SCHEMA {SCHEMA}", *(_statement(each) for each in made)]
    return "".join(f"{each};\n\n" for each in statements)


def _statement(table: Table) -> str:
    text = str(CreateTable(table).compile(dialect=_POSTGRES)).strip()
    return "\n".join(line.rstrip().replace("\t", "    ") for line in text.splitlines() if line.strip())


def connector(layout: Layout | None = None, *, password: str = PASSWORD) -> dict[str, str]:
    """The connector's settings for the topics of ``layout``; the worker fills ``${...}`` in."""
    layout = layout or Layout()
    settings = {
        "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
        "tasks.max": "1",
        "topics": ",".join(layout.wire_name(each.name) for each in topics()),
        "connection.url": f"{_DATABASE}?currentSchema={SCHEMA}",
        "connection.username": "${env:PGUSER}",
        "connection.password": password,
        "collection.name.format": "t_${topic}",
        "insert.mode": "upsert",
        "primary.key.mode": "record_value",
        "primary.key.fields": KEY,
        "delete.enabled": "false",
        "schema.evolution": "none",
        "field.include.list": ",".join(_fields()),
        "consumer.override.isolation.level": "read_committed",
        "consumer.override.auto.offset.reset": "earliest",
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "io.apicurio.registry.utils.converter.AvroConverter",
        **{f"value.converter.apicurio.registry.{name}": value for name, value in _CONVERTER.items()},
    }
    return settings | _transforms(layout)


_DATABASE = "jdbc:postgresql://${env:PGHOST}:${env:PGPORT}/${env:PGDATABASE}"
_CONVERTER = {
    "url": "${env:APICURIO_URL}/apis/registry/v2",
    "as-confluent": "true",
    "use-id": "contentId",
    "id-handler": "io.apicurio.registry.serde.Legacy4ByteIdHandler",
    "headers.enabled": "false",
}


def _fields() -> Iterator[str]:
    yield from PLACE
    for topic in topics():
        yield from (f"{topic.name}:{each.name}" for each in columns(topic) if each.name not in PLACE)


def _transforms(layout: Layout) -> dict[str, str]:
    """Watermarks are left out, the prefix is taken off, and the record's place becomes columns."""
    steps = {
        "watermarks.type": "org.apache.kafka.connect.transforms.Filter",
        "watermarks.predicate": "isNull",
        "place.type": "org.apache.kafka.connect.transforms.InsertField$Value",
        "place.topic.field": PLACE[0],
        "place.partition.field": PLACE[1],
        "place.offset.field": PLACE[2],
    }
    order = "watermarks,place"
    if layout.prefix:
        order = "watermarks,prefix,place"
        steps |= {
            "prefix.type": "org.apache.kafka.connect.transforms.RegexRouter",
            "prefix.regex": f"{layout.prefix.replace('.', '[.]')}[.](.*)",
            "prefix.replacement": "$1",
        }
    return {
        "transforms": order,
        **{f"transforms.{name}": value for name, value in steps.items()},
        "predicates": "isNull",
        "predicates.isNull.type": "org.apache.kafka.connect.transforms.predicates.RecordIsTombstone",
    }
