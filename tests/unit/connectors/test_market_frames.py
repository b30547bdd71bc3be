"""Frames of the market-data stream, and REST answers: recorded ones, malformed ones, mutated ones."""

import json
import random
from collections import Counter
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from tapedeck.connectors.alpaca.market import frames
from tapedeck.connectors.alpaca.market.frames import (
    Acknowledged,
    Bar,
    NotOurs,
    Quote,
    Refusal,
    Status,
    Success,
    Unread,
    Unrecognised,
)
from tests.support.cases import shared
from tests.support.mutations import mutated, reworded

BAR = {"T": "b", "S": "NVDA", "o": 1, "h": 2.5, "l": 0.5, "c": 2, "v": 10, "t": "2026-02-17T14:30:00Z"}
T = 1_771_338_600_000_000


def read(*messages: Any) -> list[frames.Value]:
    return frames.read(json.dumps(messages))


def test_bars_updates_quotes_and_statuses_become_typed_values() -> None:
    quote = {"T": "q", "S": "NVDA", "bp": 100.1, "ap": 0, "bs": 3, "as": 0, "t": "2026-02-17T14:30:00.1Z"}
    status = {"T": "s", "S": "NVDA", "sc": "H", "sm": "Halt", "rc": "T1", "t": "2026-02-17T14:30:00Z"}
    assert read(BAR, BAR | {"T": "u"}, quote, status) == [
        Bar("NVDA", T, 1.0, 2.5, 0.5, 2.0, 10.0),
        Bar("NVDA", T, 1.0, 2.5, 0.5, 2.0, 10.0, updated=True),
        Quote("NVDA", T + 100_000, D("100.1"), None, 3, 0),
        Status("NVDA", T, "H", "Halt", "T1"),
    ]


def test_messages_of_the_protocol_become_typed_values() -> None:
    acknowledged = {"T": "subscription", "bars": ["NVDA"], "trades": [], "quotes": None}
    found = read(
        {"T": "success", "msg": "connected"}, {"T": "error", "code": 406, "msg": "full"}, acknowledged
    )
    nothing: frozenset[str] = frozenset()
    assert found == [
        Success("connected"),
        Refusal(406, "full"),
        Acknowledged(
            {"bars": frozenset({"NVDA"}), "updatedBars": nothing, "quotes": nothing, "statuses": nothing}
        ),
    ]


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2026-02-17T14:30:00Z", T),
        ("2026-02-17T09:30:00-05:00", T),
        ("2026-02-17T14:30:00.123456789Z", T + 123_456),
        ("2026-02-17T14:30:00.999999999Z", T + 999_999),
        ("2026-02-17T14:30:00.00000001Z", T),
    ],
)
def test_times_are_exact_utc_microseconds(text: str, micros: int) -> None:
    assert read(BAR | {"t": text})[0] == Bar("NVDA", micros, 1.0, 2.5, 0.5, 2.0, 10.0)


@pytest.mark.parametrize(
    "change",
    [
        {"t": "2026-02-17T14:30:00"}, {"t": 5}, {"t": None}, {"t": "2026-02-30T14:30:00Z"}, {"o": "NaN"},
        {"h": None}, {"v": True}, {"c": "1e999"}, {"S": ""}, {"S": "nvda"}, {"S": None}, {"S": ["NVDA"]},
        {"o": {"a": 1}}, {"T": 5}, {"T": ["b"]}, {"T": None},
    ],
)  # fmt: skip
def test_an_unreadable_message_is_kept_raw_beside_the_others(change: dict[str, Any]) -> None:
    broken, whole = read(BAR | change, BAR)
    assert isinstance(broken, Unread) and broken.raw == json.dumps(BAR | change).encode()
    assert isinstance(whole, Bar)


@pytest.mark.parametrize(
    "frame", [b"", b"\xff\xfe", b"{", "[" * 100_000, "5", "null", '"b"', '[{"T":"b","o":NaN}]', "\ud800"]
)
def test_a_frame_that_is_no_list_of_messages_is_kept_raw(frame: str | bytes) -> None:
    (found,) = frames.read(frame)
    raw = frame if isinstance(frame, bytes) else frame.encode(errors="surrogatepass")
    assert isinstance(found, Unread) and found.raw == raw and found.error


def test_words_that_cannot_be_stored_are_replaced() -> None:
    (found,) = frames.read('[{"T":"s","S":"NVDA","sc":"H","sm":"\\ud800","t":"2026-02-17T14:30:00Z"}]')
    assert isinstance(found, Status) and found.message == "?"


