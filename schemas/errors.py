"""The error tree. An error's type says what the program does next.

TapeError
├── Retry         the edge tries again later; nothing is lost meanwhile
├── DeadLetter    the record goes to ``dead_letters`` with the reason; the stream goes on
├── HaltAccount   openings of one account stop until a person or a check clears it
└── Fatal         the process stops (at start-up: refuses to start)
    ├── ConfigInvalid
    ├── CatalogueMismatch
    └── NewerSchema
"""


class TapeError(Exception):
    """Base of all errors. ``what`` went wrong, with which ``value``, and the ``remedy``."""

    def __init__(self, what: str, *, value: object = None, remedy: str = "", reason: str = "") -> None:
        self.what = what
        self.value = value
        self.remedy = remedy
        self.reason = reason or type(self).__name__
        parts = [what]
        if value is not None:
            parts.append(f"got {value!r}")
        if remedy:
            parts.append(remedy)
        super().__init__("; ".join(parts))


class Retry(TapeError):
    """A passing fault of something outside."""


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
    """An account's record was written by a newer release than this process: it must not leave it out."""
