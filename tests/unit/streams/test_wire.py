"""From effects to log records: partitions, times, headers, forwarded watermarks."""

import pytest

from tapedeck.connectors.tapes.tape import bar_body
from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.protocol import Out, StageSpec
from tapedeck.streams.shell import Effects, Forward, Produced
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.watermarks import (
    ABSENT_HEADER,
    LABEL_HEADER,
    OPENS_HEADER,
    Opening,
    Watermark,
    label_of,
    punctuation_of,
)
from tapedeck.streams.wire import Origin, Wire, Wires, opening_wires, record_wire, trace_of, watermark_wires
from tapedeck.topics.catalogue import WATERMARK_KEY, Layout
from tests.support.shells import COUNTER, MINUTE, T0, bar, message

LAYOUT = Layout()
ORIGIN = Origin("features", "1.2.3", "cafe")
TRACE = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"


def wires_of(effects: Effects, spec: StageSpec = COUNTER, home: int = 2) -> list[Wire]:
    return list(Wires(spec, LAYOUT, ORIGIN, home).of(effects, 1_234))


def late(symbol: str = "A", **cause: object) -> Produced:
    body = bar(symbol)
    out = Out(0, "bars.late", symbol.encode(), body["event_id"], body)
    return Produced(out, message(body, 42, 3, **cause) if cause is not None else None)


def test_a_record_goes_to_the_partition_of_its_key_at_its_event_time() -> None:
    body = bar_body("NVDA", T0, (1, 2, 1, 2), 5, feed="iex", origin="test")
    wire = record_wire("bars", b"NVDA", body, LAYOUT, [])
    assert wire.partition == LAYOUT.partition("bars", body)
    assert wire.timestamp == (T0 + MINUTE) // 1000
    assert decode("bars", wire.value) == body


def test_a_body_that_does_not_fit_is_refused() -> None:
    with pytest.raises(DeadLetter):
        record_wire("bars", b"A", bar("A") | {"close": float("nan")}, LAYOUT, [])


