"""The in-band watermark: key ``~watermark``, null value, the minute's left edge in a header.

Other Kafka tools see a tombstone and skip it.
"""

import re
from collections.abc import Sequence

from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.contract import Message
from tapedeck.topics.catalogue import WATERMARK_KEY

LABEL_HEADER = "tape-watermark"
_LABEL = re.compile(rb"-?[0-9]{1,18}")


def headers_for(label: int) -> list[tuple[str, bytes | None]]:
    """The headers of watermark(label); ``label`` in UTC microseconds, a whole minute."""
    return [(LABEL_HEADER, str(label).encode())]


def label_of(
    key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]
) -> int | None:
    """The label where the record is a watermark, else None. Raises DeadLetter for one without a label.

    Of several headers with the label's name the first one counts.
    """
    if key != WATERMARK_KEY or value is not None:
        return None
    content = next((content for name, content in headers or () if name == LABEL_HEADER), None)
    if content is not None and _LABEL.fullmatch(content):
        return int(content)
    raise DeadLetter("a watermark has no readable label", value=list(headers or ()), reason="BAD_WATERMARK")


def readable_label(message: Message) -> int | None:
    """The label of a watermark; None for a record, and for a watermark whose label cannot be read."""
    try:
        return label_of(message.key, message.value, message.headers)
    except DeadLetter:
        return None
