"""Notices as lines of JSON in a file, as a local stack keeps them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tapedeck.connectors.alerts.notice import Notice
from tapedeck.schemas.errors import Retry


@dataclass(frozen=True, kw_only=True)
class LogFile:
    """The file; its folder is made."""

    path: Path
    at_once: int = 1_000

    def send(self, notices: Sequence[Notice]) -> None:
        """Append a line each, all in one write."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write("".join(f"{json.dumps(each.body(), ensure_ascii=False)}\n" for each in notices))
        except OSError as error:
            what = f"the log of alarms cannot be written: {error.strerror}"
            raise Retry(what, value=str(self.path), remedy="free space, or correct its rights") from None
