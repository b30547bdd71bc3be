"""The table of each audited topic: a shipped model's, or one made of a declared topic's schema."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Date,
    DateTime,
    Dialect,
    Double,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects import registry
from sqlalchemy.types import TypeEngine

from tapedeck.connectors.postgres.base import COMMON_COLUMNS, Base, table_name
from tapedeck.connectors.postgres.models import Bars
from tapedeck.schemas.codec import load_schema
from tapedeck.schemas.errors import Fatal
from tapedeck.topics.catalogue import CATALOGUE
from tapedeck.topics.topic import Topic

_POSTGRES: Dialect = registry.load("postgresql")()
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
"""The column of a field by its Avro type; a field of any other type is only in the payload."""
STANDING = (
    "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute "
    "WHERE attrelid = to_regclass(quote_ident(%s)) AND attnum > 0 AND NOT attisdropped"
)
"""The columns of one table, as Postgres names them."""
_GRANTS = "GRANT SELECT, INSERT ON {0} TO tape_sink; GRANT SELECT ON {0} TO tape_read"


def declared() -> tuple[Topic, ...]:
    """The audited topics whose tables no migration makes. Raises Fatal if two would have one table."""
    names: dict[str, str] = {}
    for topic in CATALOGUE.audited:
        if names.setdefault(table := table_name(topic.name), topic.name) != topic.name:
            raise Fatal(
                f"two topics have the same table in the audit, {names[table]} and {topic.name}",
                value=table,
                remedy=f"give {topic.name} another name, or declare it with audited=False",
            )
    return tuple(topic for topic in CATALOGUE.audited if table_name(topic.name) not in Base.metadata.tables)


def table_of(topic: Topic) -> Table:
    """The table of an audited topic. Raises Fatal for a declared one whose records have no identity."""
    name = table_name(topic.name)
    known = Base.metadata.tables.get(name)
    return known if known is not None else _declared(topic, name)


class Standing(NamedTuple):
    """A column as it is in the database: its type in Postgres's words, and whether it refuses null."""

    kind: str
    is_required: bool


def standing(rows: Iterable[Sequence[Any]]) -> dict[str, Standing]:
    """The columns by name, of what STANDING gives; none where there is no such table."""
    return {name: Standing(kind, is_required) for name, kind, is_required in rows}


def changes(topic: Topic, found: Mapping[str, Standing]) -> list[str]:
    """The statements that let a declared topic's table, which has the columns ``found``, hold its records.

    What was stored stays: a new column is null in the rows before it, and one that the record has no more
    may be null from now on. Raises Fatal if a column would need another type.
    """
    table = table_of(topic)
    own = {column.name: column for column in table.columns if column.name not in COMMON_COLUMNS}
    statements = []
    for name, column in own.items():
        kind = _in_words(column.type)
        if name not in found:
            statements.append(f"ALTER TABLE {_quoted(table.name)} ADD COLUMN {_quoted(name)} {kind}")
        elif found[name].kind != kind:
            raise Fatal(
                f"records of {topic.name} have another type in the field {name} than the stored ones",
                value=f"{kind}, and {found[name].kind} in the table {table.name}",
                remedy=f"give the new field another name in the schema {topic.schema}: what is stored "
                "is kept",
            )
    for name, each in found.items():
        if name not in own and name not in COMMON_COLUMNS and each.is_required:
            statements.append(f"ALTER TABLE {_quoted(table.name)} ALTER COLUMN {_quoted(name)} DROP NOT NULL")
    return statements


def make_declared(connection: Connection) -> None:
    """Create and complete the declared topics' tables, with the rights of sink and readers; twice is safe.

    Raises Fatal for a table that cannot hold a topic's records.
    """
    for topic in declared():
        table = table_of(topic)
        found = standing(connection.exec_driver_sql(STANDING, (table.name,)))
        if not found:
            table.create(connection)
        for statement in changes(topic, found) if found else ():
            connection.execute(text(statement))
        connection.execute(text(_GRANTS.format(_quoted(table.name))))


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


def _in_words(kind: TypeEngine[Any]) -> str:
    """A type as Postgres's format_type says it."""
    return kind.compile(dialect=_POSTGRES).lower().replace(", ", ",")


def _quoted(name: str) -> str:
    return _POSTGRES.identifier_preparer.quote(name)
