"""What the job writes, as records of the log."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from tapedeck.connectors.clock import Clock
from tapedeck.connectors.dead_letters import dead_letter
from tapedeck.connectors.kafka.log import LogWriter
from tapedeck.connectors.reddit.posts import TOPIC
from tapedeck.connectors.reddit.saved import Body, Letter
from tapedeck.connectors.tapes.writers import LIVE_POSTS
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.protocol import Message
from tapedeck.streams.wire import Wire
from tapedeck.topics.catalogue import Layout

STAGE = LIVE_POSTS
"""The name under which `tape ingest posts` reports, and who refused a row, in its dead letter."""


class Writer(LogWriter, Protocol):
    """A log writer that also takes finished records; ``KafkaLogWriter`` is one."""

    def write(self, wires: Iterable[Wire]) -> None: ...


class LogSink:
    """The job's sink onto a log. Both methods raise Retry where what they sent is not acknowledged."""

    def __init__(self, writer: Writer, layout: Layout, clock: Clock) -> None:
        self._writer, self._layout, self._clock = writer, layout, clock

    def write(self, bodies: Sequence[Body]) -> None:
        """Append versions of posts, and wait until they are acknowledged."""
        for body in bodies:
            self._writer.send(TOPIC, body)
        self._writer.flush()

    def refuse(self, letters: Sequence[Letter]) -> None:
        """Append a dead letter for each row, which has no offset, and wait until they are acknowledged."""
        now_ms = self._clock.now() // 1_000
        for name, what, raw in letters:
            message = Message(TOPIC, 0, -1, now_ms, name.encode(), raw.encode(), ())
            error = DeadLetter(what, reason="BAD_ITEM")
            self._writer.write([dead_letter(self._layout, message, STAGE, error)])
        self._writer.flush()
