"""A window of the recorded source topics, minute by minute, after the history that warms it up.

A record belongs to the minute that ends with the next watermark of its partition. Everything is as it was in
the log, partition by partition: revisions, late and repeated bars, unreadable records.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import NamedTuple

from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter, Fatal
from tapedeck.streams.blocks import Source
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.sessions import NEW_YORK, Calendar, iso_date, iso_utc, micros
from tapedeck.streams.watermarks import readable_label
from tapedeck.streams.wire import watermark_wires
from tapedeck.topics.catalogue import WATERMARK_KEY

SOURCES = ("bars", "quotes", "universe")
TEXTS = ("news", "posts", "sentiment")
"""What the pipeline reads of news. Scores are not made again, so they are sources too."""
INBOX = "account_inbox"
_QUOTES, _UNIVERSE = "quotes", "universe"
_OF_ALL = frozenset({"universe", "news", "posts"})
_LOOK_BACK = 500
_WIDER = 8


class Slice(NamedTuple):
    """What the log gained in the minute that starts at ``label``: each partition's records in log order, its
    watermark last. A partition that skips the minute has no watermark."""

    label: int
    messages: tuple[Message, ...]


class Kept(NamedTuple):
    """The first minute that every partition has in full, and the last that every one has ended."""

    first: int
    last: int


@dataclass(frozen=True)
class Window:
    """[start, end) in UTC microseconds, whole minutes; records from ``history`` on warm it up."""

    history: int
    start: int
    end: int

    def __str__(self) -> str:
        return f"{iso_utc(self.start)} to {iso_utc(self.end)}"


def kept(source: Source, names: tuple[str, ...] = SOURCES) -> Kept:
    """Which minutes of the watermarked ``names`` are kept. Raises Fatal if a partition has none."""
    first, last = [], []
    for part, (low, end) in source.ends(names).items():
        opening = next(_labels(source, part, low, end), None)
        if opening is None:
            raise Fatal(
                "nothing is recorded: the partition has no watermark",
                value=f"{source.layout.wire_name(part[0])}/{part[1]}",
                remedy="name another prefix, or play a tape first",
            )
        first.append(opening + MINUTE_US)
        last.append(_last_label(source, part, low, end))
    return Kept(max(first), min(last))


def marked(source: Source) -> tuple[str, ...]:
    """The topics of a window: ``SOURCES``, and of ``TEXTS`` those that have watermarks."""
    return (*(name for name in TEXTS if _is_marked(source, name)), *SOURCES)


def _is_marked(source: Source, name: str) -> bool:
    return all(
        next(_labels(source, part, low, end), None) is not None
        for part, (low, end) in source.ends((name,)).items()
    )


def window_of(source: Source, start: int, end: int, *, sessions_before: int, calendar: Calendar) -> Window:
    """The window [start, end), widened to whole minutes, with history from that many sessions before it.

    Raises Fatal for a window that is empty or not kept, saying what is; CalendarUnknown beyond the calendar.
    """
    start, end = start - start % MINUTE_US, end + -end % MINUTE_US
    if start >= end:
        asked = f"{iso_utc(start)} to {iso_utc(end)}"
        raise Fatal("the window ends before it starts", value=asked, remedy="name a later --to")
    found = kept(source)
    there = f"it holds {iso_utc(found.first)} to {iso_utc(found.last + MINUTE_US)}: name a window within"
    if start < found.first:
        raise Fatal("the log does not reach back to --from", value=iso_utc(start), remedy=there)
    if end > found.last + MINUTE_US:
        raise Fatal("the log does not reach to --to", value=iso_utc(end), remedy=there)
    return Window(_history(start, sessions_before, calendar), start, end)


def _history(start: int, sessions_before: int, calendar: Calendar) -> int:
    """Midnight in New York of the session that is that many sessions before the window's day."""
    day = calendar.session_date(start)
    for _ in range(sessions_before):
        before = calendar.previous(day)
        day = before.date if before is not None else day
    there = iso_date(day)
    return micros(datetime(there.year, there.month, there.day, tzinfo=NEW_YORK))


