"""Records that can never be processed, in the form that ``dead_letters`` stores them.

Key = source topic, partition = source partition (modulo), value and headers = the original ones, null where
those were null. Kafka Connect's ``__connect.errors.*`` headers are added, so that its tools can read them,
and two of our own: the reason code and the original key.
"""

from collections import Counter

from tapedeck.schemas.errors import TapeError
from tapedeck.streams.protocol import Message
from tapedeck.streams.wire import Headers, Wire
from tapedeck.topics.catalogue import Layout

TOPIC = "dead_letters"
ERRORS = "__connect.errors."
SOURCE_TOPIC = f"{ERRORS}topic"
SOURCE_PARTITION = f"{ERRORS}partition"
SOURCE_OFFSET = f"{ERRORS}offset"
STAGE = f"{ERRORS}connector.name"
ERROR_CLASS = f"{ERRORS}exception.class.name"
ERROR_MESSAGE = f"{ERRORS}exception.message"
REASON = "tape-error-reason"
SOURCE_KEY = "tape-error-key"
BODY_CONFLICT = "BODY_CONFLICT"
"""The reason of a red alarm: one event_id came again with a different body."""
REASONS = frozenset(
    (
        "BAD_ITEM", "BAD_PREFIX", "BAD_WATERMARK", BODY_CONFLICT, "MALFORMED", "NOT_ENCODABLE", "NOT_FINITE",
        "NOT_MAPPABLE", "NOT_STORABLE", "RETENTION", "SCORE_FAILED", "UNKNOWN_SCHEMA", "WRONG_SCHEMA",
    )
)  # fmt: skip
"""Why the processes that are no stage refuse a record; metrics count everything else as OTHER."""
OTHER = "OTHER"
_made: Counter[str] = Counter()
CONFLICT_CAUSES = (
    "its source gave one event twice with other values (two rows of one symbol and minute in a tape file), or"
    " the stage that wrote it is not deterministic"
)
"""The possible reasons of a red alarm."""
LEFT_OUT = "tape-error-value-left-out"
HEADERS_LEFT_OUT = "tape-error-headers-left-out"
# A dead letter must fit where its source did: texts are cut, and a value that leaves no room for headers
# is left out. It stays in the source topic.
MESSAGE_CHARS = 1_000
KEY_BYTES = 1_000
VALUE_BYTES = 900_000
HEADER_BYTES = 50_000


def error_headers(message: Message, stage: str, error: Exception) -> Headers:
    """The headers that say which record ``stage`` refused, and why."""
    headers: Headers = [
        (SOURCE_TOPIC, message.topic.encode()),
        (SOURCE_PARTITION, str(message.partition).encode()),
        (SOURCE_OFFSET, str(message.offset).encode()),
        (STAGE, stage.encode()),
        (ERROR_CLASS, type(error).__name__.encode()),
        (ERROR_MESSAGE, brief(error).encode()),
        (REASON, reason_of(error).encode()),
    ]
    if message.key is not None:
        headers.append((SOURCE_KEY, message.key[:KEY_BYTES]))
    return headers


def reason_of(error: Exception) -> str:
    """The reason code of an error; the name of its class for one that has none."""
    return error.reason if isinstance(error, TapeError) else type(error).__name__


def made() -> dict[str, int]:
    """How many dead letters this process has made since its start, by reason: one of REASONS, or OTHER."""
    return dict(_made.copy())


def brief(error: Exception) -> str:
    """The error's text, cut to ``MESSAGE_CHARS``: it may quote the record."""
    text = str(error)
    return text if len(text) <= MESSAGE_CHARS else f"{text[:MESSAGE_CHARS]}... ({len(text)} characters)"


def dead_letter(layout: Layout, message: Message, stage: str, error: Exception) -> Wire:
    """The record for ``dead_letters``: the original bytes and headers under the error's headers."""
    headers = error_headers(message, stage, error)
    reason = reason_of(error)
    _made[reason if reason in REASONS else OTHER] += 1
    weight = sum(len(name) + len(content or b"") for name, content in message.headers)
    if weight <= HEADER_BYTES:
        headers = [*message.headers, *headers]
    else:
        headers.append((HEADERS_LEFT_OUT, str(weight).encode()))
    value = message.value
    if value is not None and len(value) > VALUE_BYTES:
        headers.append((LEFT_OUT, str(len(value)).encode()))
        value = None
    return Wire(
        topic=TOPIC,
        partition=message.partition % layout.partitions(TOPIC),
        key=message.topic.encode(),
        value=value,
        timestamp=message.timestamp,
        headers=headers,
    )
