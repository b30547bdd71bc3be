"""Secrets by name: what a message or ``repr`` shows of one is where it comes from, never what it is."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tapedeck.schemas.errors import Fatal


@dataclass(frozen=True)
class Secret:
    """A secret that stands in a variable or in a file. ``name`` is what it is called in messages."""

    name: str = field(compare=False)
    value: str = field(default="", repr=False)
    path: str = ""

    def read(self) -> str:
        """The secret. A file is read each time, so one that was replaced holds from the next use on.

        Raises Fatal where the file cannot be read, is empty, or is open to every user.
        """
        return from_file(Path(self.path), self.name) if self.path else self.value

    def __bool__(self) -> bool:
        return bool(self.value or self.path)


def secret_of(name: str, environment: Mapping[str, str] = os.environ) -> Secret:
    """What ``name`` says, or the file that ``name``_FILE names. Raises Fatal where both are set."""
    value, path = environment.get(name, ""), environment.get(f"{name}_FILE", "")
    if value and path:
        raise Fatal(
            f"{name} and {name}_FILE are both set", value=f"{name}_FILE={path}", remedy="unset one of them"
        )
    return Secret(name, value, str(Path(path).expanduser().absolute()) if path else "")


def from_file(path: Path, name: str) -> str:
    """What a secret file holds, without blanks around it. Raises Fatal naming ``name`` and the file."""
    shown = str(path)
    try:
        mode, value = path.stat().st_mode, path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise Fatal(
            f"the secret file of {name} cannot be read: {why}", value=shown, remedy="correct its path"
        ) from None
    if mode & stat.S_IROTH:
        raise Fatal(
            f"the secret file of {name} can be read by every user", value=shown, remedy="chmod 600 it"
        )
    if not value:
        raise Fatal(f"the secret file of {name} is empty", value=shown, remedy="write the secret into it")
    return value
