"""A header without a value, a null key and a name that comes twice pass every reader, unchanged."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tapedeck.agents.arrivals import as_message
from tapedeck.connectors import dead_letters
from tapedeck.connectors.kafka.scan import to_message
from tapedeck.connectors.postgres.mapping import maps
from tapedeck.connectors.recorded.format import from_avro, to_avro
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.blocks import Block, pack_headers, unpack_headers
from tapedeck.streams.columnar.arrays import UNREADABLE, labels_of, readonly
from tapedeck.streams.columnar.records import _id_in, _trace_of
from tapedeck.streams.protocol import Message
from tapedeck.streams.watermarks import LABEL_HEADER, label_of, readable_label
from tapedeck.streams.wire import _TRACE_ID, TRACE, event_id_in
from tapedeck.tape.cli.tail import line
from tapedeck.tape.explain.lookup import Found
from tapedeck.tape.notebook.frames import of_messages
from tapedeck.tape.recording import _refused
from tapedeck.topics.catalogue import WATERMARK_KEY, Layout

HEADERS = (("x-retry", None), ("x", b"1"), ("x", None), (TRACE, None), (dead_letters.REASON, None))
MESSAGE = Message("bars", 1, 7, 1_000, None, b"value", HEADERS)
LAYOUT = Layout()


def by_faust() -> Any:
    record = SimpleNamespace(
        topic="bars", partition=1, offset=7, timestamp=1.0, key=None, value=b"value", headers=HEADERS
    )
    return as_message(SimpleNamespace(message=record), LAYOUT)  # type: ignore[arg-type]


def by_librdkafka() -> Any:
    record = SimpleNamespace(
        topic=lambda: "bars", partition=lambda: 1, offset=lambda: 7, timestamp=lambda: (1, 1_000),
        key=lambda: None, value=lambda: b"value", headers=lambda: list(HEADERS),
    )  # fmt: skip
    return to_message(record, LAYOUT)  # type: ignore[arg-type]


READERS: dict[str, Callable[[], Any]] = {
    "worker": by_faust,
    "reading": by_librdkafka,
    "columns": lambda: Block.of([MESSAGE]).message(0),
    "recorded window": lambda: from_avro(to_avro([MESSAGE]))[0]._replace(offset=7),
}


@pytest.mark.parametrize("name", READERS)
def test_every_reader_hands_null_on_as_null(name: str) -> None:
    assert READERS[name]() == MESSAGE


def test_a_dead_letter_keeps_the_null_header() -> None:
    error = DeadLetter("no", value=None, reason="BAD_BAR")
    wire = dead_letters.dead_letter(LAYOUT, MESSAGE, "features", error)
    assert tuple(wire.headers[: len(HEADERS)]) == HEADERS
    assert dict(wire.headers)[dead_letters.REASON] == b"BAD_BAR"
    assert dead_letters.SOURCE_KEY not in dict(wire.headers)


def test_what_shows_a_record_shows_null_as_null() -> None:
    shown = json.loads(line(None, MESSAGE))["headers"]
    assert shown == {"x-retry": None, "x": ["1", None], TRACE: None, dead_letters.REASON: None}
    raw = of_messages([MESSAGE])["headers"][0].to_list()
    assert [(each["name"], each["content"]) for each in raw] == list(HEADERS)


def test_what_reads_one_header_takes_null_for_an_empty_one() -> None:
    assert Found(MESSAGE, {}).header(dead_letters.REASON) == ""
    assert _refused(MESSAGE).reason == ""
    row = maps((dead_letters.TOPIC,))[dead_letters.TOPIC].row(MESSAGE._replace(topic=dead_letters.TOPIC))
    assert MESSAGE.value in row


@pytest.mark.parametrize("headers", [((LABEL_HEADER, None),), ((LABEL_HEADER, None), (LABEL_HEADER, b"60"))])
def test_a_watermark_whose_label_is_null_is_a_dead_letter(
    headers: tuple[tuple[str, bytes | None], ...],
) -> None:
    message = Message("bars", 0, 0, 0, WATERMARK_KEY, None, headers)
    with pytest.raises(DeadLetter) as refused:
        label_of(message.key, message.value, message.headers)
    assert refused.value.reason == "BAD_WATERMARK"
    assert readable_label(message) is None
    assert labels_of(Block.of([message])).tolist() == [UNREADABLE]


some_headers = st.lists(st.tuples(st.text(max_size=20), st.none() | st.binary(max_size=200)), max_size=100)


@given(some_headers)
def test_headers_come_back_as_they_were_packed(headers: list[tuple[str, bytes | None]]) -> None:
    assert unpack_headers(pack_headers(headers)) == tuple(headers)


@given(st.lists(st.tuples(st.none() | st.binary(), st.none() | st.binary(), some_headers), min_size=1))
def test_a_block_gives_back_its_messages(rows: list[tuple[Any, Any, Any]]) -> None:
    messages = [Message("bars", 2, at, at, k, v, tuple(h)) for at, (k, v, h) in enumerate(rows)]
    assert list(Block.of(messages).messages()) == messages


IDS = st.sampled_from([b"00-%b-%b-01" % (b"1" * 32, b"2" * 16), b"ff-%b-%b-" % (b"a" * 32, b"0" * 16)])
traces = IDS | IDS.map(lambda known: known + b"x" * 80) | st.none() | st.binary(max_size=60)


@given(st.lists(st.tuples(st.sampled_from([TRACE, "x"]), traces | st.just(TRACE.encode())), max_size=4))
def test_both_drivers_find_the_same_trace(headers: list[tuple[str, bytes | None]]) -> None:
    packed = np.frombuffer(pack_headers(headers), dtype=np.uint8)
    at = _trace_of(readonly(packed), 0, len(packed), np.frombuffer(TRACE.encode(), dtype=np.uint8))
    found = _TRACE_ID.match(next((c for name, c in headers if name == TRACE), None) or b"")
    assert (packed[at : at + 32].tobytes() if at >= 0 else None) == (found[1] if found else None)


starts = st.sampled_from([b"\0\0\0\0\1@", b"\0\0\0\0\1B", b"\0@"])
ids = st.text("0123456789abcdefAG", min_size=28, max_size=36).map(str.encode)


@given(st.none() | st.binary(max_size=60) | st.builds(bytes.__add__, starts, ids))
@example(b"\0\0\0\0\1@" + b"09af" * 8)
def test_both_drivers_find_the_same_event_id(value: bytes | None) -> None:
    data = np.frombuffer(value or b"", dtype=np.uint8)
    at = _id_in(readonly(data), 0, -1 if value is None else len(value))
    assert (data[at : at + 32].tobytes().decode() if at >= 0 else None) == event_id_in(value)
