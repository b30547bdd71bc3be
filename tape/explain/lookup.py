"""Finding recorded events by id without an index: in narrow windows of time, then in wider ones.

The broker keeps a time index, Kafka's timestamp is the event time, and a record's bytes contain its event_id
as text. So a record is searched by its bytes in the partitions that can hold it, around the time at which it
must have been written; only matches are decoded.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.blocks import Block, Ints, Source, last_record
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.watermarks import Opening, Watermark, readable_punctuation
from tapedeck.topics.catalogue import WATERMARK_KEY, Layout, topic

Body = dict[str, Any]
DAY_US = 24 * 60 * MINUTE_US
_REACHES = (15 * MINUTE_US, DAY_US, 8 * DAY_US)
"""How far before and after its expected time to search for a record, one after the other."""
_WHOLE = 200_000
"""A partition with no more records than this is searched completely if the reaches found nothing."""
_PAGE = 1024
_SMALL = 4 * _PAGE
"""A partition with no more records than this is always searched completely."""
_PAGES_KEPT = 512


class Found(NamedTuple):
    """One recorded event: the log record and its decoded body."""

    message: Message
    body: Body

    @property
    def topic(self) -> str:
        return self.message.topic

    @property
    def part(self) -> Part:
        return self.message.topic, self.message.partition

    @property
    def event_id(self) -> str:
        return str(self.body["event_id"])

    @property
    def time_us(self) -> int:
        return self.message.timestamp * 1000

    @property
    def place(self) -> str:
        """``topic/partition@offset``, as in the header ``tape-cause``."""
        return f"{self.message.topic}/{self.message.partition}@{self.message.offset}"

    def header(self, name: str) -> str:
        """The content of a header, empty if there is none."""
        content = next((c for key, c in self.message.headers if key == name), b"")
        return (content or b"").decode("utf-8", "replace")


class Lookup:
    """Reads windows of recorded partitions, up to the ends they had when first used."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.layout: Layout = source.layout
        self._ends: dict[Part, tuple[int, int]] = {}
        self._pages: OrderedDict[tuple[Part, int], list[Block]] = OrderedDict()

    def ends(self, part: Part) -> tuple[int, int]:
        """(first, end) offset of ``part``. Raises Fatal for a topic that the cluster does not have."""
        if part not in self._ends:
            self._ends.update(self._source.ends([part[0]]))
        return self._ends[part]

    def offset_at(self, part: Part, time_us: int) -> int:
        """The first offset whose record is not older than ``time_us``, within ``ends``."""
        first, end = self.ends(part)
        return min(max(self._source.offset_at(part, time_us), first), end) if end > first else end

    def blocks(self, part: Part, start: int, end: int) -> Iterator[Block]:
        """The records of ``part`` with offsets in [start, end); what was read is cached."""
        first, last = self.ends(part)
        start, end = max(start, first), min(end, last)
        pages = range(start // _PAGE, -(-end // _PAGE)) if end > start else range(0)
        for run in _runs([page for page in pages if (part, page) not in self._pages]):
            self._read(part, run, first, last)
        for page in pages:
            self._pages.move_to_end((part, page))
            for block in self._pages[part, page]:
                low, high = np.searchsorted(block.offsets, (start, end))
                if high > low:
                    yield block.part_of(int(low), int(high))
        while len(self._pages) > _PAGES_KEPT:
            self._pages.popitem(last=False)

    def _read(self, part: Part, pages: range, first: int, last: int) -> None:
        """Consecutive pages of ``part`` in one read; ``first`` and ``last`` bound the partition."""
        self._pages.update({(part, page): [] for page in pages})
        span = (max(pages.start * _PAGE, first), min(pages.stop * _PAGE, last))
        for block in self._source.stream(part, *span):
            numbers = block.offsets // _PAGE
            edges = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(block)]
            for low, high in pairwise(edges):
                self._pages[part, int(numbers[low])].append(_alone(block.part_of(low, high)))

    def messages(self, part: Part, start: int, end: int, key: bytes | None = None) -> Iterator[Message]:
        """The messages of ``part`` with offsets in [start, end).

        With ``key``, only those of the key, and watermarks.
        """
        for block in self.blocks(part, start, end):
            for place in range(len(block)):
                if key is None or block.key(place) in (key, WATERMARK_KEY):
                    yield block.message(place)

    def between(
        self, part: Part, since_us: int, until_us: int, key: bytes | None = None
    ) -> Iterator[Message]:
        """The messages from the first that is not older than ``since_us`` to before the first not older than
        ``until_us``: late records among them may have older times."""
        yield from self.messages(part, self.offset_at(part, since_us), self.offset_at(part, until_us), key)

    def at(self, part: Part, offset: int) -> Found | None:
        """The event at one offset; None if there is none or it cannot be decoded."""
        for message in self.messages(part, offset, offset + 1):
            return opened(message)
        return None

    def last(self, part: Part) -> Message | None:
        """The last record of ``part``."""
        return last_record(self._source, part, *self.ends(part))

    def last_label(self, part: Part, before: int | None = None) -> int | None:
        """The label of the last watermark of ``part`` (before offset ``before``); None if it has none."""
        found = self.back(part, before)
        return next((each.label for each in found if isinstance(each, Watermark)), None)

    def opening(self, part: Part, before: int) -> Opening | None:
        """The opening of the minute that offset ``before`` of ``part`` lies in; None if it has none there."""
        found: Opening | None = None
        for each in self.back(part, before):
            if isinstance(each, Watermark):
                return found if found is not None and found.label == each.label else None
            found = each
        return None

    def back(self, part: Part, before: int | None) -> Iterator[Watermark | Opening]:
        """The watermarks and openings of ``part`` before an offset or the end, the last one first."""
        first, end = self.ends(part)
        end = end if before is None else min(before, end)
        while end > first:
            start = max(first, (end - 1) // _PAGE * _PAGE)
            for message in reversed(list(self.messages(part, start, end, WATERMARK_KEY))):
                found = readable_punctuation(message)
                if found is not None:
                    yield found
            end = start

    def search(self, part: Part, start: int, end: int, needles: Sequence[bytes]) -> Iterator[Found]:
        """The events with offsets in [start, end) whose bytes contain one of ``needles``, in log order."""
        for block in self.blocks(part, start, end):
            yield from holding(block, needles)

    def bearing(self, part: Part, start: int, end: int, needles: Sequence[bytes]) -> Iterator[Found]:
        """The events with offsets in [start, end) whose headers contain one of ``needles``, in log order."""
        for block in self.blocks(part, start, end):
            yield from holding(block, needles, block.headers)

    def scan(self, part: Part, start: int, end: int, needles: Sequence[bytes]) -> Iterator[Found]:
        """Like ``search``, without caching, for long ranges that are read once."""
        first, last = self.ends(part)
        for block in self._source.stream(part, max(start, first), min(end, last)):
            yield from holding(block, needles)

    def find(
        self, event_ids: Collection[str], parts: Sequence[Part], around_us: int, hint: str = ""
    ) -> dict[str, Found]:
        """The events with these ids in ``parts``, written around ``around_us``.

        ``hint`` is a place (``topic/partition@offset``) that is probably one of them.
        """
        found: dict[str, Found] = {}
        hinted = self._hinted(hint, parts)
        if hinted is not None and hinted.event_id in event_ids:
            found[hinted.event_id] = hinted
        done: dict[Part, tuple[int, int]] = {}
        for reach in (*_REACHES, None):
            for part in parts:
                wanted = [each for each in event_ids if each not in found]
                if not wanted:
                    return found
                start, end = self._stretch(part, reach, around_us)
                low, high = done.get(part, (start, start))
                for stretch in ((start, low), (high, end)):
                    for each in self.search(part, *stretch, [each.encode() for each in wanted]):
                        if each.event_id in wanted:
                            found.setdefault(each.event_id, each)
                done[part] = (min(start, low), max(end, high))
        return found

    def _hinted(self, hint: str, parts: Sequence[Part]) -> Found | None:
        name, _, rest = hint.rpartition("/")
        partition, _, offset = rest.partition("@")
        if not (partition.isdecimal() and offset.isdecimal()) or (name, int(partition)) not in parts:
            return None
        return self.at((name, int(partition)), int(offset))

    def _stretch(self, part: Part, reach: int | None, around_us: int) -> tuple[int, int]:
        """The offsets within ``reach`` of a time.

        Of small partitions all; in the last step also of medium ones.
        """
        first, last = self.ends(part)
        if last - first <= _SMALL or (reach is None and last - first <= _WHOLE):
            return first, last
        widest = reach or _REACHES[-1]
        since, until = max(around_us - widest, 0), around_us + widest
        return self.offset_at(part, since), self.offset_at(part, until)


def _runs(numbers: Sequence[int]) -> Iterator[range]:
    """Sorted numbers as ranges without gaps."""
    start = 0
    for place in range(1, len(numbers) + 1):
        if place == len(numbers) or numbers[place] != numbers[place - 1] + 1:
            yield range(numbers[start], numbers[place - 1] + 1)
            start = place


def _alone(block: Block) -> Block:
    """``block`` over a copy of its own bytes: so that a few records do not keep a whole fetch in memory."""
    spans = np.concatenate((block.keys, block.values, block.headers))
    present = spans[spans[:, 1] > 0]
    low = int(present[:, 0].min()) if len(present) else 0
    high = int(present.sum(axis=1).max()) if len(present) else 0
    moved = np.array([low, 0])
    return replace(
        block,
        data=block.data[low:high].copy(),
        keys=block.keys - moved,
        values=block.values - moved,
        headers=block.headers - moved,
    )


def opened(message: Message) -> Found | None:
    """``message`` as an event; None for a watermark and for an undecodable record."""
    schema = topic(message.topic).schema
    if schema is None or message.value is None:
        return None
    try:
        return Found(message, decode(schema, message.value))
    except DeadLetter:
        return None


def holding(block: Block, needles: Sequence[bytes], spans: Ints | None = None) -> Iterator[Found]:
    """The events of ``block`` whose value contains one of ``needles``, in log order.

    ``spans``: other parts of the records to look in.
    """
    data = block.data.tobytes()
    starts, lengths = (block.values if spans is None else spans).T
    places: set[int] = set()
    for needle in needles:
        at = data.find(needle)
        while at >= 0:
            inside = np.flatnonzero((starts <= at) & (at + len(needle) <= starts + lengths))
            places.update(inside.tolist())
            at = data.find(needle, at + 1)
    for place in sorted(places):
        found = opened(block.message(place))
        if found is not None:
            yield found
