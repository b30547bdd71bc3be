"""Records as columns: the batch reader and writer agree with the codec, or leave the row to it."""

import json
import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tapedeck.schemas import codec, columns, golden, ids
from tapedeck.schemas.columns import NULL, Columns, decode_columns, encode_columns, kernel, layout, supports
from tapedeck.schemas.errors import DeadLetter, Fatal
from tests.support.avro import bodies

_FEW = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
HOT = {"bars", "features", "quotes", "scores", "memberships", "decisions", "signals", "revision_audit"}
NAMES = [name for name in ids.names() if supports(name)]
BAR = {
    "event_id": "0" * 32,
    "event_time": 1_381_498_260_000_000,
    "symbol": "NVDA",
    "feed": "iex",
    "t": 1_381_498_200_000_000,
    "revision": 0,
    "open": 15.5,
    "high": 15.75,
    "low": 15.25,
    "close": 15.625,
    "volume": 1200.0,
    "origin": "synthetic/1",
}
QUOTE = {
    "event_id": "q",
    "event_time": 1,
    "instrument": "NVDA",
    "underlying": "NVDA",
    "feed": "iex",
    "quote_time": 1,
    "bid": Decimal("1.25"),
    "ask": None,
    "bid_size": 3,
    "ask_size": None,
    "origin": "synthetic/1",
}


def joined(wires):
    """(data, spans) of wire values, null where one is None."""
    sizes = [-1 if wire is None else len(wire) for wire in wires]
    starts = np.cumsum([0, *(max(size, 0) for size in sizes)])[:-1]
    data = np.frombuffer(b"".join(wire or b"" for wire in wires), dtype=np.uint8)
    return data, np.column_stack((starts, sizes)).astype(np.int64)


def read(name, wires):
    found, rejected = decode_columns(name, *joined(wires))
    return found, rejected.tolist()


def written(found):
    data, spans = encode_columns(found.name, found)
    return [data[start : start + size].tobytes() for start, size in spans.tolist()]


def refused_by_columns(name, wire):
    return read(name, [wire])[1] == [0]


def test_the_hot_schemas_have_columns_and_those_with_maps_or_arrays_of_records_have_none():
    assert set(NAMES) >= HOT
    without = {"account_inbox", "exits", "heartbeats", "links", "proposals", "universe", "watchlist"}
    assert {name for name in ids.names() if not supports(name)} == without
    with pytest.raises(Fatal, match=r"use schemas\.codec"):
        decode_columns("heartbeats", *joined([]))


@pytest.mark.parametrize("name", NAMES)
def test_golden_bytes_are_read_as_the_codec_reads_them_and_written_again(name):
    path = golden.FOLDER / f"{name}-{ids.current_id(name)}.json"
    wires = [bytes.fromhex(sample["wire"]) for sample in json.loads(path.read_text())["samples"]]
    found, rejected = read(name, wires)
    assert rejected == []
    assert [found.row(k) for k in range(len(wires))] == [codec.decode(name, wire) for wire in wires]
    assert written(found) == wires


@pytest.mark.parametrize("name", NAMES)
@_FEW
@given(data=st.data())
def test_any_bodies_are_read_and_written_as_by_the_codec_or_left_to_it(name, data):
    given_bodies = data.draw(st.lists(bodies(codec.load_schema(name)), max_size=4))
    wires = [codec.encode(name, body) for body in given_bodies]
    found, rejected = read(name, wires)
    kept = [row for row in range(len(wires)) if row not in rejected]
    assert written(found.take(np.array(kept, dtype=np.int64))) == [wires[row] for row in kept]
    for row, body in enumerate(given_bodies):
        if row not in rejected:
            assert found.row(row) == body
        else:
            assert not plain(body)


def plain(body):
    """Whether the fast path must read it: ASCII, and every number within 8 bytes."""
    for value in body.values():
        match value:
            case str() if not value.isascii():
                return False
            case list() if not all(each.isascii() for each in value):
                return False
            case dict() if not plain(value):
                return False
            case Decimal() if abs(int(value.scaleb(6))) >= 2**63:
                return False
            case int() if value == NULL:
                return False
    return True


def test_a_null_is_null_in_every_kind_of_column():
    found, rejected = read("quotes", [codec.encode("quotes", QUOTE)])
    assert rejected == []
    assert found.ints["bid"].tolist() == [1_250_000]
    assert found.ints["ask"].tolist() == [NULL]
    assert found.ints["ask_size"].tolist() == [NULL]
    assert found.row(0) == QUOTE
    decision = golden_body("decisions") | {"strategy": None, "close": None}
    found, _ = read("decisions", [codec.encode("decisions", decision)])
    assert found.spans["strategy"][0].tolist() == [0, -1]
    assert math.isnan(found.floats["close"][0])
    assert found.strings("strategy") == [None]
    assert found.floats["factors.base"][0] == decision["factors"]["base"]


