"""A window of the recorded source topics, minute by minute, after the history that warms it up.

A record belongs to the minute that ends with the next watermark of its partition, and so does the opening
that follows. Everything is as it was in the log, partition by partition: revisions, late and repeated bars,
unreadable records.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import NamedTuple

from tapedeck.connectors.dispatch.inbox import INBOX
from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter, Fatal
from tapedeck.streams.blocks import Source
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.sessions import NEW_YORK, Calendar, iso_date, iso_utc, micros
from tapedeck.streams.watermarks import (
    Opening,
    Watermark,
    opening_headers,
    readable_label,
    readable_punctuation,
)
from tapedeck.streams.wire import watermark_wires
from tapedeck.topics.catalogue import WATERMARK_KEY, Layout

SOURCES = ("bars", "quotes", "universe")
TEXTS = ("news", "posts", "sentiment")
"""What the pipeline reads of news. Scores are not made again, so they are sources too."""
RECORDED = (*TEXTS, *SOURCES)
_QUOTES, _UNIVERSE = "quotes", "universe"
_OF_ALL = frozenset({"universe", "news", "posts"})
_LOOK_BACK = 500
_WIDER = 8


class Slice(NamedTuple):
    """What the log gained in the minute that starts at ``label``: each partition's records in log order, then
    its watermark, and the next minute's opening. A partition that skips the minute has no watermark."""

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
        opening = _first_label(source, part, low, end)
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
    return all(_first_label(source, part, *ends) is not None for part, ends in source.ends((name,)).items())


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


def stretch(
    source: Source, window: Window, symbols: frozenset[str] | None = None, *, opened: bool = False
) -> Iterator[Slice]:
    """Everything that plays ``window``: its opening, the history, its minutes.

    The opening is how the writer of a new topic begins: a watermark in every partition, and the universe that
    applied then. Quotes start with the window; ``symbols`` limits bars, quotes and scores to those. If
    ``opened``, a pipeline with optional inputs reads it: a minute before the first of a source of ``TEXTS``
    gets its watermark, and one without an opening gets one that names nothing, so that nothing waits.
    """
    names = RECORDED if opened else marked(source)
    yield _opening(source, names, window)
    begins = {part: _first_label(source, part, *ends) for part, ends in source.ends(TEXTS).items()}
    for each in slices(source, names, window.history, window.end):
        found = [m for m in each.messages if _is_wanted(m, each.label >= window.start, symbols)]
        if opened:
            before = (part for part, first in begins.items() if first is None or each.label < first)
            found = [*found, *(_mark(*part, each.label) for part in before), *_unopened(each)]
        yield Slice(each.label, tuple(found))


def with_texts(messages: Sequence[Message], layout: Layout) -> list[Message]:
    """A tape's ``messages``, and for each source of ``TEXTS`` that it has not, a watermark a minute.

    A tape that was recorded without them says that there were none. Its last minute is followed by an
    opening, as each minute is that a pipeline with optional inputs reads.
    """
    without = [name for name in TEXTS if not any(m.topic == name for m in messages)]
    labels = sorted({label for label in map(readable_label, messages) if label is not None})
    return [
        *messages,
        *(
            _mark(name, partition, label)._replace(offset=offset)
            for name in without
            for partition in range(layout.partitions(name))
            for offset, label in enumerate(labels)
        ),
        *(_closing(messages) if without else ()),
    ]


def _closing(messages: Sequence[Message]) -> Iterator[Message]:
    """An opening behind the last watermark of each partition that ends with one."""
    last = {(message.topic, message.partition): message for message in messages if message.topic in SOURCES}
    for part, message in last.items():
        if (label := readable_label(message)) is not None:
            yield _open(*part, label)._replace(offset=message.offset + 1)


def _unopened(each: Slice) -> Iterator[Message]:
    """Openings where a partition of the market's sources has none after its watermark."""
    found = {(m.topic, m.partition): readable_punctuation(m) for m in each.messages if m.topic in SOURCES}
    for part, last in found.items():
        if isinstance(last, Watermark):
            yield _open(*part, last.label)


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
    layout = source.layout
    found = [_mark(name, part, label) for name in names for part in range(layout.partitions(name))]
    part = (_UNIVERSE, 0)
    in_force: dict[bytes | None, Message] = {}
    for ended, messages in _groups(source, part, source.ends([_UNIVERSE])[part]):
        if ended >= window.history:
            break
        in_force |= {m.key: m for m in messages if m.key != WATERMARK_KEY}
    return Slice(label, (*found, *in_force.values()))


def _mark(name: str, partition: int, label: int) -> Message:
    (wire,) = watermark_wires(name, label, (partition,))
    return Message(name, partition, 0, wire.timestamp, wire.key, wire.value, tuple(wire.headers))


def _open(name: str, partition: int, label: int) -> Message:
    return _mark(name, partition, label)._replace(headers=tuple(opening_headers(label, ())))


def _first_label(source: Source, part: Part, low: int, end: int) -> int | None:
    return next(_labels(source, part, low, end), None)


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
    """(label, records up to that watermark and its opening) of one partition; what follows the last is left
    out."""
    messages = chain.from_iterable(block.messages() for block in source.stream(part, *offsets))
    waiting: list[Message] = []
    last: tuple[int, list[Message]] | None = None
    is_open = True
    for message in messages:
        waiting.append(message)
        found = readable_punctuation(message)
        if isinstance(found, Watermark) and (last is None or found.label > last[0]):
            if last is not None:
                yield last
            last, waiting, is_open = (found.label, waiting), [], False
        elif isinstance(found, Opening) and last is not None and found.label == last[0] and not is_open:
            last[1].extend(waiting)
            waiting, is_open = [], True
    if last is not None:
        yield last


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
