"""Connections to the audit store.

One pipeline (one ``TAPE_PREFIX``) has one database schema: ``public`` without a prefix, else the prefix
itself. All statements are unqualified; the search path contains that schema only.
"""

import os
import re
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tapedeck.connectors.postgres.refusals import PASSWORD, is_wrong_password, refusal
from tapedeck.connectors.secrets import secret_of
from tapedeck.schemas.errors import Fatal, Retry

SINK_ROLE = "tape_sink"
READ_ROLE = "tape_read"
READ_TIMEOUT_S = 5
"""Seconds after which a statement of the role that reads is cancelled."""
DEFAULT_SCHEMA = "public"
ENCODING = "UTF8"
LAST_PORT = 65_535
URL_FORM = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
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
        if role == READ_ROLE:
            connection.execute(f"SET statement_timeout = '{READ_TIMEOUT_S}s'".encode())
            connection.execute("SET default_transaction_read_only = on")
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
