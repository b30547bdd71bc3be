"""The table of each audited topic: a shipped model's, or one made of a declared topic's schema."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Date,
    DateTime,
    Double,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    text,
)
from sqlalchemy.types import TypeEngine

from tapedeck.connectors.postgres.models import COMMON_COLUMNS, Bars, Base, table_name
from tapedeck.schemas.codec import load_schema
from tapedeck.schemas.errors import Fatal
from tapedeck.topics.catalogue import CATALOGUE
from tapedeck.topics.topic import Topic

_KINDS: dict[str, TypeEngine[Any]] = {
    "string": Text(),
    "int": Integer(),
    "long": BigInteger(),
    "float": Double(),
    "double": Double(),
    "boolean": Boolean(),
    "timestamp-micros": DateTime(timezone=True),
    "date": Date(),
    "decimal": Numeric(28, 6),
    "enum": Text(),
}
"""The column of a field by its Avro type; a field of any other stands in the payload alone."""
_GRANT = "GRANT SELECT, INSERT ON {} TO tape_sink"


def declared() -> tuple[Topic, ...]:
    """The audited topics whose tables no migration makes."""
    return tuple(topic for topic in CATALOGUE.audited if table_name(topic.name) not in Base.metadata.tables)


def table_of(topic: Topic) -> Table:
    """The table of an audited topic. Raises Fatal for a declared one whose records have no identity."""
    name = table_name(topic.name)
    known = Base.metadata.tables.get(name)
    return known if known is not None else _declared(topic, name)


def make_declared(connection: Connection) -> None:
    """Create what is missing of the declared topics' tables, with the sink's rights; safe to run twice."""
    for topic in declared():
        table = table_of(topic)
        table.create(connection, checkfirst=True)
        connection.execute(text(_GRANT.format(table.name)))


def drop_declared(connection: Connection) -> None:
    """Drop the declared topics' tables."""
    for topic in declared():
        table_of(topic).drop(connection, checkfirst=True)


def _declared(topic: Topic, name: str) -> Table:
    fields = {field["name"]: field["type"] for field in load_schema(topic.schema or "")["fields"]}
    if missing := sorted({"event_id", "event_time"} - fields.keys()):
        raise Fatal(
            f"records of {topic.name} cannot be audited",
            value=f"no field {', '.join(missing)} in the schema {topic.schema}",
            remedy="add the fields, or declare the topic with audited=False",
        )
    shared = (column for column in Bars.__table__.columns if column.name in COMMON_COLUMNS)
    common: list[Column[Any]] = [column._copy() for column in shared]
    *before, after = sorted(common, key=lambda column: COMMON_COLUMNS.index(column.name))
    own = [
        Column(field, kind, nullable=isinstance(declared, list) and "null" in declared)
        for field, declared in fields.items()
        if field not in COMMON_COLUMNS and (kind := _kind(declared)) is not None
    ]
    return Table(name, MetaData(), *before, *own, after)


def _kind(declared: Any) -> TypeEngine[Any] | None:
    branches = [each for each in declared if each != "null"] if isinstance(declared, list) else [declared]
    if len(branches) != 1:
        return None
    found = branches[0]
    return _KINDS.get(str(found.get("logicalType", found["type"]) if isinstance(found, dict) else found))
