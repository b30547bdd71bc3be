"""Looks for secrets where none may be: in texts, bytes and tables, plain and as HTTP would encode them."""

from base64 import b64encode
from collections.abc import Iterable
from urllib.parse import quote

from tapedeck.connectors.postgres.connection import connect


def forms(secret: str) -> set[bytes]:
    """How a secret could be written down."""
    plain = secret.encode()
    return {plain, quote(secret, safe="").encode(), b64encode(plain).rstrip(b"="), plain.hex().encode()}


def spoken(secrets: Iterable[str], places: Iterable[tuple[str, str | bytes]]) -> set[str]:
    """The names of the places that hold one of ``secrets`` in any form."""
    wanted = {form for secret in secrets for form in forms(secret)}
    found = set()
    for name, content in places:
        data = content.encode(errors="replace") if isinstance(content, str) else content
        if any(form in data for form in wanted):
            found.add(name)
    return found


def tables(url: str, prefix: str) -> list[tuple[str, str]]:
    """Every row of every table of a pipeline's schema, as text, by the table's name."""
    with connect(url, prefix, role=None) as connection:
        names = connection.execute(
            "SELECT relname FROM pg_class"
            " WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'"
        ).fetchall()
        return [
            (name, str(row[0]))
            for (name,) in names
            for row in connection.execute(f'SELECT t::text FROM "{name}" t'.encode()).fetchall()
        ]
