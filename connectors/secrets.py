"""Secrets by name: messages and ``repr`` show where a secret comes from, never its value."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tapedeck.schemas.errors import Fatal

HIDDEN = "***"
_LOGIN = re.compile(r"(?<=://)([^/@:\s]*):[^/@\s]+@")
_ARGUMENT = re.compile(r"(?i)\b((?:[\w-]*(?:password|passwd|secret|token|key))=)[^&\s]+")


def without_secrets(text: str) -> str:
    """``text`` with the passwords and tokens of addresses in it hidden."""
    return _ARGUMENT.sub(rf"\1{HIDDEN}", _LOGIN.sub(rf"\1:{HIDDEN}@", text))


@dataclass(frozen=True)
class Secret:
    """A secret in a variable or in a file. ``name`` is what messages call it."""

    name: str = field(compare=False)
    value: str = field(default="", repr=False)
    path: str = ""

    def read(self) -> str:
        """The secret. A file is read each time, so a replaced secret takes effect with the next use.

        Raises Fatal if the file cannot be read, is empty, or is open to every user.
        """
        return from_file(Path(self.path), self.name) if self.path else self.value

    def __bool__(self) -> bool:
        return bool(self.value or self.path)


def secret_of(name: str, environment: Mapping[str, str] = os.environ) -> Secret:
    """The value of ``name``, or the content of the file in ``name``_FILE. Raises Fatal if both are set."""
    value, path = environment.get(name, ""), environment.get(f"{name}_FILE", "")
    if value and path:
        raise Fatal(
            f"{name} and {name}_FILE are both set", value=f"{name}_FILE={path}", remedy="unset one of them"
        )
    return Secret(name, value, str(Path(path).expanduser().absolute()) if path else "")


def from_file(path: Path, name: str) -> str:
    """The content of a secret file, without the whitespace around it: editors end a file with a newline.

    Raises Fatal naming ``name`` and the file, never its content; also for one with several lines.
    """
    shown = str(path)
    try:
        open_to_others, value = _open_to_others(path), path.read_text().strip()
    except OSError as error:
        what = f"the secret file of {name} cannot be read: {error.strerror}"
        remedy = "name the file that holds it, readable by this user"
        raise Fatal(what, value=shown, remedy=remedy) from None
    except UnicodeDecodeError:
        what = f"the secret file of {name} holds no text"
        raise Fatal(what, value=shown, remedy="write the secret as UTF-8") from None
    if open_to_others:
        raise Fatal(f"the secret file of {name} can be read by others", value=shown, remedy="chmod 600 it")
    if not value:
        raise Fatal(f"the secret file of {name} is empty", value=shown, remedy="write the secret into it")
    if len(value.splitlines()) > 1:
        remedy = "write the secret alone, on one line"
        raise Fatal(f"the secret file of {name} has more than one line", value=shown, remedy=remedy)
    return value


def _open_to_others(path: Path) -> bool:
    """Whether more users may read it than its owner needs to allow.

    A file owned by root that our group may read is fine: Kubernetes mounts a secret like that for a process
    that is not root, and libpq accepts such a key too.
    """
    status = path.stat()
    lent = status.st_uid == 0 and os.geteuid() != 0
    return bool(status.st_mode & (0o007 if lent else 0o077))