def slices(source: Source, names: tuple[str, ...], start: int, end: int) -> Iterator[Slice]:
    """The minutes of ``names`` with labels in [start, end), in order. Little before ``start`` is read: only
    what the broker's time index does not exclude."""
    groups = {
        part: _groups(source, part, (max(low, source.offset_at(part, start)), end))
        for part, (low, end) in source.ends(names).items()
    }
    heads = {part: next(found, None) for part, found in groups.items()}
    while True:
        label = min((head[0] for head in heads.values() if head is not None), default=end)
        if label >= end:
            return
        messages: list[Message] = []
        for part, head in heads.items():
            if head is not None and head[0] == label:
                messages += head[1]
                heads[part] = next(groups[part], None)
        if label >= start:
            yield Slice(label, tuple(messages))


def stretch(source: Source, window: Window, symbols: frozenset[str] | None = None) -> Iterator[Slice]:
    """Everything that plays ``window``: its opening, the history, its minutes.

    The opening is how the writer of a new topic begins: a watermark in every partition, and the universe that
    applied then. Quotes start with the window; ``symbols`` limits bars, quotes and scores to those.
    """
    names = marked(source)
    yield _opening(source, names, window)
    for each in slices(source, names, window.history, window.end):
        wanted = (m for m in each.messages if _is_wanted(m, each.label >= window.start, symbols))
        yield Slice(each.label, tuple(wanted))


def inbox(source: Source, account_id: str, end: int) -> Iterator[Message]:
    """Everything that reached the account before ``end``: a fold must start at the beginning."""
    home = source.layout.partition(INBOX, {"account_id": account_id})
    part = (INBOX, home)
    first, _ = source.ends([INBOX])[part]
    for block in source.stream(part, first, source.offset_at(part, end)):
        for message in block.messages():
            if message.key == account_id.encode():
                yield message


def _opening(source: Source, names: tuple[str, ...], window: Window) -> Slice:
    label = window.history - MINUTE_US
    found = [
        Message(wire.topic, wire.partition, 0, wire.timestamp, wire.key, wire.value, tuple(wire.headers))
        for name in names
        for wire in watermark_wires(name, label, range(source.layout.partitions(name)))
    ]
    part = (_UNIVERSE, 0)
    in_force: dict[bytes | None, Message] = {}
    for ended, messages in _groups(source, part, source.ends([_UNIVERSE])[part]):
        if ended >= window.history:
            break
        in_force |= {m.key: m for m in messages if m.key != WATERMARK_KEY}
    return Slice(label, (*found, *in_force.values()))


def _is_wanted(message: Message, in_window: bool, symbols: frozenset[str] | None) -> bool:
    if message.key == WATERMARK_KEY:
        return True
    if message.topic == _QUOTES and not in_window:
        return False
    if symbols is None or message.topic in _OF_ALL:
        return True
    key = (message.key or b"").decode(errors="replace")
    return key in symbols or (message.topic == _QUOTES and _underlying(message) in symbols)


def _underlying(message: Message) -> str:
    try:
        return str(decode(message.topic, message.value)["underlying"])
    except DeadLetter:
        return ""


def _groups(source: Source, part: Part, offsets: tuple[int, int]) -> Iterator[tuple[int, list[Message]]]:
    """(label, records up to that watermark) of one partition; records after the last one are left out."""
    messages = chain.from_iterable(block.messages() for block in source.stream(part, *offsets))
    waiting: list[Message] = []
    last: int | None = None
    for message in messages:
        waiting.append(message)
        label = readable_label(message)
        if label is not None and (last is None or label > last):
            yield label, waiting
            last, waiting = label, []


def _labels(source: Source, part: Part, start: int, end: int) -> Iterator[int]:
    for block in source.stream(part, start, end):
        for message in block.messages():
            label = readable_label(message)
            if label is not None:
                yield label


def _last_label(source: Source, part: Part, low: int, end: int) -> int:
    """The highest label among the last records; looks further back if they have none."""
    back = _LOOK_BACK
    while True:
        start = max(low, end - back)
        label = max(_labels(source, part, start, end), default=None)
        if label is not None:
            return label
        back *= _WIDER
