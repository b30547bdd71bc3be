"""The codec: every record round-trips; bad input gives a DeadLetter with its reason and nothing else."""

import io
import math
from decimal import Decimal

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tapedeck.schemas import codec, ids
from tapedeck.schemas.errors import DeadLetter, Fatal, NewerSchema
from tapedeck.schemas.golden import samples_of
from tests.support.avro import bodies

NAMES = ids.names()
_FEW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))

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
ORDER = samples_of(codec.load_schema("orders"))[0]
CHAIN = next(
    s for s in samples_of(codec.load_schema("account_inbox")) if s["payload"][0] == "tapedeck.InboxChain"
)


def refused(name, body):
    with pytest.raises(DeadLetter) as caught:
        codec.encode(name, body)
    return caught.value


@pytest.mark.parametrize("name", NAMES)
@_FEW
@given(data=st.data())
def test_any_body_of_a_schema_round_trips_and_encodes_to_the_same_bytes_again(name, data):
    body = data.draw(bodies(codec.load_schema(name)))
    wire = codec.encode(name, body)
    assert codec.decode(name, wire) == body
    assert codec.encode(name, codec.decode(name, wire)) == wire
    assert wire[5:] == codec.encode_body(name, body)


@pytest.mark.parametrize("name", NAMES)
@_FEW
@given(data=st.data())
def test_truncated_bytes_are_malformed_and_short_ones_lack_a_prefix(name, data):
    wire = codec.encode(name, data.draw(bodies(codec.load_schema(name))))
    cut = data.draw(st.integers(0, len(wire) - 1))
    with pytest.raises(DeadLetter) as caught:
        codec.decode(name, wire[:cut])
    assert caught.value.reason == ("BAD_PREFIX" if cut < 5 else "MALFORMED")


@pytest.mark.parametrize("name", NAMES)
@_FEW
@given(data=st.data())
def test_a_flipped_byte_gives_a_record_or_a_dead_letter_and_no_other_exception(name, data):
    wire = bytearray(codec.encode(name, data.draw(bodies(codec.load_schema(name)))))
    wire[data.draw(st.integers(0, len(wire) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        codec.decode(name, bytes(wire))
    except DeadLetter as error:
        reasons = {"BAD_PREFIX", "UNKNOWN_SCHEMA", "WRONG_SCHEMA", "MALFORMED", "NOT_FINITE"}
        assert error.reason in reasons
    except NewerSchema:
        assert name in ids.REFUSED_WHEN_NEWER and int.from_bytes(wire[1:5]) > ids.newest_id()


@pytest.mark.parametrize("name", sorted(ids.REFUSED_WHEN_NEWER))
def test_an_accounts_record_of_a_newer_release_is_refused_by_name_and_never_left_out(name):
    newer = ids.newest_id() + 1
    codec.take_foreign()
    with pytest.raises(NewerSchema) as caught:
        codec.decode(name, codec.PREFIX.pack(0, newer) + b"anything")
    said = str(caught.value)
    assert f"topic {name}" in said and f"got {newer}" in said
    assert "upgrade this process" in said and "nothing is lost" in said
    assert not codec.take_foreign()


def test_an_older_id_of_another_record_is_still_a_dead_letter_for_an_accounts_topic():
    with pytest.raises(DeadLetter) as caught:
        codec.decode("orders", codec.PREFIX.pack(0, ids.current_id("bars")) + b"anything")
    assert caught.value.reason == "WRONG_SCHEMA"
    assert codec.take_foreign()


def test_the_inbox_as_the_first_release_wrote_it_is_read():
    name, document = ids.schema_of(1)
    body = {"event_id": "e", "event_time": 1, "account_id": "tiny", "payload": ("tapedeck.InboxTick", {})}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(codec.without_times(document)), body)
    assert name == "account_inbox" and ids.current_id(name) > 1
    assert codec.decode(name, codec.PREFIX.pack(0, 1) + out.getvalue()) == body
    assert codec.encode_body(name, body) == out.getvalue(), "a new branch at the end changes no older byte"


@_FEW
@given(wire_id=st.integers(0, 2**32 - 1))
def test_a_flipped_schema_id_is_unknown_or_another_record(wire_id):
    wire = codec.PREFIX.pack(0, wire_id) + codec.encode_body("bars", BAR)
    known = ids.log_ids().to_log
    if wire_id in known and ids.schema_of(wire_id)[0] == "bars":
        return
    with pytest.raises(DeadLetter) as caught:
        codec.decode("bars", wire)
    assert caught.value.reason == ("WRONG_SCHEMA" if wire_id in known else "UNKNOWN_SCHEMA")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "BAD_PREFIX"),
        (b"", "BAD_PREFIX"),
        (b"{}", "BAD_PREFIX"),
        (b"\x01\x00\x00\x00\x01rest", "BAD_PREFIX"),
        (codec.encode("bars", BAR) + b"x", "MALFORMED"),
    ],
)
def test_bytes_of_another_format_are_refused_with_their_reason(data, reason):
    with pytest.raises(DeadLetter) as caught:
        codec.decode("bars", data)
    assert caught.value.reason == reason


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_refused_by_the_writer_with_its_field(bad):
    error = refused("bars", BAR | {"high": bad})
    assert error.reason == "NOT_FINITE"
    assert "bars.high" in str(error)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_number_that_is_not_finite_is_refused_by_the_reader(bad):
    shape = fastavro.parse_schema(codec.without_times(codec.load_schema("bars")))
    out = io.BytesIO(codec.PREFIX.pack(0, ids.current_id("bars")))
    out.seek(0, io.SEEK_END)
    fastavro.schemaless_writer(out, shape, BAR | {"close": bad})
    with pytest.raises(DeadLetter, match=r"bars\.close") as caught:
        codec.decode("bars", out.getvalue())
    assert caught.value.reason == "NOT_FINITE"


