"""Text that numba functions write is what Python writes."""

import numpy as np
import pytest

from tapedeck.schemas.columns import text, varint
from tapedeck.schemas.columns.table import unpack_strings


def written(size, put, *args):
    out = np.full(size + 2, 0xEE, dtype=np.uint8)
    end = put(out, 1, *args)
    assert out[0] == 0xEE and set(out[end:].tolist()) == {0xEE}
    return out[1:end].tobytes()


@pytest.mark.parametrize(
    "value", [0, 7, -7, 10, 99, 100, 1_381_498_200_000_000, -(10**18), 2**63 - 1, -(2**63), -(2**63) + 1]
)
def test_an_integer_is_written_as_str_spells_it(value):
    assert written(20, text.put_decimal, value).decode() == str(value)


def test_bytes_are_written_as_hexadecimal():
    raw = np.arange(0, 256, 5, dtype=np.uint8)
    assert written(2 * len(raw), text.put_hex, raw).decode() == raw.tobytes().hex()
    assert written(32, text.put_hex, raw[:16]).decode() == raw[:16].tobytes().hex()


def test_a_part_of_bytes_is_copied():
    source = np.frombuffer(b"synthetic/1", dtype=np.uint8)
    assert written(3, text.put_bytes, source, 3, 3) == b"the"
    assert written(1, text.put_bytes, source, 3, 0) == b""


def test_the_parts_make_an_array_of_event_ids():
    raw, out = np.arange(16, dtype=np.uint8), np.empty(70, dtype=np.uint8)
    at = varint.put(out, 0, 2)
    for _ in range(2):
        at = text.put_hex(out, varint.put(out, at, 32), raw)
    at = varint.put(out, at, 0)
    assert unpack_strings(out[:at].tobytes()) == [raw.tobytes().hex()] * 2
