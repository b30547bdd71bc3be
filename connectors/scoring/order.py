"""In which order items are scored, and when a minute of ``sentiment`` is over. No I/O and no clock.

``sentiment`` gets watermark(m) once everything before watermark(m) of each input is scored. What follows
watermark(m) in an input is held until then, so that it counts in the minute that it came in. An input that
keeps others waiting for SILENT_S is left behind until its watermarks move again: its records are taken as
they come. The first input is left behind only as long as it has never had a watermark.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.watermarks import Watermark, punctuation_of
from tapedeck.topics.catalogue import WATERMARK_KEY

INPUTS = ("links", "post_links")
SCHEMA = "links"
SILENT_S = 5.0
MOST_WAITING = 2_000
"""Messages of an input that may wait; no more are read then."""
_REMEMBERED = 10_000
"""Items whose repeats are known as such. A stage repeats at most what it wrote just before it crashed."""


class Position(NamedTuple):
    """How far an input is done. ``label``: its last watermark before ``offset``; ``marked``: the last label
    that was written by then. None: there was none yet."""

    offset: int
    label: int | None = None
    marked: int | None = None


class Item(NamedTuple):
    """A record of an input, decoded. ``symbols``: those that are still to be written."""

    message: Message
    body: dict[str, Any]
    symbols: frozenset[str]


class Unreadable(NamedTuple):
    """A message that cannot be decoded."""

    message: Message
    error: DeadLetter


class Mark(NamedTuple):
    """A watermark that is due."""

    label: int


Step = Item | Unreadable | Mark


class _Input:
    def __init__(self, name: str, start: Position) -> None:
        self.name, self.offset, self.label = name, start.offset, start.label
        self.waiting: deque[tuple[Message, int | None]] = deque()
        self.first_label: int | None = None
        self.awaited = True
        self.kept_waiting: float | None = None
        """Since when others wait for it."""

    def put(self, message: Message) -> None:
        label = None
        if message.key == WATERMARK_KEY:
            with suppress(DeadLetter):  # it is refused in its turn
                found = punctuation_of(message.key, message.value, message.headers)
                label = found.label if isinstance(found, Watermark) else None
        self.waiting.append((message, label))
        self.first_label = label if self.first_label is None else self.first_label

    def reach(self, label: int) -> None:
        if self.label is None or label > self.label:
            self.label, self.awaited, self.kept_waiting = label, True, None


class Order:
    """Takes messages of the inputs in log order, and gives them back in turns.

    ``starts``: where each input goes on; the first name is the leading input. ``marked``: the label that
    every partition of the output has. ``written``: symbols by event_id of the items that are written already.
    """

    def __init__(
        self, starts: Mapping[str, Position], marked: int | None, written: Mapping[str, frozenset[str]]
    ) -> None:
        self._inputs = {name: _Input(name, start) for name, start in starts.items()}
        self._leading = next(iter(starts))
        self.marked = marked
        self._before = dict(written)
        self._recent: dict[str, frozenset[str]] = {}

    def put(self, message: Message) -> None:
        """Take one message; of each input from its start on."""
        self._inputs[message.topic].put(message)

    @property
    def hungry(self) -> list[str]:
        """The inputs of which more may be read."""
        # Without any watermark the first one must be seen: it says with which the output begins.
        return [
            each.name
            for each in self._inputs.values()
            if len(each.waiting) < MOST_WAITING or self._is_unsaid(each)
        ]

    @property
    def waiting(self) -> int:
        """Messages that wait for their turn."""
        return sum(len(each.waiting) for each in self._inputs.values())

    def positions(self) -> dict[str, Position]:
        """How far each input is done when the turns that were given are."""
        return {name: Position(each.offset, each.label, self.marked) for name, each in self._inputs.items()}

    def turn(self, now: float, most: int) -> list[Step]:
        """What is due, in order, with at most ``most`` items to score; ``now`` in seconds of any clock."""
        steps: list[Step] = []
        left = most
        while True:
            before = [each.offset for each in self._inputs.values()], self.marked
            for each in self._inputs.values():
                left -= self._take(each, steps, left)
            if (label := self._due(now)) is not None:
                self._mark(label, steps)
            if before == ([each.offset for each in self._inputs.values()], self.marked):
                return steps

    def _mark(self, label: int, steps: list[Step]) -> None:
        steps.append(Mark(label))
        self.marked = label

    def _is_new(self, each: _Input) -> bool:
        return self.marked is None and each.label is None

    def _is_unsaid(self, each: _Input) -> bool:
        """Whether it is not known yet with which watermark the output begins before its records."""
        return self._is_new(each) and each.first_label is None

    def _is_free(self, each: _Input) -> bool:
        """Whether the next message belongs to a minute that the output has begun."""
        return each.label is None or (self.marked is not None and each.label <= self.marked)

    def _take(self, each: _Input, steps: list[Step], most: int) -> int:
        """Take what is free; returns the number of items to score."""
        count = 0
        while each.waiting and count < most and self._is_free(each):
            message, label = each.waiting[0]
            if message.key != WATERMARK_KEY and self._is_new(each):
                if each.first_label is None:
                    break
                self._mark(each.first_label - MINUTE_US, steps)
            each.waiting.popleft()
            each.offset = message.offset + 1
            if label is not None:
                each.reach(label)
            elif (step := self._step(message)) is not None:
                steps.append(step)
                count += isinstance(step, Item)
        return count

    def _step(self, message: Message) -> Step | None:
        """A message as a step; None where nothing is to be done for it."""
        try:
            if punctuation_of(message.key, message.value, message.headers) is not None:
                return None
            body = decode(SCHEMA, message.value)
        except DeadLetter as error:
            return Unreadable(message, error)
        identity, symbols = body["event_id"], symbols_of(body)
        written = self._before.pop(identity, None) or self._recent.pop(identity, frozenset())
        self._recent[identity] = symbols
        if len(self._recent) > _REMEMBERED:
            del self._recent[next(iter(self._recent))]
        return Item(message, body, symbols - written)

    def _due(self, now: float) -> int | None:
        """The label to write, if no input that is waited for is before it."""
        there = [each for each in self._inputs.values() if not self._is_free(each)]
        for each in self._inputs.values():
            if not there or each in there:
                each.kept_waiting = None
            elif each.awaited and not self._is_silent(each, now):
                return None
        return min((each.label for each in there if each.label is not None), default=None)

    def _is_silent(self, each: _Input, now: float) -> bool:
        """Whether others have waited long enough for it: it is not waited for from now on."""
        if (each.waiting and not self._is_unsaid(each)) or (
            each.name == self._leading and each.label is not None
        ):
            return False
        each.kept_waiting = now if each.kept_waiting is None else each.kept_waiting
        each.awaited = now - each.kept_waiting < SILENT_S
        return not each.awaited


def symbols_of(body: Mapping[str, Any]) -> frozenset[str]:
    """The symbols for which an item has records: those that it names, and those that it no longer does."""
    return frozenset(body["dropped"]) | frozenset(link["symbol"] for link in scored_links(body))


def scored_links(body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The links that sentiment comes of: none where the item is a list."""
    return () if body["list_post"] else body["links"]
