"""A dead letter fits where its source did, whatever was in it."""

import re

import pytest

from tapedeck.connectors.dead_letters import (
    HEADERS_LEFT_OUT,
    LEFT_OUT,
    MESSAGE_CHARS,
    REASON,
    REASONS,
    SOURCE_KEY,
    dead_letter,
)
from tapedeck.connectors.news.items import IngestReason
from tapedeck.connectors.sentiment.scorer import SentimentReason
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.protocol import Message
from tapedeck.streams.wire import Wire
from tapedeck.topics.catalogue import Layout
from tests.unit.house.test_house_rules import texts

BROKER_LIMIT = 1_000_000


Pairs = tuple[tuple[str, bytes | None], ...]


def letter(value: bytes | None, headers: Pairs = (), key: bytes = b"K") -> Wire:
    error = DeadLetter("x" * 5_000, value=value, reason="MALFORMED")
    return dead_letter(Layout(), Message("bars", 6, 41, 1_000, key, value, headers), "features", error)


def size(wire: Wire) -> int:
    headers = sum(len(name) + len(content or b"") for name, content in wire.headers)
    return len(wire.key or b"") + len(wire.value or b"") + headers


def test_the_original_bytes_and_headers_are_kept_under_the_reason() -> None:
    wire = letter(b"what came", (("ce_id", b"1"), ("x", b"y")))
    assert (wire.topic, wire.key, wire.partition, wire.value) == ("dead_letters", b"bars", 2, b"what came")
    assert wire.headers[:2] == [("ce_id", b"1"), ("x", b"y")]
    told = dict(wire.headers)
    assert (told[REASON], told[SOURCE_KEY]) == (b"MALFORMED", b"K")


@pytest.mark.parametrize("value", [b"v" * 990_000, b"v" * 900_000, None], ids=["large", "fits", "none"])
@pytest.mark.parametrize("header", [b"h" * 980_000, b"h" * 49_000], ids=["large", "fits"])
def test_a_letter_fits_into_a_record_and_says_what_was_left_out(value: bytes | None, header: bytes) -> None:
    wire = letter(value, (("big", header),), key=b"k" * 30_000)
    assert size(wire) < BROKER_LIMIT
    told = dict(wire.headers)
    too_large = value is not None and len(value) > 900_000
    assert (LEFT_OUT in told) is too_large
    assert wire.value == (None if too_large else value)
    assert (HEADERS_LEFT_OUT in told) is (len(header) > 50_000)
    assert max(len(content or b"") for content in told.values()) <= max(49_000, MESSAGE_CHARS + 100)


def test_every_reason_that_an_edge_gives_is_in_the_closed_set() -> None:
    """Literals and enums of the code: a new reason that a metric would call OTHER fails here."""
    given: set[str] = {IngestReason.BAD_ITEM, SentimentReason.SCORE_FAILED}
    for pattern in ("schemas/*.py", "schemas/columns/*.py", "connectors/*/*.py"):
        for _, text in texts(pattern):
            given.update(re.findall(r"DeadLetter\((?:[^()]|\([^()]*\))*?reason=\"([A-Z_]+)\"", text))
    assert len(given) > 5 and given <= REASONS, given - REASONS
