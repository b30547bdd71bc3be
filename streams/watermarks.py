"""What a partition holds besides records: the watermark that ends a minute, the opening of the next one.

Both have the key ``~watermark`` and a null value, so code that skips one skips the other, and other Kafka
tools see a tombstone. A watermark carries the minute's left edge in ``tape-watermark``.

An **opening** follows a watermark where inputs of the pipeline may be absent. It carries the label of that
watermark in ``tape-opens``, and names each input that is absent in the next minute in its own
``tape-absent`` header. An opening without names says that every input is there. The source's writer
writes it in every partition, after watermark(m) and before any record of the next minute. Every stage
forwards it like a watermark, with all its names. The log alone determines which joins of a minute are read,
so live, rebuild and a simulation agree:

- The opening of minute m in a partition is the first opening(m) in it while m is its last watermark. Records
  may come between the two: what a writer that died wrote again. A partition whose next watermark comes
  first has no opening, and names nothing.
- An optional input is absent in m if the opening(m) of any of the trigger's partitions names it. It is not
  read then, whatever of it has arrived. The next minute that does not name it reads on to its own label.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.protocol import Message
from tapedeck.topics.catalogue import WATERMARK_KEY

LABEL_HEADER = "tape-watermark"
OPENS_HEADER = "tape-opens"
ABSENT_HEADER = "tape-absent"
PUNCTUATION_HEADERS = frozenset({LABEL_HEADER, OPENS_HEADER, ABSENT_HEADER})
"""The headers that define a watermark or an opening; other headers depend on who wrote it."""
_LABEL = re.compile(rb"-?[0-9]{1,18}")
_NAME = re.compile(rb"[A-Za-z0-9._-]{1,249}")

_Headers = list[tuple[str, bytes | None]]


class Watermark(NamedTuple):
    """The end of minute ``label``, UTC microseconds."""

    label: int


class Opening(NamedTuple):
    """What follows watermark(``label``): the catalogue names of the inputs that are ``absent``."""

    label: int
    absent: tuple[str, ...]


def headers_for(label: int) -> _Headers:
    """The headers of watermark(label); ``label`` in UTC microseconds, a whole minute."""
    return [(LABEL_HEADER, str(label).encode())]


def opening_headers(label: int, absent: Iterable[str]) -> _Headers:
    """The headers of opening(label); the names in order, so that equal openings are equal bytes."""
    names = [(ABSENT_HEADER, name.encode()) for name in sorted(set(absent))]
    return [(OPENS_HEADER, str(label).encode()), *names]


def punctuation_of(
    key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]
) -> Watermark | Opening | None:
    """The watermark or opening that the record is; None for a record of the topic's own.

    If several headers have the label's name, the first counts. A record with both kinds is a watermark.
    Raises DeadLetter for one without a readable label, and for an opening with an invalid name.
    """
    if key != WATERMARK_KEY or value is not None:
        return None
    said = list(headers or ())
    first = {name: content for name, content in reversed(said)}
    if LABEL_HEADER not in first and OPENS_HEADER in first:
        names = [content or b"" for name, content in said if name == ABSENT_HEADER]
        if not all(map(_NAME.fullmatch, names)):
            raise DeadLetter("an opening names an input that is none", value=said, reason="BAD_WATERMARK")
        return Opening(_label(first[OPENS_HEADER], said), tuple(name.decode() for name in names))
    return Watermark(_label(first.get(LABEL_HEADER), said))


def _label(content: bytes | None, said: _Headers) -> int:
    if content is not None and _LABEL.fullmatch(content):
        return int(content)
    raise DeadLetter("a watermark has no readable label", value=said, reason="BAD_WATERMARK")


def label_of(
    key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]
) -> int | None:
    """The label where the record is a watermark; None for a record and for an opening.

    Raises DeadLetter as ``punctuation_of`` does.
    """
    found = punctuation_of(key, value, headers)
    return found.label if isinstance(found, Watermark) else None


def readable_punctuation(message: Message) -> Watermark | Opening | None:
    """The watermark or opening; None for a record, and for what cannot be read as either."""
    try:
        return punctuation_of(message.key, message.value, message.headers)
    except DeadLetter:
        return None


def readable_label(message: Message) -> int | None:
    """The label of a watermark; None for anything else, and for a watermark whose label cannot be read."""
    found = readable_punctuation(message)
    return found.label if isinstance(found, Watermark) else None
