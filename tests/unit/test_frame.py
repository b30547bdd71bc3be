"""How a table value is framed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.frame import VERSION, Value, pack, precedence, unpack

CURSORS = st.dictionaries(
    st.tuples(st.integers(0, 255), st.integers(0, 65_535)), st.integers(-(2**63), 2**63 - 1), max_size=20
)
EPOCHS = st.integers(0, 2**32 - 1)


@given(EPOCHS, CURSORS, st.binary(max_size=200))
def test_a_value_comes_back_as_it_was(epoch: int, cursors: dict[tuple[int, int], int], body: bytes) -> None:
    assert unpack(pack(epoch, cursors, body)) == Value(epoch, cursors, body)


@given(CURSORS, st.randoms(use_true_random=False))
def test_equal_values_are_equal_bytes_whatever_the_order_of_cursors(
    cursors: dict[tuple[int, int], int],
    rng,  # type: ignore[no-untyped-def]
) -> None:
    shuffled = list(cursors.items())
    rng.shuffle(shuffled)
    assert pack(1, dict(shuffled), b"x") == pack(1, cursors, b"x")


def test_the_bytes_are_these_for_ever() -> None:
    framed = pack(3, {(1, 2): 5, (0, 1): -1}, b"body")
    assert framed.hex() == (
        "5444" "01" "03000000" "02" "00" "0100" "ffffffffffffffff" "01" "0200" "0500000000000000" "626f6479"
    )  # fmt: skip


GOOD = pack(1, {(0, 0): 7}, b"body")


@pytest.mark.parametrize(
    "data",
    [b"", b"TD", GOOD[:7], b"XX" + GOOD[2:], GOOD[:2] + bytes([VERSION + 1]) + GOOD[3:], GOOD[:12]],
    ids=["empty", "magic only", "half a head", "another magic", "another version", "half a cursor"],
)
def test_bytes_that_are_no_value_are_fatal(data: bytes) -> None:
    with pytest.raises(Fatal, match="not in this version's format"):
        unpack(data)


def test_the_higher_epoch_wins_and_then_the_further_cursors() -> None:
    old, further = pack(1, {(0, 0): 900}, b""), pack(1, {(0, 0): 500, (1, 0): 401}, b"")
    rebuilt = pack(2, {(0, 0): 3}, b"")
    assert precedence(old) < precedence(further) < precedence(rebuilt)
    assert precedence(pack(1, {(0, 0): 900}, b"other body")) == precedence(old)