def golden_body(name):
    return golden.samples_of(codec.load_schema(name))[0]


def test_an_enum_is_the_index_of_its_symbol():
    found, _ = read("signals", [codec.encode("signals", golden_body("signals") | {"direction": "BEAR"})])
    assert columns.symbols("signals", "direction")[found.ints["direction"][0]] == "BEAR"
    with pytest.raises(Fatal, match="no enum"):
        columns.symbols("signals", "symbol")


def bar_with(field, raw):
    """The wire bytes of BAR with the bytes of one field replaced."""
    wire = codec.encode("bars", BAR)
    fields = [f["name"] for f in codec.load_schema("bars")["fields"]]
    encoded = [codec_bytes(BAR[name], name) for name in fields]
    assert wire[5:] == b"".join(encoded)
    encoded[fields.index(field)] = raw
    return wire[:5] + b"".join(encoded)


def codec_bytes(value, name):
    if isinstance(value, str):
        return bytes([2 * len(value)]) + value.encode()
    if isinstance(value, float):
        return np.float64(value).tobytes()
    return varint(value)


def varint(number):
    left, out = (number << 1) ^ (number >> 63), bytearray()
    while left >= 0x80:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*out, left])


WIRE = codec.encode("bars", BAR)


@pytest.mark.parametrize(
    "wire",
    [
        None,
        b"",
        WIRE[:4],
        b"\x01" + WIRE[1:],
        b"\x00\x00\x00\x00\x63" + WIRE[5:],
        WIRE[:-1],
        WIRE + b"\x00",
        bar_with("revision", varint(2**31)),
        bar_with("t", b"\xff" * 9 + b"\x02"),
        bar_with("t", b"\xff" * 12),
        bar_with("t", b"\x80\x00"),
        bar_with("t", varint(NULL)),
        bar_with("close", np.float64(math.nan).tobytes()),
        bar_with("close", np.float64(-math.inf).tobytes()),
        bar_with("symbol", varint(-1)),
        bar_with("symbol", varint(2**62)),
        bar_with("symbol", b"\x04\xc3\xa9"),
        bar_with("symbol", b"\x04\xff\xfe"),
    ],
)
def test_a_row_that_the_fast_path_does_not_read_is_null_and_its_neighbours_stand(wire):
    found, rejected = read("bars", [WIRE, wire, WIRE])
    assert rejected == [1]
    assert [found.row(0), found.row(2)] == [BAR, BAR]
    assert set(found.row(1).values()) == {None}


@pytest.mark.parametrize(
    "span", [(-len(WIRE), len(WIRE)), (0, len(WIRE) + 1), (len(WIRE), 1), (3, 2**62), (2**62, 2**62)]
)
def test_a_span_outside_the_data_is_rejected_and_not_read(span):
    data = np.frombuffer(WIRE, dtype=np.uint8)
    assert decode_columns("bars", data, np.array([span], dtype=np.int64))[1].tolist() == [0]


@pytest.mark.parametrize(
    "units, fits", [(2**63 - 1, True), (-(2**63) + 1, True), (-(2**63), False), (2**63, False)]
)
def test_a_decimal_beyond_eight_bytes_is_left_to_the_codec(units, fits):
    body = QUOTE | {"bid": Decimal(units).scaleb(-6)}
    found, rejected = read("quotes", [codec.encode("quotes", body)])
    assert rejected == ([] if fits else [0])
    if fits:
        assert found.row(0) == body


@pytest.mark.parametrize("units", [0, -1, 127, 128, -127, -128, -129, -(2**55), 2**55 - 1])
def test_a_decimal_has_the_size_that_fastavro_gives_it(units):
    body = QUOTE | {"bid": Decimal(units).scaleb(-6)}
    assert read("quotes", [codec.encode("quotes", body)])[0].row(0) == body


def test_the_ids_of_a_registry_are_those_that_are_read():
    codec.use_ids(ids.IdMap(to_wire={"bars": 9}, to_log={9: ids.current_id("bars")}))
    try:
        assert read("bars", [codec.encode("bars", BAR)])[1] == []
        assert refused_by_columns("bars", WIRE)
    finally:
        codec.use_ids(None)


def test_rows_can_be_taken_replaced_and_built_of_bodies():
    texts = ["NVDA", "Zürich", "", "TSLA"]
    given_bodies = [BAR | {"symbol": text} for text in texts]
    found, rejected = read("bars", [codec.encode("bars", body) for body in given_bodies])
    assert rejected == [1]
    whole = found.with_rows(np.array(rejected), [given_bodies[1]])
    assert whole.strings("symbol") == texts
    assert [whole.row(k) for k in range(4)] == given_bodies
    assert whole.take(np.array([3, 1])).strings("symbol") == ["TSLA", "Zürich"]
    assert len(whole.take(np.zeros(4, dtype=bool))) == 0
    built = Columns.of("bars", given_bodies)
    assert [built.row(k) for k in range(4)] == given_bodies
    assert written(built) == written(whole) == [codec.encode("bars", body) for body in given_bodies]
    with pytest.raises(DeadLetter, match=r"quotes\.bid does not fit"):
        Columns.of("quotes", [QUOTE | {"bid": Decimal(2**63).scaleb(-6)}])


