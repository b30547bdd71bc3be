"""The error tree. An error's type says what the program does next.

TapeError
├── Retry         the edge tries again later; nothing is lost meanwhile
├── DeadLetter    the record goes to ``dead_letters`` with the reason; the stream continues
├── HaltAccount   openings of one account stop until a person or a check clears it
└── Fatal         the process stops (at start-up: refuses to start)
    ├── ConfigInvalid
    ├── CatalogueMismatch
    └── NewerSchema
"""

from typing import Self


class TapeError(Exception):
    """Base of all errors. ``what`` went wrong, with which ``value``, and the ``remedy``.

    ``place``: the file, and the line where it is known, that the user must change.
    """

    def __init__(
        self, what: str, *, value: object = None, remedy: str = "", reason: str = "", place: str = ""
    ) -> None:
        self.what = what
        self.value = value
        self.remedy = remedy
        self.reason = reason or type(self).__name__
        self.place = place
        parts = [f"{place}: {what}" if place else what]
        if value is not None:
            parts.append(f"got {value!r}")
        if remedy:
            parts.append(remedy)
        super().__init__("; ".join(parts))

    def at(self, place: str) -> Self:
        """The same, in the file that the user must change; where one is named already, that one stays."""
        known = self.place or place
        return type(self)(self.what, value=self.value, remedy=self.remedy, reason=self.reason, place=known)


class Retry(TapeError):
    """A temporary fault outside this process."""


class DeadLetter(TapeError):
    """A record that can never be processed. ``reason`` is stored with it."""


class HaltAccount(TapeError):
    """An account must not open anything until this is cleared."""


class Fatal(TapeError):
    """The process cannot go on."""


class ConfigInvalid(Fatal):
    """The configuration document is refused (CONFIG_INVALID). ``value`` names the key path."""


class CatalogueMismatch(Fatal):
    """The cluster's topics differ from the catalogue."""


class NewerSchema(Fatal):
    """An account's record was written by a newer release than this process, and must not be skipped."""
