"""The configurations that a pipeline ran with, kept by their digest: every decision names one."""

import tomllib
from typing import Any

import psycopg
import tomli_w

from tapedeck.connectors.postgres.connection import connect
from tapedeck.connectors.postgres.database import require_head
from tapedeck.connectors.secrets import without_secrets
from tapedeck.schemas.errors import ConfigInvalid
from tapedeck.streams.config.difference import flat
from tapedeck.streams.config.document import Config, from_dict

_KEEP = """
INSERT INTO config_documents (config_digest, person, reason, change, full_text)
VALUES (%s, %s, %s, %s, %s) ON CONFLICT (config_digest) DO NOTHING"""
_BEFORE = "SELECT full_text FROM config_documents ORDER BY since DESC, config_digest LIMIT 1"
_KNOWN = "SELECT 1 FROM config_documents WHERE config_digest = %s"


def keep_document(url: str, prefix: str, config: Config, *, person: str, reason: str) -> bool:
    """Store the parameters of ``config`` unless its digest is known; whether they were stored.

    Addresses and feeds are no parameters, and credentials are references. Raises as ``connect`` does, Fatal
    where the tables are not at the newest revision.
    """
    with connect(url, prefix) as connection:
        require_head(connection)
        if connection.execute(_KNOWN, (config.digest,)).fetchone():
            return False
        text = without_secrets(tomli_w.dumps(config.parameters()))
        row = (config.digest, person, reason, _change(connection, config), text)
        return connection.execute(_KEEP, row).rowcount == 1


def _change(connection: psycopg.Connection[Any], config: Config) -> str | None:
    """What differs from the document that was stored before, a line per parameter; None for the first.

    None also where that one sets what this release does not know.
    """
    found = connection.execute(_BEFORE).fetchone()
    try:
        before = flat(from_dict(tomllib.loads(found[0]))) if found else None
    except ConfigInvalid:
        before = None
    if before is None:
        return None
    after = flat(from_dict(config.parameters()))
    lines = (
        f"{path}: {before.get(path, '-')} -> {after.get(path, '-')}"
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    )
    return "\n".join(lines)
