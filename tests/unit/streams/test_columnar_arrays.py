"""The byte work of the columnar driver gives what the plain functions give."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.streams.blocks import Block
from tapedeck.streams.columnar.arrays import (
    RECORD,
    UNREADABLE,
    Interner,
    event_ids,
    hex_of,
    labels_of,
    raw_ids,
)
from tapedeck.streams.identity import event_id
from tapedeck.streams.protocol import Message
from tapedeck.streams.watermarks import LABEL_HEADER, readable_label
from tapedeck.topics.catalogue import WATERMARK_KEY

TEXTS = st.lists(st.none() | st.binary(max_size=6), min_size=1, max_size=30)
LABELS = st.integers(-(10**17), 10**17)


def spans_of(texts: list[bytes | None]) -> tuple[np.ndarray, np.ndarray]:
    data, spans = bytearray(), []
    for text in texts:
        spans.append((len(data), -1 if text is None else len(text)))
        data += text or b""
    return np.frombuffer(bytes(data) + b"\0", dtype=np.uint8), np.array(spans, dtype=np.int64)


@given(TEXTS, TEXTS)
def test_equal_texts_have_one_number_and_null_is_the_empty_text(
    one: list[bytes | None], two: list[bytes | None]
) -> None:
    known = Interner()
    for texts in (one, two):
        ids = known.ids_of(*spans_of(texts))
        assert [known.texts[number] for number in ids.tolist()] == [text or b"" for text in texts]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([WATERMARK_KEY, b"AMD", None]),
            st.none() | st.binary(max_size=3),
            LABELS.map(str) | st.text("0123_ +-", max_size=3) | st.text(max_size=3) | st.none(),
            st.sampled_from(["named", "other", "null first", "null last"]),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_labels_are_read_as_the_row_wise_reader_reads_them(rows: list[tuple[object, ...]]) -> None:
    messages, expected = [], []
    for offset, (key, value, label, named) in enumerate(rows):
        content = None if label is None else str(label).encode()
        headers = {
            "named": ((LABEL_HEADER, content),),
            "other": (("other", content),),
            "null first": ((LABEL_HEADER, None), (LABEL_HEADER, content)),
            "null last": (("other", None), (LABEL_HEADER, content), (LABEL_HEADER, None)),
        }[str(named)]
        messages.append(Message("bars", 0, offset, 0, key, value, headers))  # type: ignore[arg-type]
        if key != WATERMARK_KEY or value is not None:
            expected.append(RECORD)
            continue
        read = readable_label(messages[-1])
        expected.append(UNREADABLE if read is None else read)
    assert labels_of(Block.of(messages)).tolist() == expected


@given(
    st.lists(
        st.tuples(
            st.text("ABC.|", max_size=4), LABELS, st.integers(0, 9),
            st.lists(st.text("0a", max_size=3), max_size=2),
        ),
        min_size=1,
        max_size=20,
    )
)  # fmt: skip
def test_identities_are_those_of_the_stages(rows: list[tuple[str, int, int, list[str]]]) -> None:
    texts: list[bytes | None] = []
    for symbol, _, _, inputs in rows:
        padded: list[str | None] = [*inputs, None, None][:2]  # type: ignore[list-item]
        texts += [symbol.encode(), *(each.encode() if each is not None else None for each in padded)]
    data, spans = spans_of(texts)
    table = spans.reshape(-1, 3, 2)
    t = np.array([row[1] for row in rows], dtype=np.int64)
    revision = np.array([row[2] for row in rows], dtype=np.int64)
    ids = event_ids("features", "digest", data, table[:, :1], t, revision, table[:, 1:])
    expected = [
        event_id("features", (symbol, at), revision=number, config_digest="digest", inputs=inputs)
        for symbol, at, number, inputs in rows
    ]
    assert hex_of(ids).tobytes().decode() == "".join(expected)
    back, odd = raw_ids(*spans_of([each.encode() for each in expected]))
    assert (back == ids).all() and not len(odd)
