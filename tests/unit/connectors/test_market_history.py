"""Historical bars over REST: pages, refused rates, a plan without recent data, answers that are none."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tapedeck.connectors.alpaca import patient
from tapedeck.connectors.alpaca.market.frames import Bar, Unread
from tapedeck.connectors.alpaca.market.history import History
from tapedeck.connectors.broker import Doubt, NotUnderstood, RateLimited, Refused
from tapedeck.connectors.clock import ManualClock
from tapedeck.streams.sessions import micros
from tests.support.market_script import KEYS

MINUTE, SECOND = 60_000_000, 1_000_000
TEN = micros(datetime(2026, 2, 17, 15, tzinfo=UTC))
NOW = TEN + 20 * MINUTE
ROW = {"t": "2026-02-17T15:00:00Z", "o": 1, "h": 2, "l": 1, "c": 2, "v": 3, "n": 1, "vw": 1.5}
RECENT = (403, {}, {"message": "subscription does not permit querying recent SIP data"})
Answer = tuple[int, dict[str, str], Any]


def bars(symbol: str = "NVDA", token: str | None = None, rows: int = 1) -> Answer:
    return 200, {}, {"bars": {symbol: [ROW] * rows}, "next_page_token": token}


class Script:
    """Answers in turn, the last one for ever; every query that came."""

    def __init__(self, answers: tuple[Answer, ...]) -> None:
        self.answers, self.queries = list(answers), list[dict[str, str]]()
        self.paths: list[str] = []
        self.url = ""


@contextmanager
def answering(*answers: Answer) -> Iterator[Script]:
    script = Script(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            script.paths.append(parts.path)
            script.queries.append({name: values[0] for name, values in parse_qs(parts.query).items()})
            status, headers, body = script.answers.pop(0) if len(script.answers) > 1 else script.answers[0]
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    script.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()


def asking(script: Script, feed: str = "iex", **options: Any) -> tuple[History, list[float]]:
    slept: list[float] = []
    options = {"clock": ManualClock(NOW), "sleep": slept.append, "rng": Random(1)} | options
    return History(script.url, feed, KEYS, **options), slept


def test_every_page_is_asked_for_by_its_token_and_names_feed_and_adjustment() -> None:
    with answering(bars(token="a"), bars("AMD", token="b"), bars("AMD")) as script:
        it, slept = asking(script, page=2)
        found = it.bars(("NVDA", "AMD"), TEN, TEN + MINUTE)
    assert [row.symbol for row in found if isinstance(row, Bar)] == ["NVDA", "AMD", "AMD"]
    first, second, third = script.queries
    assert first == {
        "symbols": "NVDA,AMD", "start": "2026-02-17T15:00:00+00:00", "end": "2026-02-17T15:01:00+00:00",
        "timeframe": "1Min", "adjustment": "raw", "feed": "iex", "limit": "2",
    }  # fmt: skip
    assert (second["page_token"], third["page_token"], it.requests, slept) == ("a", "b", 3, [])


def test_many_symbols_are_asked_for_in_parts() -> None:
    symbols = [f"S{n}" for n in range(450)]
    with answering(bars()) as script:
        assert len(asking(script)[0].bars(symbols, TEN, TEN)) == 3
    assert [len(query["symbols"].split(",")) for query in script.queries] == [200, 200, 50]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "4000"}, 90.0),
        ({"Retry-After": "Tue, 17 Feb 2026 15:20:09 GMT"}, 9.0),
        ({"X-RateLimit-Reset": str(NOW // SECOND + 11)}, 11.0),
    ],
)
def test_refused_rate_is_waited_for_as_the_server_says(headers: dict[str, str], seconds: float) -> None:
    with answering((429, headers, {"message": "too many requests."}), bars()) as script:
        it, slept = asking(script)
        assert len(it.bars(("NVDA",), TEN, TEN)) == 1
    assert slept == [seconds] and it.waited == 1


def test_pages_that_were_given_stay_where_a_later_one_is_refused_for_a_while() -> None:
    with answering(
        bars(token="a"), (429, {}, {"message": "slow"}), (502, {}, b"bad gateway"), bars()
    ) as script:
        it, slept = asking(script)
        assert len(it.bars(("NVDA",), TEN, TEN)) == 2
    assert [query.get("page_token") for query in script.queries] == [None, "a", "a", "a"]
    assert 0.5 <= slept[0] <= 1.0 <= slept[1] <= 2.0, "equal jitter"


@pytest.mark.parametrize(("status", "error"), [(429, RateLimited), (500, Doubt)])
def test_tries_end_and_the_last_outcome_is_named(status: int, error: type[Exception]) -> None:
    with answering((status, {}, {"message": "no"})) as script:
        it, slept = asking(script, attempts=3)
        with pytest.raises(error):
            it.bars(("NVDA",), TEN, TEN)
    assert (len(script.queries), len(slept)) == (3, 2)


@pytest.mark.parametrize("status", [400, 401, 403, 422])
def test_definite_no_is_not_tried_again(status: int) -> None:
    with answering((status, {}, {"message": "no"})) as script:
        it, slept = asking(script)
        with pytest.raises(Refused, match="no"):
            it.bars(("NVDA",), TEN, TEN)
    assert len(script.queries) == 1 and slept == []


def test_silent_server_is_a_doubt_within_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(patient, "READ_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        script = Script(())
        script.url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        it, began = asking(script, attempts=1)[0], time.monotonic()
        with pytest.raises(Doubt, match="no answer"):
            it.bars(("NVDA",), TEN, TEN)
    assert time.monotonic() - began < 5.0


@pytest.mark.parametrize("body", [[], None, 5, "bars"])
def test_answer_of_another_shape_is_not_understood(body: Any) -> None:
    with answering((200, {}, body)) as script, pytest.raises(NotUnderstood):
        asking(script)[0].bars(("NVDA",), TEN, TEN)


def test_unreadable_rows_are_kept_beside_the_others() -> None:
    rows = [ROW, {**ROW, "o": None}, 5]
    with answering((200, {}, {"bars": {"NVDA": rows}, "next_page_token": None})) as script:
        found = asking(script)[0].bars(("NVDA",), TEN, TEN)
    assert [type(row) for row in found] == [Bar, Unread, Unread]


def test_latest_bars_name_the_feed() -> None:
    with answering((200, {}, {"bars": {"NVDA": ROW}})) as script:
        (row,) = asking(script)[0].latest(("NVDA",))
    assert isinstance(row, Bar) and row.t == TEN
    assert (script.paths, script.queries[0]["feed"]) == (["/v2/stocks/bars/latest"], "iex")


def test_FLD_D16_plan_without_recent_sip_data_is_found_by_one_probe_and_questions_end_before() -> None:
    with answering(RECENT, bars()) as script:
        it, _ = asking(script, "sip")
        assert it.probe() == 16 * 60
        it.bars(("NVDA",), TEN, NOW)
        assert it.bars(("NVDA",), NOW - MINUTE, NOW) == [], "nothing to ask: all of it would be refused"
    refused, asked = script.queries
    assert refused["end"] == "2026-02-17T15:20:00+00:00", "the probe asked for what is refused"
    assert asked["end"] == "2026-02-17T15:04:00+00:00" and asked["feed"] == "sip"


def test_FLD_D16_plan_with_recent_data_is_not_clamped() -> None:
    with answering(bars()) as script:
        it, _ = asking(script, "sip")
        assert it.probe() == 0.0
        it.bars(("NVDA",), TEN, NOW)
    assert script.queries[1]["end"] == "2026-02-17T15:20:00+00:00"


def test_FLD_D16_refusal_that_comes_later_is_clamped_too_and_only_once() -> None:
    with answering(bars(), RECENT, bars()) as script:
        it, _ = asking(script, "sip")
        it.probe()
        assert len(it.bars(("NVDA",), TEN, NOW)) == 1
    assert len(script.queries) == 3 and it.recent_s == 960
    with answering(RECENT) as script, pytest.raises(Refused):
        asking(script, "sip")[0].bars(("NVDA",), TEN, TEN)


def test_keys_are_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    with answering((401, {}, {"message": "forbidden."})) as script:
        it, _ = asking(script)
        with pytest.raises(Refused) as caught:
            it.probe()
    assert KEYS.secret not in f"{caught.value}{caplog.text}{it!r}"