def test_known_kinds_that_are_not_used_are_named_and_others_are_unrecognised() -> None:
    assert read({"T": "t"}, {"T": "x"}) == [NotOurs("trades"), NotOurs("cancelErrors")]
    (found,) = read({"T": "zz", "a": 1})
    assert isinstance(found, Unrecognised) and found.raw == b'{"T": "zz", "a": 1}'


def test_pages_of_bars_and_quotes_are_read_in_both_forms() -> None:
    plain = {name: value for name, value in BAR.items() if name not in "TS"}
    expected = Bar("NVDA", T, 1.0, 2.5, 0.5, 2.0, 10.0)
    assert frames.bars({"bars": {"NVDA": [plain]}}) == frames.bars({"bars": {"NVDA": plain}}) == [expected]
    assert frames.bars({"bars": {}}) == frames.bars({"bars": None}) == []
    assert frames.quotes({"quotes": {"A": {"t": BAR["t"], "bp": 1}}}) == [
        Quote("A", T, D(1), None, None, None)
    ]
    (lost,) = frames.bars({"message": "no"})
    assert isinstance(lost, Unread)
    assert frames.next_page({"next_page_token": None}) is frames.next_page([]) is None
    assert frames.next_page({"next_page_token": "a"}) == "a"


def _recorded(pattern: str) -> list[Path]:
    return sorted(shared("alpaca_payloads").glob(pattern))


STREAMED = {"01_b": Bar, "02_t": NotOurs, "03_q": Quote, "04_o": NotOurs, "05_s": Status, "06_x": NotOurs,
            "07_n": NotOurs, "08_b": Bar}  # fmt: skip


def test_every_recorded_message_of_a_data_stream_parses() -> None:
    files = _recorded("ws_data_*.json")
    outcomes = {path.stem.removeprefix("ws_data_"): frames.read(path.read_bytes()) for path in files}
    assert {name: type(found[0]) for name, found in outcomes.items()} == STREAMED
    assert all(len(found) == 1 for found in outcomes.values())


def test_every_recorded_bar_and_quote_answer_parses() -> None:
    files = [path for path in _recorded("historical_*.json") if "news" not in path.stem]
    counts: Counter[str] = Counter()
    for path in files:
        answer = json.loads(path.read_text())
        for name, parse in (("bars", frames.bars), ("quotes", frames.quotes)):
            if name in answer:
                rows: list[Any] = parse(answer)
                expected = sum(len(r) if isinstance(r, list) else 1 for r in (answer[name] or {}).values())
                assert len(rows) == expected and not any(isinstance(row, Unread) for row in rows), path.stem
                counts[name] += len(rows)
        nested = answer.get("snapshots") or {name: row for name, row in answer.items() if name.isupper()}
        for symbol, snapshot in nested.items():
            for name in ("minuteBar", "dailyBar", "prevDailyBar"):
                if snapshot.get(name):
                    assert frames.bar(symbol, snapshot[name]).t > 0
                    counts["snapshots"] += 1
            if snapshot.get("latestQuote"):
                assert frames.quote(symbol, snapshot["latestQuote"]).time > 0
    assert counts["bars"] > 10 and counts["quotes"] > 5 and counts["snapshots"] > 2


def test_ten_thousand_mutated_messages_never_raise_and_their_outcomes_add_up() -> None:
    rng = random.Random(13)
    files = [*_recorded("ws_data_*.json"), *_recorded("ws_data_*.json")]
    values = [value for path in files if isinstance(value := json.loads(path.read_text()), dict)]
    outcomes: Counter[str] = Counter()
    for number in range(10_000):
        whole = json.dumps([rng.choice(values)]).encode()
        found = frames.read(mutated(whole, rng) if number % 4 else reworded(rng.choice(values), rng))
        assert len(found) >= 1 or number % 4, "a message that is there has an outcome"
        outcomes[" ".join(sorted({_outcome(each) for each in found})) or "an empty frame"] += 1
    assert sum(outcomes.values()) == 10_000
    assert {"applied", "not ours", "UNRECOGNISED", "dead letter"} <= set(outcomes), outcomes


def _outcome(value: frames.Value) -> str:
    match value:
        case NotOurs():
            return "not ours"
        case Unrecognised():
            return "UNRECOGNISED"
        case Unread():
            return "dead letter"
    return "applied"
