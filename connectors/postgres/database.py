"""Connections to the audit store and its migrations.

One pipeline (one ``TAPE_PREFIX``) has one database schema: ``public`` without a prefix, else the prefix
itself. All statements are unqualified; the search path contains that schema only.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from tapedeck.connectors.postgres.models import table_name
from tapedeck.connectors.postgres.refusals import PASSWORD, is_wrong_password, refusal
from tapedeck.connectors.postgres.tables import (
    STANDING,
    changes,
    declared,
    drop_declared,
    make_declared,
    standing,
)
from tapedeck.connectors.secrets import secret_of
from tapedeck.schemas.errors import Fatal, Retry

SINK_ROLE = "tape_sink"
READ_ROLE = "tape_read"
DEFAULT_SCHEMA = "public"
ENCODING = "UTF8"
LAST_PORT = 65_535
URL_FORM = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
_MIGRATIONS = Path(__file__).parent / "migrations"
# An arbitrary constant that keeps two migrations of one database apart.
_MIGRATION_LOCK = 7_461_706_5
# A dead peer is noticed after about ten seconds instead of the kernel's two hours.
_LIVENESS: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


def schema_name(prefix: str) -> str:
    """The database schema of the pipeline with this topic prefix."""
    return prefix or DEFAULT_SCHEMA


def open_database(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection as the login itself.

    A URL without a password takes DATABASE_PASSWORD, or the content of the file in DATABASE_PASSWORD_FILE;
    libpq also reads PGPASSFILE. Raises Fatal for an invalid URL, for a refused login, certificate or file,
    and for a database that cannot store every text. Raises Retry if the server is unavailable, and if it
    refuses a password that was read from a file: a rotation changes one after the other.
    """
    if not _is_address(url):
        raise Fatal(
            "DATABASE_URL is not the address of a Postgres database",
            value=without_password(url),
            remedy=f"write it as {URL_FORM}, with special characters of the password percent-encoded",
        )
    connection = _connected(url)
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != ENCODING:
        name = connection.info.dbname
        connection.close()
        raise Fatal(
            f"the database {name} is not encoded in {ENCODING}: it cannot store the records' texts",
            value=encoding,
            remedy=f"CREATE DATABASE another_name ENCODING '{ENCODING}' TEMPLATE template0, "
            "and name that one in DATABASE_URL",
        )
    return connection


def _connected(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    parameters = conninfo_to_dict(url)
    given = secret_of(PASSWORD)
    password = None if parameters.get("password") or not given else given.read()
    try:
        return psycopg.connect(url, application_name="tapedeck", **_LIVENESS, password=password)
    except psycopg.OperationalError as error:
        words = refusal(error, parameters)
        if words is None:
            what = f"Postgres does not answer: {str(error).strip()}"
            raise Retry(what, remedy="check DATABASE_URL and the server") from error
        # libpq also rereads its own file for each connection
        is_read_again = given.path if password else "PGPASSWORD" not in os.environ
        passing = is_wrong_password(error) and not parameters.get("password") and is_read_again
        kind = Retry if passing else Fatal
        raise kind(words.what, value=without_password(url), remedy=words.remedy) from error


def _is_address(url: str) -> bool:
    """Whether libpq can parse it. Its message about an invalid one may quote the password."""
    try:
        parameters = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return False
    if "@" in str(parameters.get("host") or "")[1:]:
        return False  # a password with an @: libpq would report the rest as an unknown host
    ports = str(parameters.get("port") or "").split(",")
    return all(not port or (port.isdecimal() and 0 < int(port) <= LAST_PORT) for port in ports)


def without_password(url: str) -> str:
    """``url``, or what was given for one, made safe to show."""
    shown = re.sub(r"(pass\w*\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&]+)", r"\1***", url, flags=re.IGNORECASE)
    login, at, where = shown.rpartition("@")
    scheme, slashes, given = login.rpartition("://") if "://" in login else ("", "", login)
    user, colon, _ = given.partition(":")
    return f"{scheme}{slashes}{user}{colon and ':***'}{at}{where}"


def connect(
    url: str, prefix: str = "", *, role: str | None = SINK_ROLE
) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection on the pipeline's schema, acting as ``role``. Raises as ``open_database`` does."""
    connection = open_database(url)
    try:
        connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema_name(prefix))))
        if role:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        connection.commit()
    except (psycopg.errors.InvalidParameterValue, psycopg.errors.InsufficientPrivilege) as error:
        connection.close()
        raise Fatal(
            f"this login cannot use the role {role}: {str(error).strip()}",
            remedy="run `tape migrate` with the login that owns the tables, and GRANT this one the role",
        ) from error
    except psycopg.OperationalError as error:
        connection.close()
        raise Retry(f"Postgres went away while connecting: {error}") from error
    return connection


def upgrade(url: str, prefix: str = "") -> None:
    """Create the schema and bring its tables to the newest revision. Safe to run twice, even concurrently.

    Raises Retry if the server is unavailable, Fatal if this login may not create tables.
    """
    with connect(url, prefix, role=None) as connection:
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
    found, head = _revision(connection), _head()
    if found != head:
        raise Fatal(f"the audit store is not at revision {head}", value=found, remedy="run `tape migrate`")
    if unfit := _unfit(connection):
        raise Fatal(
            "the audit store has no table for these topics, or not every column of their records",
            value=", ".join(unfit),
            remedy="run `tape migrate` with the same topology, or declare them with audited=False",
        )


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
