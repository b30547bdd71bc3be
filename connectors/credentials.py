"""Credentials by name: the configuration says where they are, never what they are.

A secret file is read every time it is needed, so the next connection uses a rotated one.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tapedeck.connectors.secrets import from_file, secret_of
from tapedeck.schemas.errors import Fatal


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """A key and its secret. Neither is shown by ``repr``."""

    key: str = field(repr=False)
    secret: str = field(repr=False)


def resolve(reference: str, environment: Mapping[str, str] = os.environ) -> str:
    """The value of a reference: the content of a secret file if it has a ``/``, else an environment variable,
    or the file that the variable with ``_FILE`` after its name names.

    Raises Fatal naming the reference, never a value.
    """
    if "/" in reference:
        return from_file(Path(reference).expanduser(), "a credential")
    value = secret_of(reference, environment).read().strip()
    if not value:
        remedy = f"set this environment variable, or {reference}_FILE to a file that holds it"
        raise Fatal("a credential is missing", value=reference, remedy=remedy)
    return value


def credentials(key_ref: str, secret_ref: str, environment: Mapping[str, str] = os.environ) -> Credentials:
    """The credentials behind an account's ``key_ref`` and ``secret_ref``. Raises Fatal."""
    return Credentials(key=resolve(key_ref, environment), secret=resolve(secret_ref, environment))