def test_constants_are_one_span_repeated_and_an_empty_array_is_one_zero():
    audit = golden_body("revision_audit") | {"inputs": [], "config_digest": "abc", "old_action": "HOLD"}
    made = Columns.of("revision_audit", [audit, audit, audit])
    made.data = np.concatenate((made.data, np.frombuffer(b"xyz", dtype=np.uint8)))
    made.spans["config_digest"][:] = len(made.data) - 3, 3
    assert made.spans["inputs"][:, 1].tolist() == [1, 1, 1]
    assert written(made) == [codec.encode("revision_audit", audit | {"config_digest": "xyz"})] * 3


@pytest.mark.parametrize(
    "name, block, field, value, reason, what",
    [
        ("bars", "floats", "close", math.nan, "NOT_FINITE", r"bars\.close of row 1 is not a finite number"),
        ("bars", "floats", "close", math.inf, "NOT_FINITE", r"bars\.close of row 1"),
        ("features", "floats", "sma20", -math.inf, "NOT_FINITE", r"features\.sma20 of row 1"),
        ("bars", "ints", "t", NULL, "NOT_ENCODABLE", r"bars\.t of row 1 is null"),
        ("bars", "ints", "revision", 2**31, "NOT_ENCODABLE", "32 bits; got 2147483648"),
        ("features", "ints", "ready", 2, "NOT_ENCODABLE", "is not 0 or 1"),
        ("features", "ints", "or_state", 3, "NOT_ENCODABLE", "one of ABOVE, BELOW, INSIDE"),
        ("signals", "ints", "direction", -1, "NOT_ENCODABLE", "one of BULL, BEAR"),
        ("bars", "spans", "symbol", (0, -1), "NOT_ENCODABLE", "is null"),
        ("bars", "spans", "symbol", (0, -2), "NOT_ENCODABLE", "a span"),
        ("bars", "spans", "symbol", (-1, 1), "NOT_ENCODABLE", "a span"),
        ("bars", "spans", "symbol", (0, 2**62), "NOT_ENCODABLE", "a span"),
        ("features", "spans", "inputs", (0, 3), "NOT_ENCODABLE", "an array of strings"),
        ("features", "spans", "inputs", (0, 0), "NOT_ENCODABLE", "an array of strings"),
        ("executions", "ints", "qty", NULL, "NOT_ENCODABLE", "is null"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_field_and_row(name, block, field, value, reason, what):
    made = Columns.of(name, [golden_body(name)] * 3)
    getattr(made, block)[field][1] = value
    with pytest.raises(DeadLetter, match=what) as caught:
        encode_columns(name, made)
    assert caught.value.reason == reason


def test_rows_that_were_not_read_cannot_be_written():
    found, _ = read("bars", [WIRE, None])
    with pytest.raises(DeadLetter, match="row 1 is null"):
        encode_columns("bars", found)
    with pytest.raises(Fatal, match="not columns of quotes"):
        encode_columns("quotes", found)


def test_columns_cannot_be_replaced_behind_the_writers_back():
    with pytest.raises(TypeError):
        read("bars", [WIRE])[0].ints["t"] = np.zeros(1, dtype=np.int64)


@pytest.mark.parametrize("union, null", [(["null", "long"], b"\x00"), (["long", "null"], b"\x02")])
def test_null_may_stand_on_either_side_of_a_union(union, null):
    document = {"type": "record", "name": "R", "fields": [{"name": "x", "type": union}]}
    program = layout.compiled(document).program
    prefix, data = np.zeros(5, dtype=np.uint8), np.frombuffer(bytes(5) + null, dtype=np.uint8)
    values, ints = np.array([[0, 6]]), np.zeros((1, 1), dtype=np.int64)
    bits, spans = np.empty((0, 1), dtype=np.uint64), np.empty((0, 1, 2), dtype=np.int64)
    for array in (prefix, values):
        array.flags.writeable = False
    assert len(kernel.decode(program, prefix, data, values, ints, bits, spans)) == 0
    assert ints[0, 0] == NULL
    out = np.empty(5 + kernel.WIDEST, dtype=np.uint8)
    size, row, _ = kernel.encode(program, prefix, data, values.copy(), ints, bits, spans, out)
    assert (row, out[:size].tobytes()) == (-1, data.tobytes())


@pytest.mark.parametrize(
    "node",
    [
        "bytes",
        "float",
        ["null", "int", "long"],
        {"type": "map", "values": "long"},
        {"type": "array", "items": "int"},
    ],
)
def test_what_no_column_holds_is_not_supported(node):
    assert layout.compiled({"type": "record", "name": "R", "fields": [{"name": "x", "type": node}]}) is None
