"""How a table value is framed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.digests import of_state
from tapedeck.streams.frame import (
    OWN,
    VERSION,
    Value,
    body_of,
    logs_of,
    pack,
    precedence,
    unpack,
    without_logs,
)

CURSORS = st.dictionaries(
    st.tuples(st.integers(0, 255), st.integers(0, 65_535)), st.integers(-(2**63), 2**63 - 1), max_size=20
)
LOGS = st.dictionaries(st.integers(0, 255), st.binary(min_size=16, max_size=16), max_size=8)
EPOCHS = st.integers(0, 2**32 - 1)
ID = bytes(range(16))
FORMAT_1 = bytes.fromhex(
    "5444" "01" "03000000" "02" "00" "0100" "ffffffffffffffff" "01" "0200" "0500000000000000" "626f6479"
)  # fmt: skip


@given(EPOCHS, CURSORS, st.binary(max_size=200), LOGS)
def test_a_value_comes_back_as_it_was(
    epoch: int, cursors: dict[tuple[int, int], int], body: bytes, logs: dict[int, bytes]
) -> None:
    assert unpack(pack(epoch, cursors, body, logs)) == Value(epoch, cursors, body, logs)


@given(CURSORS, LOGS, st.randoms(use_true_random=False))
def test_equal_values_are_equal_bytes_whatever_the_order_of_cursors_and_logs(
    cursors: dict[tuple[int, int], int],
    logs: dict[int, bytes],
    rng,  # type: ignore[no-untyped-def]
) -> None:
    shuffled, ids = list(cursors.items()), list(logs.items())
    rng.shuffle(shuffled)
    rng.shuffle(ids)
    assert pack(1, dict(shuffled), b"x", dict(ids)) == pack(1, cursors, b"x", logs)


def test_the_bytes_are_these_for_ever() -> None:
    framed = pack(3, {(1, 2): 5, (0, 1): -1}, b"body", {1: ID})
    assert framed.hex() == (
        "5444" "02" "03000000" "02" "00" "0100" "ffffffffffffffff" "01" "0200" "0500000000000000"
        "01" "01" "000102030405060708090a0b0c0d0e0f" "626f6479"
    )  # fmt: skip


def test_a_value_of_format_1_is_read_and_does_not_say_which_topic_it_counts_in() -> None:
    assert unpack(FORMAT_1) == Value(3, {(1, 2): 5, (0, 1): -1}, b"body", {})
    assert precedence(FORMAT_1) == (3, 4)
    assert without_logs(pack(3, {(1, 2): 5, (0, 1): -1}, b"body", {1: ID})) == FORMAT_1


@given(EPOCHS, CURSORS, LOGS)
def test_the_topics_ids_change_neither_precedence_nor_digest(
    epoch: int, cursors: dict[tuple[int, int], int], logs: dict[int, bytes]
) -> None:
    without, beside = pack(epoch, cursors, b"body"), pack(epoch, cursors, b"body", logs)
    assert precedence(without) == precedence(beside)
    assert of_state({b"AMD": without}) == of_state({b"AMD": beside})


def test_a_value_keeps_the_ids_of_the_inputs_that_it_has_a_cursor_in() -> None:
    cursors = {(0, 1): 5, (2, 0): 7}
    assert logs_of(cursors, {0: ID, 1: ID}) == {0: ID}
    assert logs_of(cursors, {0: ID}, {0: b"-" * 16, 2: b"o" * 16}) == {0: ID, 2: b"o" * 16}
    assert logs_of({}, {OWN: ID}) == {OWN: ID}


GOOD = pack(1, {(0, 0): 7}, b"body", {0: ID})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"TD",
        GOOD[:7],
        b"XX" + GOOD[2:],
        GOOD[:2] + bytes([VERSION + 1]) + GOOD[3:],
        GOOD[:12],
        GOOD[:19],
        GOOD[:30],
    ],
    ids=[
        "empty",
        "magic only",
        "half a head",
        "another magic",
        "another version",
        "half a cursor",
        "no logs",
        "half a log",
    ],
)
def test_bytes_that_are_no_value_are_fatal(data: bytes) -> None:
    with pytest.raises(Fatal, match="not in this version's format"):
        unpack(data)


def test_the_higher_epoch_wins_and_then_the_further_cursors() -> None:
    old, further = pack(1, {(0, 0): 900}, b""), pack(1, {(0, 0): 500, (1, 0): 401}, b"")
    rebuilt = pack(2, {(0, 0): 3}, b"")
    assert precedence(old) < precedence(further) < precedence(rebuilt)
    assert precedence(pack(1, {(0, 0): 900}, b"other body")) == precedence(old)


@given(CURSORS, st.binary(max_size=40), LOGS)
def test_the_body_alone_is_what_a_whole_value_gives(
    cursors: dict[tuple[int, int], int], body: bytes, logs: dict[int, bytes]
) -> None:
    framed = pack(1, cursors, body, logs)
    assert body_of(framed) == body == body_of(without_logs(framed))
    for cut in range(len(framed) - len(body)):
        with pytest.raises(Fatal, match="not in this version's format"):
            body_of(framed[:cut])


@pytest.mark.parametrize("odd", [b"", b"XX" + FORMAT_1[2:], FORMAT_1[:2] + b"\x03" + FORMAT_1[3:]])
def test_the_body_of_what_is_no_value_is_refused(odd: bytes) -> None:
    with pytest.raises(Fatal, match="not in this version's format"):
        body_of(odd)