def test_a_watermark_stands_in_every_partition_as_a_tombstone() -> None:
    wires = list(watermark_wires("bars", T0, range(4)))
    assert [wire.partition for wire in wires] == [0, 1, 2, 3]
    for wire in wires:
        assert (wire.key, wire.value, wire.timestamp) == (WATERMARK_KEY, None, (T0 + MINUTE) // 1000)
        assert label_of(wire.key, wire.value, wire.headers) == T0


@pytest.mark.parametrize(
    ("stage", "home", "expected"),
    [
        ("features", 2, [("features", 2)]),
        ("scores", 0, [("scores", 0)]),
        ("watchlist", 0, [("watchlist", 0), *(("memberships", p) for p in range(4))]),
        ("signals", 1, [("decisions", 1), ("signals", 1), ("revision_audit", 1)]),
        ("account", 0, []),
    ],
)
def test_watermarks_are_forwarded_to_what_the_task_writes(
    stage: str, home: int, expected: list[tuple[str, int]]
) -> None:
    wires = wires_of(Effects(outputs=[Forward(T0)]), TOPOLOGY.stage(stage), home)
    assert [(wire.topic, wire.partition) for wire in wires] == expected


def test_order_is_kept() -> None:
    wires = wires_of(Effects(outputs=[late("A"), Forward(T0), late("B")]))
    assert [wire.key for wire in wires] == [b"A", WATERMARK_KEY, b"B"]


def test_what_depends_on_the_run_is_in_headers() -> None:
    (wire,) = wires_of(Effects(outputs=[late()]))
    headers = dict(wire.headers)
    identity = bar("A")["event_id"]
    assert headers.pop("traceparent") == f"00-{identity}-{identity[:16]}-01".encode()
    assert headers == {
        "ce_specversion": b"1.0",
        "ce_source": b"/tapedeck/features",
        "tape-code-version": b"1.2.3",
        "tape-config-digest": b"cafe",
        "tape-ingest-time": b"1234",
        "ce_id": identity.encode(),
        "ce_type": b"tapedeck.bars.late",
        "tape-cause": b"bars/3@42",
    }
    assert len(headers) == len(wire.headers) - 1


def test_a_trace_goes_on_from_the_cause() -> None:
    (wire,) = wires_of(Effects(outputs=[late(headers=(("traceparent", TRACE.encode()),))]))
    identity = bar("A")["event_id"]
    assert dict(wire.headers)["traceparent"] == f"00-{'1' * 32}-{identity[:16]}-01".encode()


def test_a_record_without_a_trace_context_begins_the_trace_of_its_event_id() -> None:
    """A bar has none if its writer knows nothing of traces, and none in a recorded tape."""
    source, made = bar("A"), bar("A", t=T0 + MINUTE)
    out = Out(0, "bars.late", b"A", made["event_id"], made)
    (wire,) = wires_of(Effects(outputs=[Produced(out, message(source, 42, 3))]))
    assert made["event_id"] != source["event_id"]
    expected = f"00-{source['event_id']}-{made['event_id'][:16]}-01"
    assert dict(wire.headers)["traceparent"] == expected.encode()


@pytest.mark.parametrize(
    "value", [None, b"", b"\0\0\0\0\1", b"\0\0\0\0\1@" + b"0" * 31, b"\0\0\0\0\1@" + b"G" * 32]
)
def test_a_cause_without_an_event_id_begins_no_trace(value: bytes | None) -> None:
    cause = message(bar("A"), 42, 3)._replace(value=value)
    assert trace_of(cause) is None
    (wire,) = wires_of(Effects(outputs=[late()._replace(cause=cause)]))
    assert (dict(wire.headers)["traceparent"] or b"").startswith(f"00-{bar('A')['event_id']}".encode())


@pytest.mark.parametrize("content", [None, b"", b"00", b"\xff\xfe-\xff-\xff-01", b"00-short-id-01"])
def test_a_trace_that_is_none_is_as_if_it_were_missing(content: bytes | None) -> None:
    (wire,) = wires_of(Effects(outputs=[late(headers=(("traceparent", content),))]))
    identity = bar("A")["event_id"]
    assert dict(wire.headers)["traceparent"] == f"00-{identity}-{identity[:16]}-01".encode()


def test_what_a_watermark_caused_has_no_cause_header() -> None:
    body = bar("A")
    produced = Produced(Out(-1, "bars.late", b"A", body["event_id"], body), None)
    (wire,) = wires_of(Effects(outputs=[produced]))
    assert "tape-cause" not in dict(wire.headers)
    assert (dict(wire.headers)["traceparent"] or b"").startswith(f"00-{body['event_id']}".encode())


def test_an_opening_is_a_tombstone_with_the_names_of_who_is_absent() -> None:
    assert not list(opening_wires("bars", T0, [], range(0)))
    wires = list(opening_wires("bars", T0, ["quotes", "chains", "quotes"], range(2)))
    assert [(w.partition, w.key, w.value, w.timestamp) for w in wires] == [
        (partition, WATERMARK_KEY, None, (T0 + MINUTE) // 1000) for partition in range(2)
    ]
    for wire in wires:
        assert punctuation_of(wire.key, wire.value, wire.headers) == Opening(T0, ("chains", "quotes"))
        assert label_of(wire.key, wire.value, wire.headers) is None


def test_a_stage_forwards_an_opening_with_all_its_names_behind_its_watermark() -> None:
    spec = TOPOLOGY.stage("features")
    forwarded = [Forward(T0), Forward(T0, ("elsewhere",)), Forward(T0 + MINUTE, ())]
    wires = wires_of(Effects(outputs=[*forwarded]), spec, 1)
    said = [punctuation_of(w.key, w.value, w.headers) for w in wires if w.topic == "features"]
    assert said == [Watermark(T0), Opening(T0, ("elsewhere",)), Opening(T0 + MINUTE, ())]
    assert {w.partition for w in wires} == {1}


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(OPENS_HEADER, None)],
        [(OPENS_HEADER, b"soon")],
        [(OPENS_HEADER, b"60"), (ABSENT_HEADER, None)],
        [(OPENS_HEADER, b"60"), (ABSENT_HEADER, b"no topic")],
        [(OPENS_HEADER, b"60"), (LABEL_HEADER, None)],
    ],
)
def test_an_opening_that_cannot_be_read_is_a_bad_watermark(headers: list[tuple[str, bytes | None]]) -> None:
    with pytest.raises(DeadLetter) as caught:
        punctuation_of(WATERMARK_KEY, None, headers)
    assert caught.value.reason == "BAD_WATERMARK"
