"""A log as JSON, one object a line: for what collects logs. Secrets are taken out of every value."""

import json
import logging
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime

_SECRET_NAME = re.compile(r"(PASSWORD|SECRET|TOKEN|SALT|API_KEY|APCA_API_KEY_ID)", re.IGNORECASE)
_NOT_SECRET = re.compile(r"(_FILE|_REF|_LOCATION|_PATH|_URL)$", re.IGNORECASE)
_IN_URL = re.compile(r"(\b[a-z][a-z0-9+]*://[^\s:/@]*):[^\s/@]+@", re.IGNORECASE)
_NAMED = re.compile(r"((?:password|secret|token)\w*[\"']?\s*[=:]\s*)[\"']?[^\s\"',;}]+", re.IGNORECASE)
_SHORTEST = 6
"""A shorter one would be found inside ordinary words; with its name beside it, it is still taken out."""
HIDDEN = "***"
_EVENT = re.compile(r"[^a-z0-9]+")
_WORDS = 8


class JsonLines(logging.Formatter):
    """``time`` with zone, ``level``, ``process``, ``logger``, ``event``, ``message``, and ``error`` if any.

    ``event`` is one name for all lines of a kind: the logger's last part and the words of the template,
    without its values. ``environment``: where the secrets are that must not be in a line.
    """

    def __init__(self, process: str, environment: Mapping[str, str] = os.environ) -> None:
        super().__init__()
        self._process = process
        self._hidden = sorted(secrets_in(environment), key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "process": self._process,
            "logger": record.name,
            "event": event_of(record),
            "message": self.redacted(record.getMessage()),
        }
        if record.exc_info:
            line["error"] = self.redacted(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)

    def redacted(self, text: str) -> str:
        """``text`` without secrets: those of the environment, those in addresses, and those after a name."""
        for secret in self._hidden:
            text = text.replace(secret, HIDDEN)
        return _NAMED.sub(rf"\1{HIDDEN}", _IN_URL.sub(rf"\1:{HIDDEN}@", text))


def event_of(record: logging.LogRecord) -> str:
    """The name of a kind of line, such as ``runner.starts_at``."""
    template = re.sub(r"%[-#0 +]*\d*(?:\.\d+)?[a-zA-Z]", " ", str(record.msg))
    words = _EVENT.sub("_", template.lower()).strip("_").split("_")
    return f"{record.name.rpartition('.')[2]}.{'_'.join(words[:_WORDS]) or 'message'}"


def secrets_in(environment: Mapping[str, str]) -> set[str]:
    """The values of the variables that are secrets by their names."""
    return {
        value
        for name, value in environment.items()
        if _SECRET_NAME.search(name) and not _NOT_SECRET.search(name) and len(value) >= _SHORTEST
    }
