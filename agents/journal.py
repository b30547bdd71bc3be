"""How a worker process writes its log: one line per record, and no floods.

Client libraries repeat the same complaint many times a second while a broker is unavailable.
"""

import logging
import os
import time
from collections.abc import Callable

from tapedeck.agents.json_lines import JsonLines
from tapedeck.connectors.beats import process_name
from tapedeck.schemas.errors import Fatal, TapeError

EVERY_S = 10.0
FORM, TEXT, JSON = "TAPE_LOG", "text", "json"
_LIBRARIES = ("aiokafka", "faust", "mode", "agents")
"""``agents`` is Faust's name for the loggers of its classes that are derived there."""
_REPEATING = (*_LIBRARIES, "tapedeck.outbox", "tapedeck.sink.kafka", "tapedeck.lease")


class Sparing(logging.Filter):
    """Lets one line of a kind through every ``EVERY_S`` seconds; the next one tells how many were suppressed.

    An error of ours says all there is to say, so its traceback is left out.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._last: dict[tuple[str, str], float] = {}
        self._kept_back: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write ``record``. Two records are of one kind if logger and template are equal."""
        if record.exc_info and isinstance(record.exc_info[1], TapeError):
            record.exc_info = None
        if not record.name.startswith(_REPEATING):
            return True
        kind, now = (record.name, str(record.msg)), self._monotonic()
        if now - self._last.get(kind, -EVERY_S) < EVERY_S:
            self._kept_back[kind] = self._kept_back.get(kind, 0) + 1
            return False
        self._last[kind] = now
        if repeats := self._kept_back.pop(kind, 0):
            record.msg = f"{record.getMessage()} (and {repeats} times since the last such line)"
            record.args = ()
        return True


def set_up() -> None:
    """Log to standard error from now on. Libraries log from TAPE_LIBRARY_LOG_LEVEL (WARNING) up.

    As text, or as JSON if TAPE_LOG says so. Raises Fatal if it says something else.
    """
    form = os.environ.get(FORM) or TEXT
    if form not in (TEXT, JSON):
        raise Fatal(f"{FORM} is not a form of log", value=form, remedy=f"write {TEXT} or {JSON}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(Sparing())
        if form == JSON:
            handler.setFormatter(JsonLines(process_name()))
    for noisy in _LIBRARIES:
        logging.getLogger(noisy).setLevel(os.environ.get("TAPE_LIBRARY_LOG_LEVEL", "WARNING"))
