"""The audit store's migrations, and whether its tables are at the newest one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from tapedeck.connectors.postgres.base import table_name
from tapedeck.connectors.postgres.connection import connect, open_database, schema_name
from tapedeck.connectors.postgres.tables import (
    STANDING,
    changes,
    declared,
    drop_declared,
    make_declared,
    standing,
)
from tapedeck.schemas.errors import Fatal

_MIGRATIONS = Path(__file__).parent / "migrations"
# An arbitrary constant that keeps two migrations of one database apart.
_MIGRATION_LOCK = 7_461_706_5


def upgrade(url: str, prefix: str = "") -> None:
    """Create the schema and bring its tables to the newest revision. Safe to run twice, even concurrently.

    Raises Retry if the server is unavailable, Fatal if this login may not create tables.
    """
    with connect(url, prefix, role=None) as connection:
        _refuse_newer(connection)
        if _revision(connection) == _head() and not _unfit(connection):
            return
    with _migrating(url, prefix) as config:
        command.upgrade(config, "head")
        make_declared(config.attributes["connection"])


def downgrade(url: str, prefix: str = "", revision: str = "base") -> None:
    """Go back to ``revision``; ``base`` drops every table, view and type of the schema.

    The roles stay: they belong to the whole server.
    """
    with _migrating(url, prefix) as config:
        if revision == "base":
            drop_declared(config.attributes["connection"])
        command.downgrade(config, revision)


def require_head(connection: psycopg.Connection[Any]) -> None:
    """Raises Fatal unless the schema is at the newest revision and can hold what declared topics have."""
    _refuse_newer(connection)
    found, head = _revision(connection), _head()
    if found != head:
        raise Fatal(f"the audit store is not at revision {head}", value=found, remedy="run `tape migrate`")
    if unfit := _unfit(connection):
        raise Fatal(
            "the audit store has no table for these topics, or not every column of their records",
            value=", ".join(unfit),
            remedy="run `tape migrate` with the same topology, or declare them with audited=False",
        )


def _refuse_newer(connection: psycopg.Connection[Any]) -> None:
    """Raises Fatal for tables that a newer version made: this one has no migration of that name."""
    found = _revision(connection)
    known = {each.revision for each in ScriptDirectory(str(_MIGRATIONS)).walk_revisions()}
    if found is not None and found not in known:
        raise Fatal(
            "the audit store was migrated by a newer version of tapedeck, and nothing was changed",
            value=found,
            remedy=f"run the version that migrated it; this one knows revisions up to {_head()}",
        )


def revisions(connection: psycopg.Connection[Any]) -> tuple[str | None, str]:
    """The revision of the schema, None without tables, and the newest that this release knows."""
    return _revision(connection), str(_head())


def _unfit(connection: psycopg.Connection[Any]) -> list[str]:
    """The declared topics whose tables are not there, or lack a column. Raises as ``changes`` does."""
    found = []
    for topic in declared():
        with connection.transaction():
            rows = connection.execute(STANDING, (table_name(topic.name),)).fetchall()
        if not rows or changes(topic, standing(rows)):
            found.append(topic.name)
    return found


def _head() -> str | None:
    return ScriptDirectory(str(_MIGRATIONS)).get_current_head()


def _revision(connection: psycopg.Connection[Any]) -> str | None:
    with connection.transaction():
        there = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
        if there is None or there[0] is None:
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else None


@contextmanager
def sqlalchemy_connection(url: str, prefix: str = "") -> Iterator[Connection]:
    """A SQLAlchemy connection on the pipeline's schema, as the login itself (no role)."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: open_database(url), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            quoted = engine.dialect.identifier_preparer.quote_identifier(schema_name(prefix))
            connection.execute(text(f"SET search_path TO {quoted}"))
            connection.commit()
            yield connection
    except DBAPIError as error:
        raise Fatal(
            f"the audit store refused a statement: {error.orig}", remedy="see the Postgres log"
        ) from error
    finally:
        engine.dispose()


@contextmanager
def _migrating(url: str, prefix: str) -> Iterator[Config]:
    with sqlalchemy_connection(url, prefix) as connection:
        quoted = connection.dialect.identifier_preparer.quote_identifier(schema_name(prefix))
        connection.execute(text(f"SELECT pg_advisory_lock({_MIGRATION_LOCK})"))
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {quoted}"))
        connection.commit()
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        config.attributes["connection"] = connection
        try:
            yield config
            connection.commit()
        finally:
            connection.rollback()
            connection.execute(text(f"SELECT pg_advisory_unlock({_MIGRATION_LOCK})"))
            connection.commit()
