"""Credentials by name: the configuration says where they are, never what they are.

A secret file is read every time it is needed, so the next connection uses a rotated one. ``Keys`` looks for a
rotated one before every call.
"""

import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tapedeck.connectors.secrets import from_file, secret_of
from tapedeck.schemas.errors import Fatal

log = logging.getLogger("tapedeck.credentials")


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
        return _sendable(from_file(Path(reference).expanduser(), "a credential"), reference)
    value = secret_of(reference, environment).read().strip()
    if not value:
        remedy = f"set this environment variable, or {reference}_FILE to a file that holds it"
        raise Fatal("a credential is missing", value=reference, remedy=remedy)
    return _sendable(value, reference)


def _sendable(value: str, reference: str) -> str:
    """``value``, unless it cannot be sent as an HTTP header: some clients quote a bad one in their error."""
    if not all("!" <= each <= "~" for each in value):
        remedy = "write the secret alone: printable ASCII without blanks, on one line"
        raise Fatal(f"{reference} holds a character that no credential has", remedy=remedy)
    return value


def credentials(key_ref: str, secret_ref: str, environment: Mapping[str, str] = os.environ) -> Credentials:
    """The credentials behind an account's ``key_ref`` and ``secret_ref``. Raises Fatal."""
    return Credentials(key=resolve(key_ref, environment), secret=resolve(secret_ref, environment))


class Keys:
    """An account's credentials while a process runs: read again when they change. Any thread may ask.

    Raises Fatal, as ``credentials`` does, where there are none to begin with. Later ones that cannot be read,
    as in the middle of a rotation, are reported once and the last ones stay.
    """

    def __init__(self, key_ref: str, secret_ref: str, environment: Mapping[str, str] = os.environ) -> None:
        self._refs, self._environment = (key_ref, secret_ref), environment
        self._lock, self._troubled = threading.Lock(), False
        self._seen = self._stamps()
        self._found = credentials(*self._refs, environment)

    def now(self) -> Credentials:
        """The newest: their files, or variables, were looked at just now."""
        with self._lock:
            if (seen := self._stamps()) != self._seen:
                self._read(seen)
            return self._found

    def after_refusal(self) -> Credentials:
        """The newest, read whatever the files' times say: a broker refused those that ``now`` gave."""
        with self._lock:
            self._read(self._stamps())
            return self._found

    def _stamps(self) -> tuple[object, ...]:
        """What differs once a credential was replaced: a file's time and place, or a variable's value."""
        return tuple(_stamp(reference, self._environment) for reference in self._refs)

    def _read(self, seen: tuple[object, ...]) -> None:
        try:
            found = credentials(*self._refs, self._environment)
        except Fatal as error:
            if not self._troubled:
                log.warning("%s; still using the previous credentials", error)
            self._troubled = True
            return
        if found != self._found:
            log.info("the credentials in %s and %s were replaced", *self._refs)
        self._seen, self._found, self._troubled = seen, found, False


class Fixed:
    """Credentials that nobody replaces, in the form of ``Keys``."""

    def __init__(self, found: Credentials) -> None:
        self._found = found

    def now(self) -> Credentials:
        return self._found

    def after_refusal(self) -> Credentials:
        return self._found


def as_keys(given: Credentials | Keys) -> Keys | Fixed:
    """``given`` as something that can be asked for the newest credentials."""
    return Fixed(given) if isinstance(given, Credentials) else given


def _stamp(reference: str, environment: Mapping[str, str]) -> object:
    path = reference if "/" in reference else environment.get(f"{reference}_FILE", "")
    if not path:
        return environment.get(reference)
    try:
        status = Path(path).expanduser().stat()
    except OSError:
        return path, None
    return path, status.st_mtime_ns, status.st_ino, status.st_size
