"""Signals minute by minute: held until every partition of the topic has ended the minute.

Shared by the live dispatcher and the simulator.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.contract import Message, StageSpec
from tapedeck.streams.merge import Mark, Merge, Opened, Record, Unreadable

TOPIC = "signals"
SPEC = StageSpec(name="router", trigger=TOPIC, outputs=(), scale="single", doc="signals to the inbox")
_TAKE = 1000


@dataclass
class Minute:
    """A complete minute: its signals, what could not be read, and every message to acknowledge after it."""

    label: int = 0
    signals: list[dict[str, Any]] = field(default_factory=list)
    dead: list[tuple[Message, DeadLetter]] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)


class MinuteRouter:
    """Takes messages of ``signals`` in log order per partition and gives minutes as they become complete."""

    def __init__(self, partitions: int) -> None:
        self._merge = Merge(SPEC, {TOPIC: range(partitions)})
        self._open = Minute()

    def put(self, message: Message) -> None:
        """Add the next message of its partition."""
        self._merge.put(message)

    def minutes(self) -> Iterator[Minute]:
        """The minutes that are complete now, in order."""
        while items := self._merge.take(_TAKE):
            for item in items:
                minute = self._open
                minute.messages.extend(item.messages if isinstance(item, Mark | Opened) else (item.message,))
                if isinstance(item, Record):
                    self._read(item.message)
                elif isinstance(item, Unreadable):
                    minute.dead.append((item.message, item.error))
                elif isinstance(item, Mark):
                    minute.label, self._open = item.label, Minute()
                    yield minute

    def _read(self, message: Message) -> None:
        try:
            self._open.signals.append(decode(TOPIC, message.value))
        except DeadLetter as error:
            self._open.dead.append((message, error))
