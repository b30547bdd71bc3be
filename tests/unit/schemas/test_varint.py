"""Varints: what is written is read again, the plain and the compiled form agree, and who refuses what."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tapedeck.schemas import varint as plain
from tapedeck.schemas.columns import varint as compiled

LOWEST, HIGHEST = -(2**63), 2**63 - 1
EDGES = [
    number
    for bits in range(64)
    for edge in (2**bits, -(2**bits))
    for number in (edge - 1, edge)
    if LOWEST <= number <= HIGHEST
]
"""Where one more bit, and so perhaps one more byte, is needed."""
NUMBERS = st.integers(LOWEST, HIGHEST) | st.sampled_from(EDGES)
BEFORE = b"\xff\x00"


def written(number):
    out = bytearray(BEFORE)
    plain.put(out, number)
    assert out.startswith(BEFORE)
    return bytes(out[len(BEFORE) :])


def array(data):
    return np.frombuffer(bytes(data), dtype=np.uint8)


def checked(data, stop=None):
    """(get_within, get_shortest) of ``data``, which ends at ``stop``; None where refused."""
    stop = len(data) if stop is None else stop
    answers = [get(array(data), 0, stop) for get in (compiled.get_within, compiled.get_shortest)]
    return tuple(None if at == -1 else (int(number), at) for number, at in answers)


@given(NUMBERS)
@example(LOWEST)
@example(HIGHEST)
def test_every_number_is_read_as_it_was_written_by_every_reader(number):
    data = written(number)
    there = (number, len(data))
    assert plain.get(BEFORE + data + BEFORE, len(BEFORE)) == (number, len(BEFORE) + len(data))
    assert compiled.get(array(data), 0) == there
    assert checked(data) == (there, there)
    assert checked(data + b"\x80") == (there, there)


@given(NUMBERS)
@example(LOWEST)
@example(HIGHEST)
def test_compiled_code_writes_the_bytes_that_python_writes_and_knows_their_number(number):
    data, out = written(number), np.full(14, 0xEE, dtype=np.uint8)
    assert compiled.put(out, 2, number) == 2 + len(data)
    assert out.tobytes() == b"\xee\xee" + data + b"\xee" * (12 - len(data))
    assert compiled.size(number) == len(data) <= 10


def test_the_bytes_are_those_of_avro_and_kafka():
    assert [written(n) for n in (0, -1, 1, 63, -64, 64)] == [b"\0", b"\1", b"\2", b"\x7e", b"\x7f", b"\x80\1"]
    assert written(HIGHEST) == b"\xfe" + b"\xff" * 8 + b"\1" and written(LOWEST) == b"\xff" * 9 + b"\1"


@given(NUMBERS)
@example(LOWEST)
def test_a_number_that_is_cut_off_at_any_byte_is_refused(number):
    data = written(number)
    for stop in range(len(data)):
        assert checked(data, stop) == (None, None)  # the other bytes are there, and are not read
        with pytest.raises(IndexError):
            plain.get(data[:stop], 0)


@given(st.integers(-(2**62), 2**62 - 1), st.data())
def test_more_bytes_than_a_number_needs_are_refused_by_the_reader_of_avro_alone(number, data):
    shortest = written(number)
    extra = data.draw(st.integers(1, 10 - len(shortest)))
    padded = shortest[:-1] + bytes([shortest[-1] | 0x80]) + b"\x80" * (extra - 1) + b"\0"
    there = (number, len(padded))
    assert checked(padded) == (there, None)
    assert plain.get(padded, 0) == compiled.get(array(padded), 0) == there


def test_bits_above_an_int64_are_refused_by_the_reader_of_avro_and_dropped_by_that_of_the_log():
    assert checked(b"\xfe" + b"\xff" * 8 + b"\x03") == ((HIGHEST, 10), None)


def test_an_eleventh_byte_is_refused():
    assert checked(b"\x80" * 10 + b"\0") == (None, None)


def test_a_place_that_an_earlier_refusal_gave_is_refused_again():
    number, at = compiled.get_within(array(b"\x02\x02"), -1, 2)
    assert (number, at) == (0, -1)


def test_the_plain_form_does_not_load_the_compiler():
    said = "import sys; import tapedeck.schemas.varint; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", said], check=True, env=os.environ)
