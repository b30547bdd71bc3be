"""Why Postgres, or libpq, refused a connection, in words.

libpq gives no error code for it, so its text decides. A server whose lc_messages is not English is reported
as one that does not answer, with its own words.
"""

import os
import re
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tapedeck.connectors.tls import Files, Words, handshake_in_words, probe

PASSWORD = "DATABASE_PASSWORD"
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_DEFAULT_PORT = 5432
_VERIFY_FAILED = "certificate verify failed"
_PREFIX = re.compile(r"connection (?:failed|is bad): (?:connection to server at .*? failed: )?")
_TLS_FORM = "sslmode=verify-full&sslrootcert=CA_FILE"


class _Kind(NamedTuple):
    """``pattern`` in libpq's text means ``what``, which may name its groups."""

    pattern: str
    what: str
    remedy: str


_WRONG_PASSWORD = r'password authentication failed for user "(.*?)"'
_KINDS = (
    _Kind(
        _WRONG_PASSWORD,
        "Postgres refused the password of the user {0!r}",
        f"correct it in DATABASE_URL (special characters percent-encoded), {PASSWORD}_FILE or PGPASSFILE",
    ),
    _Kind(
        "no password supplied",
        "Postgres asks for a password, and none is set",
        f"name a file that holds it in {PASSWORD}_FILE (or PGPASSFILE), or put it into DATABASE_URL",
    ),
    _Kind(
        r'database "(.*?)" does not exist',
        "the server has no database {0!r}",
        "CREATE DATABASE it with ENCODING 'UTF8' TEMPLATE template0, or name another in DATABASE_URL",
    ),
    _Kind(r'role "(.*?)" does not exist', "the server has no user {0!r}", "CREATE USER it, or name another"),
    _Kind(
        r"no pg_hba\.conf entry .*no encryption",
        "the server refuses connections without TLS",
        f"add {_TLS_FORM} to DATABASE_URL",
    ),
    _Kind(
        r'pg_hba\.conf (?:entry|rejects connection) for host "(.*?)", user "(.*?)", database "(.*?)"',
        "the server does not let the user {1!r} connect to {2!r} from {0}",
        "add a line for it to the server's pg_hba.conf",
    ),
    _Kind(
        r"requires a valid client certificate|certificate required|certificate authentication failed",
        "Postgres asks for a client certificate of this user",
        "name one with sslcert and sslkey in DATABASE_URL; its common name must be the user's",
    ),
    _Kind(
        r"alert (?:unknown ca|bad certificate|certificate unknown|certificate expired)",
        "Postgres does not trust this client's certificate",
        "name one in sslcert that has not expired and is signed by an authority that the server trusts",
    ),
    _Kind(
        "server does not support SSL",
        "Postgres does not use TLS here, but sslmode requires it",
        "turn on TLS at the server (ssl = on), or leave out sslmode if the network is trusted",
    ),
    _Kind(
        r"(server certificate for .* does not match host name .*)",
        "the certificate of Postgres is for another host name: {0}",
        "use a name that is in the certificate, or issue one for this name",
    ),
    _Kind(
        r"(.*root certificate file .*)",
        "sslrootcert cannot be used: {0}",
        "name the PEM file of the authority that signed the server's certificate",
    ),
    _Kind(
        r"(.*private key file .*|.*could not (?:read|load) certificate file .*)",
        "sslcert and sslkey cannot be used: {0}",
        "name PEM files that belong together; only this user may read the key (chmod 600)",
    ),
    _Kind(
        r'(invalid \w+ value: ".*"|weak sslmode .*)',
        "DATABASE_URL has a parameter with an invalid value: {0}",
        f"write TLS as {_TLS_FORM}",
    ),
    _Kind(
        "invalid response to SSL negotiation",
        "the server there is not Postgres",
        "check host and port of DATABASE_URL",
    ),
)


def refusal(error: Exception, parameters: Mapping[str, Any]) -> Words | None:
    """The meaning of a connection ``error`` with these libpq ``parameters``; None if it may be temporary.

    With several hosts it may always be temporary: another host may answer.
    """
    if "," in str(parameters.get("host", "")):
        return None
    said = str(error)
    for kind in _KINDS:
        if found := re.search(kind.pattern, said):
            groups = [_PREFIX.sub("", group or "") for group in found.groups()]
            return Words(kind.what.format(*groups), kind.remedy)
    return _untrusted(parameters) if _VERIFY_FAILED in said else None


def is_wrong_password(error: Exception) -> bool:
    """Whether the server has another password for the login, or none."""
    return re.search(_WRONG_PASSWORD, str(error)) is not None


def _untrusted(parameters: Mapping[str, Any]) -> Words:
    """Why the server's certificate is not trusted. libpq does not say, so this asks again."""
    host = str(parameters.get("host") or os.environ.get("PGHOST") or "localhost")
    port = int(parameters.get("port") or os.environ.get("PGPORT") or _DEFAULT_PORT)
    default = Path.home() / ".postgresql" / "root.crt"
    authority = str(parameters.get("sslrootcert") or os.environ.get("PGSSLROOTCERT") or default)
    error = probe(host, port, Files("" if authority == "system" else authority), _ask_for_tls)
    if error is None:
        return Words("the certificate of Postgres is refused", f"check it, and sslrootcert: {authority}")
    return handshake_in_words(error, f"Postgres at {host}:{port}", "sslrootcert of DATABASE_URL")


def _ask_for_tls(opened: socket.socket) -> None:
    opened.sendall(_SSL_REQUEST)
    if opened.recv(1) != b"S":
        raise OSError("no TLS")
