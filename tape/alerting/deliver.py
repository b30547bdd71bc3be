"""Sends what is due to each sink, and keeps what they were told in a small file.

A sink that fails is a finding like others: it is told to the other sinks, and stops neither them nor the
doctor.
"""

import fcntl
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tapedeck.connectors import state_file
from tapedeck.connectors.alerts.notice import Notice, Sink
from tapedeck.schemas.errors import Fatal, TapeError
from tapedeck.tape.alerting.book import SinkState, from_rows, to_rows, worked
from tapedeck.tape.doctor.check import Check
from tapedeck.tape.doctor.checks.all import CHECKS
from tapedeck.tape.doctor.diagnose import diagnose
from tapedeck.tape.doctor.findings import Diagnosis
from tapedeck.tape.doctor.snapshot import SinkSeen, Snapshot

log = logging.getLogger("tapedeck.alerts")

_FORMAT = 1
_KEPT = "state file"


class Memory:
    """What the sinks were told, in a file at ``path``. Only its owner may read it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.states: dict[str, SinkState] = {}

    def load(self) -> None:
        """Read it. A damaged one is set aside: everything that is open is told again then."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as error:
            log.error("the file of open alarms %s cannot be read: %s", self.path, error)
            return
        try:
            found = json.loads(text)
            if found["format"] != _FORMAT:
                raise ValueError(f"format {found['format']!r}")
            self.states = from_rows(found["sinks"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            log.error(
                "the file of open alarms is damaged (%s): kept as %s, and all that is open is told again",
                type(error).__name__, self._aside(),
            )  # fmt: skip

    def failed(self, names: Iterable[str]) -> tuple[SinkSeen, ...]:
        """Those of the sinks ``names`` that took nothing when something was last sent."""
        found = ((name, self.states[name].failure) for name in names if name in self.states)
        return tuple(SinkSeen(name, each.what, each.remedy, each.since) for name, each in found if each)

    def save(self) -> None:
        """Replace it. Raises OSError."""
        rows = {"format": _FORMAT, "sinks": to_rows(self.states)}
        state_file.write(self.path, json.dumps(rows, indent=1) + "\n", is_private=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold its lock: of two that send, each would send everything. Raises Fatal if another holds it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise Fatal(
                f"the file of open alarms cannot be kept: {error.strerror}",
                value=str(self.path),
                remedy="name another in TAPE_ALERT_STATE, in a folder that this user may write",
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise Fatal(
                "another `tape doctor` sends the alarms of this pipeline",
                value=str(self.path),
                remedy="stop it, or leave out --alert and --watch here",
            ) from None
        finally:
            os.close(descriptor)

    def _aside(self) -> object:
        try:
            return state_file.set_aside(self.path)
        except OSError:
            return self.path


@dataclass(kw_only=True)
class Delivery:
    """The sinks of one pipeline. ``sinks``: by the variable that names each. ``sent``: is called with what
    each took."""

    sinks: Mapping[str, Sink]
    memory: Memory
    pipeline: str
    repeat_us: int
    sent: Callable[[str, Notice], None] = lambda name, notice: None
    _unsaved: str = field(default="", init=False)

    def deliver(self, snapshot: Snapshot, checks: Sequence[Check] = CHECKS) -> Diagnosis:
        """Send what is due of ``checks``; gives the diagnosis with how the sinks fare.

        What a sink's failure or recovery makes due to the others is sent at once as well.
        """
        tried: set[str] = set()
        for _ in range(2):
            snapshot = self.seen(snapshot)
            found = diagnose(snapshot, checks)
            for name, sink in self.sinks.items():
                if name not in tried and not self._served(name, sink, found, snapshot.now):
                    tried.add(name)
            after = self.seen(snapshot)
            if after == snapshot:
                break
            snapshot = after
        return diagnose(snapshot, checks)

    def seen(self, snapshot: Snapshot) -> Snapshot:
        """``snapshot`` with how the sinks fare."""
        usable = {*self.sinks}
        others = tuple(each for each in snapshot.sink_faults if each.sink not in usable | {_KEPT})
        failed = self.memory.failed(self.sinks)
        unsaved = (SinkSeen(_KEPT, self._unsaved, "name another file in TAPE_ALERT_STATE"),)
        return replace(snapshot, sink_faults=(*others, *failed, *(unsaved if self._unsaved else ())))

    def _state(self, name: str) -> SinkState:
        return self.memory.states.get(name, SinkState())

    def _served(self, name: str, sink: Sink, found: Diagnosis, now: int) -> bool:
        """Send what is due to one sink; False if it failed, and is not asked again at this look."""
        state = self._state(name)
        probe = [worked(name, state.failure, now, self.pipeline)] if state.failure else []
        due = state.book.due(
            self._without(name, found), now, repeat_us=self.repeat_us, pipeline=self.pipeline
        )
        waiting = [*probe, *due]
        while waiting:
            part, waiting = waiting[: sink.at_once], waiting[sink.at_once :]
            if (failure := _sending(sink, part)) is not None:
                log.error("%s takes no alarms: %s", name, failure[0])
                self._note(name, state.failed(*failure, now))
                return False
            book = state.book
            for each in part:
                book = book if each in probe else book.told(each, found)
                self.sent(name, each)
            state = SinkState(book=book)
            self._note(name, state)
        return True

    def _without(self, name: str, found: Diagnosis) -> Diagnosis:
        """A sink is not told of its own failure while it lasts."""
        left = tuple(each for each in found.findings if (each.check, each.stage) != ("alerts", name))
        return Diagnosis(found.checks, left)

    def _note(self, name: str, state: SinkState) -> None:
        self.memory.states = {**self.memory.states, name: state}
        try:
            self.memory.save()
            self._unsaved = ""
        except OSError as error:
            self._unsaved = f"{self.memory.path} cannot be written: {error.strerror}"


def _sending(sink: Sink, notices: list[Notice]) -> tuple[str, str] | None:
    """What went wrong and what mends it; None if the sink took them."""
    try:
        sink.send(notices)
    except TapeError as error:
        return error.what if error.value is None else f"{error.what}, got {error.value!r}", error.remedy
    except Exception as error:
        # Its words may hold an address or a secret.
        return f"{type(error).__name__} in this release", "report it"
    return None
