"""Damaged records: the batch reader rejects a row or agrees with the codec, and stays within its span."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tapedeck.schemas import codec, golden, ids
from tapedeck.schemas.columns import NULL, decode_columns, encode_columns, supports
from tapedeck.schemas.columns.table import Columns
from tapedeck.schemas.errors import DeadLetter

NAMES = [name for name in ids.names() if supports(name)]
MUTANTS = 300
BOUNDSCHECK = "NUMBA_BOUNDSCHECK"
LONGS = (0, 1, -1, 63, 64, 2**31, -(2**31) - 1, 2**62, 2**63 - 1, NULL)


def wires_of(name):
    return [codec.encode(name, body) for body in golden.samples_of(codec.load_schema(name))]


def damaged(rng, wire, others):
    """One mutant: cut, flipped, lengthened, overwritten, spliced, or under another schema's id."""
    out = bytearray(wire)
    at = rng.randrange(len(out))
    match rng.randrange(8):
        case 0:
            del out[at:]
        case 1:
            out[at] ^= 1 << rng.randrange(8)
        case 2:
            out += rng.randbytes(rng.randint(1, 9))
        case 3:
            out[at : at + rng.randint(1, 9)] = rng.randbytes(rng.randint(1, 9))
        case 4:
            out[at:at] = rng.randbytes(rng.randint(1, 9))
        case 5:
            out[at] = rng.choice((0x00, 0x01, 0x02, 0x7F, 0x80, 0xFF))
        case 6:
            out[at:] = rng.choice(others)[at:]
        case 7:
            out[1:5] = rng.randint(0, len(ids.names()) + 2).to_bytes(4, "big")
    return bytes(out)


def laid_out(rng, wires):
    """(data, spans) with the records in random order and random bytes between them."""
    places, data = [(0, -1)] * len(wires), bytearray()
    for row in rng.sample(range(len(wires)), len(wires)):
        data += rng.randbytes(rng.randrange(4))
        places[row] = len(data), len(wires[row])
        data += wires[row]
    return np.frombuffer(bytes(data), dtype=np.uint8), np.array(places, dtype=np.int64)


def judged(name, wire):
    try:
        return repr(codec.decode(name, wire))
    except DeadLetter:
        return None


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_record_is_rejected_or_read_as_the_codec_reads_it(name):
    rng = random.Random(name)
    whole = wires_of(name)
    wires = [damaged(rng, rng.choice(whole), whole) for _ in range(MUTANTS)]
    found, rejected = decode_columns(name, *laid_out(rng, wires))
    refused = set(rejected.tolist())
    kept = [row for row in range(MUTANTS) if row not in refused]
    assert len(refused) > MUTANTS / 5, "the damage was not done"
    assert [repr(found.row(row)) for row in kept] == [judged(name, wires[row]) for row in kept]
    data, spans = encode_columns(name, found.take(kept))
    assert [data[a : a + n].tobytes() for a, n in spans.tolist()] == [wires[row] for row in kept]
    for row in refused:
        assert all(column[row] == NULL for column in found.ints.values())
        assert all(np.isnan(column[row]) for column in found.floats.values())
        assert all(column[row, 1] == -1 for column in found.spans.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_record_cut_at_any_byte_where_the_data_ends_is_rejected(name):
    for wire in wires_of(name):
        for size in range(len(wire)):
            data = np.frombuffer(wire[:size], dtype=np.uint8)
            assert decode_columns(name, data, np.array([[0, size]]))[1].tolist() == [0]


@pytest.mark.parametrize("name", NAMES)
def test_what_surrounds_a_record_does_not_change_how_it_is_read(name):
    rng = random.Random(name)
    whole = wires_of(name)
    wires = [damaged(rng, rng.choice(whole), whole) for _ in range(MUTANTS // 3)]
    one, two = (decode_columns(name, *laid_out(rng, wires)) for _ in range(2))
    assert one[1].tolist() == two[1].tolist()
    kept = np.setdiff1d(np.arange(len(wires)), one[1])
    assert [repr(one[0].row(row)) for row in kept] == [repr(two[0].row(row)) for row in kept]


def test_a_record_of_an_older_version_is_rejected_and_the_codec_reads_it(monkeypatch):
    older = ids.current_id("memberships")
    body = golden.samples_of(codec.load_schema("memberships"))[0]
    wire = codec.encode("memberships", body)
    evolved = codec.load_schema("memberships") | {}
    evolved["fields"] = [*evolved["fields"], {"name": "added", "type": "string", "default": "new"}]
    versions = {older: ("memberships", codec.load_schema("memberships")), 99: ("memberships", evolved)}
    monkeypatch.setattr(codec, "schema_of", versions.__getitem__)
    monkeypatch.setattr(codec, "current_id", lambda name: 99)
    monkeypatch.setattr(codec, "load_schema", lambda name: evolved)
    codec.use_ids(ids.IdMap(to_wire={"memberships": 99}, to_log={99: 99, older: older}))
    codec._current.cache_clear()
    codec._route.cache_clear()
    try:
        data = np.frombuffer(wire, dtype=np.uint8)
        assert decode_columns("memberships", data, np.array([[0, len(wire)]]))[1].tolist() == [0]
        assert codec.decode("memberships", wire) == body | {"added": "new"}
        added = np.frombuffer(codec.encode("memberships", body | {"added": "x"}), dtype=np.uint8)
        assert decode_columns("memberships", added, np.array([[0, len(added)]]))[1].tolist() == [0]
    finally:
        codec.use_ids(None)
        codec._current.cache_clear()
        codec._route.cache_clear()


@pytest.mark.parametrize("name", NAMES)
def test_damaged_columns_are_refused_or_written_as_bytes_that_are_read_again(name):
    rng = random.Random(name)
    refused = 0
    for _ in range(MUTANTS // 3):
        made = Columns.of(name, golden.samples_of(codec.load_schema(name)))
        blocks = [b for b in (made.int_block, made.span_block) if b.size]
        block = rng.choice(blocks)
        flat = block[:, : made.n].reshape(-1)
        flat[rng.randrange(len(flat))] = rng.choice(LONGS)
        block[:, : made.n] = flat.reshape(block[:, : made.n].shape)
        try:
            data, spans = encode_columns(name, made)
        except DeadLetter:
            refused += 1
            continue
        found, rejected = decode_columns(name, data, spans)
        assert rejected.tolist() == []
        assert [repr(found.row(row)) for row in range(found.n)] == [
            repr(made.row(row)) for row in range(made.n)
        ]
    assert refused > 0, "the damage was not done"


@pytest.mark.long
@pytest.mark.skipif(BOUNDSCHECK in os.environ, reason="this is the run with bounds checks")
def test_no_damage_makes_the_compiled_code_leave_its_arrays(tmp_path):
    told = os.environ | {BOUNDSCHECK: "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        command, env=told, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert list(tmp_path.rglob("*.nbc")), "nothing was compiled with bounds checks"