def test_a_number_that_is_not_finite_is_found_inside_a_list_of_a_record_of_a_union():
    contract = CHAIN["payload"][1]["contracts"][0]
    payload = CHAIN["payload"][1] | {"contracts": [contract, contract | {"delta": math.nan}]}
    error = refused("account_inbox", CHAIN | {"payload": ("tapedeck.InboxChain", payload)})
    assert error.reason == "NOT_FINITE"
    assert "account_inbox.payload.contracts[1].delta" in str(error)


def test_finite_doubles_whose_sum_overflows_are_not_taken_for_infinity():
    body = BAR | {"open": 1.7e308, "high": 1.7e308}
    assert codec.decode("bars", codec.encode("bars", body)) == body


def test_a_decimal_with_a_seventh_place_is_refused_and_never_rounded():
    error = refused("orders", ORDER | {"limit_price": Decimal("1.2345678")})
    assert error.reason == "NOT_ENCODABLE"
    assert error.value == Decimal("1.2345678")
    assert "orders.limit_price" in str(error)
    assert "6 decimal places" in str(error)


@pytest.mark.parametrize(
    ("value", "reason"),
    [(Decimal("NaN"), "NOT_FINITE"), (Decimal("Infinity"), "NOT_FINITE"), (1.25, "NOT_ENCODABLE")],
)
def test_a_decimal_that_is_no_finite_decimal_is_refused(value, reason):
    assert refused("orders", ORDER | {"limit_price": value}).reason == reason


@pytest.mark.parametrize("field", ["symbol", "open", "t"])
def test_a_missing_field_is_named(field):
    error = refused("bars", {k: v for k, v in BAR.items() if k != field})
    assert f"bars.{field} is missing" in str(error)


def test_a_missing_field_with_a_default_takes_it():
    body = {k: v for k, v in ORDER.items() if k != "limit_price"}
    assert codec.decode("orders", codec.encode("orders", body)) == ORDER | {"limit_price": None}


def test_a_missing_double_with_a_default_takes_it():
    body = samples_of(codec.load_schema("features"))[0]
    without = {k: v for k, v in body.items() if k != "rsi14"}
    assert codec.decode("features", codec.encode("features", without)) == body | {"rsi14": None}


def test_a_field_that_the_schema_does_not_have_is_refused_not_dropped():
    assert "bars.vwap is not a field" in str(refused("bars", BAR | {"vwap": 1.0}))


@pytest.mark.parametrize("field, value", [("symbol", 3), ("t", "now"), ("open", "1.0"), ("revision", 2.5)])
def test_a_value_of_another_type_is_named(field, value):
    assert f"bars.{field} is not" in str(refused("bars", BAR | {field: value}))


def test_a_body_that_is_no_record_is_refused():
    assert refused("bars", ["not", "a", "body"]).reason == "NOT_ENCODABLE"


def test_a_record_of_the_inbox_union_keeps_its_name():
    body = {"event_id": "e", "event_time": 1, "account_id": "tiny", "payload": ("tapedeck.InboxTick", {})}
    assert codec.decode("account_inbox", codec.encode("account_inbox", body)) == body


@pytest.mark.parametrize("payload", [{"lease_epoch": 1}, None, ("tapedeck.InboxNothing", {}), {}])
def test_a_record_of_the_inbox_union_without_a_known_name_is_refused_not_guessed(payload):
    body = {"event_id": "e", "event_time": 1, "account_id": "tiny", "payload": payload}
    assert "account_inbox.payload" in str(refused("account_inbox", body))


def test_an_id_mapping_is_used_for_writing_and_reading():
    mapping = ids.IdMap(to_wire={"bars": 7001}, to_log={7001: ids.current_id("bars")})
    wire = codec.encode("bars", BAR, mapping)
    assert wire[:5] == b"\x00\x00\x00\x1b\x59"
    assert codec.decode("bars", wire, mapping) == BAR
    with pytest.raises(DeadLetter) as caught:
        codec.decode("bars", wire)
    assert caught.value.reason == "UNKNOWN_SCHEMA"


def test_an_id_mapping_of_the_process_is_used_until_it_is_taken_back():
    codec.use_ids(ids.IdMap(to_wire={"bars": 9}, to_log={9: ids.current_id("bars")}))
    try:
        assert codec.decode("bars", codec.encode("bars", BAR)) == BAR
        assert codec.encode("bars", BAR)[:5] == b"\x00\x00\x00\x00\x09"
    finally:
        codec.use_ids(None)
    assert codec.encode("bars", BAR)[:5] == codec.PREFIX.pack(0, ids.current_id("bars"))


def test_a_record_without_a_schema_stops_the_process():
    with pytest.raises(Fatal, match=r"add schemas/avsc/nothing\.avsc"):
        codec.encode_body("nothing", {})
