"""Signals minute by minute: held until every partition of every topic of signals has ended the minute.

Shared by the live dispatcher and the simulator.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter, Fatal
from tapedeck.streams.merge import Mark, Merge, Opened, Record, Unreadable
from tapedeck.streams.protocol import Join, Message, StageSpec
from tapedeck.topics.topic import SIGNALS

_PERIOD_S = 60
_TAKE = 1000


@dataclass
class Minute:
    """A complete minute: its signals, what could not be read, and every message to acknowledge after it."""

    label: int = 0
    signals: list[dict[str, Any]] = field(default_factory=list)
    dead: list[tuple[Message, DeadLetter]] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)


class MinuteRouter:
    """Takes messages in log order per partition and gives minutes as they become complete.

    ``partitions``: how many each topic of signals has. Of two signals that are decided at the same place, the
    one of the earlier topic comes first. Raises Fatal if there is no topic.
    """

    def __init__(self, partitions: Mapping[str, int]) -> None:
        self._merge = Merge(_spec(*partitions), {name: range(n) for name, n in partitions.items()})
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
            self._open.signals.append(decode(SIGNALS, message.value))
        except DeadLetter as error:
            self._open.dead.append((message, error))


def _spec(*names: str) -> StageSpec:
    """What merges ``names``: with a period, a minute ends once the other topics have ended it as well."""
    if not names:
        raise Fatal(
            "no stage of this topology writes signals, so a dispatcher has nothing to route and no clock",
            value="no output with the schema signals",
            remedy="name a topology with such a stage, or configure no accounts",
        )
    first, *others = names
    return StageSpec(
        name="router",
        trigger=first,
        joins=tuple(map(Join, others)),
        outputs=(),
        scale="single",
        period=_PERIOD_S,
        doc="signals to the inbox",
    )
