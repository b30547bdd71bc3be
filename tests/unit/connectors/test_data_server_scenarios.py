"""Each scenario of the data server fires, does what its line says, and stops."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tapedeck.connectors.paper.data.scenarios import PLANS, Scenario, Scenarios, listed
from tapedeck.schemas.errors import Fatal
from tests.support.data_server import (
    BEFORE,
    MINUTES,
    Served,
    article,
    data_server,
    iso,
    listen_to_bars,
    plain,
    until,
)
from tests.support.paper import LARGE, MINUTE, OPEN, order


@pytest.fixture
def served() -> Iterator[Served]:
    with data_server() as found:
        yield found


def _stream(served: Served, **channels: list[str]) -> Any:
    return plain(f"{served.ws}/v2/iex", **channels or {"bars": ["*"], "updatedBars": ["*"]})


def _code(served: Served, **how: str) -> int | None:
    """The code with which a log-in is refused; None if it is not."""
    with plain(f"{served.ws}/v2/iex", log_in=False) as ear:
        (answer,) = ear.log_in(**how)
        refused = answer.get("code")
        assert refused is None or ear.is_closed()
        return refused


def test_FLD_D1_ghost_session_cuts_and_blocks_the_key_until_it_is_forgotten(served: Served) -> None:
    served.arm("ghost-session")
    with _stream(served) as ear:
        served.to(1, 1)
        assert ear.is_closed()
    assert served.fired("ghost-session") == 1
    assert _code(served) == 406
    served.to(2, 30)
    assert _code(served) == 406
    served.to(2, 32)
    assert _code(served) is None
    assert len(served.bars()["AMD"]) == 2  # REST has what was missed


def test_FLD_D1_alpaca_pys_stream_comes_back_after_a_ghost(served: Served) -> None:
    ears = listen_to_bars(served)
    served.arm("ghost-session", seconds=60)
    served.to(1, 1)
    until(lambda: served.state()["data"]["errors"].get("406", 0) > 0)
    served.to(2, 30)
    until(lambda: any(each["subscribed"] for each in served.state()["data"]["connections"]))
    served.to(3, 1)
    until(lambda: len(ears.heard) >= 2)


def test_FLD_D2_second_connection_is_refused_and_drops_the_first(served: Served) -> None:
    served.arm("second-connection")
    with _stream(served) as first:
        assert _code(served) == 406
        assert first.next()[0]["code"] == 406
        assert first.is_closed()
    assert served.fired("second-connection") == 1
    assert _code(served) is None


def test_FLD_D3_handshakes_are_answered_429(served: Served) -> None:
    served.arm("handshake-429", count=2)
    for path in ("/v2/iex", "/v1beta1/news"):
        with pytest.raises(InvalidStatus, match="429"), plain(served.ws + path):
            pass
    assert served.fired("handshake-429") == 2
    assert _code(served) is None


def test_FLD_D4_mute_connection_stays_open_without_data_and_a_new_one_hears(served: Served) -> None:
    served.arm("mute", seconds=120)
    with _stream(served) as ear:
        served.to(1, 1)
        served.to(2, 1)
        assert ear.none_more()
        assert ear.subscribe(bars=["AMD"])["T"] == "subscription"
        assert served.fired("mute") == 1
        served.to(3, 2)
        assert {each["t"] for each in ear.next()} == {iso(OPEN + 2 * MINUTE)}
    served.arm("mute")
    with _stream(served) as ear:
        served.to(4, 1)
        assert ear.none_more()
    with _stream(served) as ear:
        served.to(5, 1)
        assert ear.next()


def test_FLD_D5_burst_holds_everything_back_and_sends_it_at_once(served: Served) -> None:
    served.arm("burst", seconds=240)
    with _stream(served) as ear:
        for n in range(1, 5):
            served.to(n, 1)
        assert ear.none_more()
        assert len(served.bars()["AMD"]) == 4  # REST is not held
        served.to(5, 1)
        times = [each["t"] for each in ear.next() if each["S"] == "AMD"]
        assert times == [iso(OPEN + n * MINUTE) for n in range(5)]
    assert "15 messages at once" in str(served.state()["data"]["scenarios"]["fired"])


def test_FLD_D6_slow_client_is_told_407_and_cut(served: Served) -> None:
    served.arm("slow-client-cut")
    with _stream(served) as ear:
        served.to(1, 1)
        assert ear.next() == [{"T": "error", "code": 407, "msg": "slow client"}]
        assert ear.is_closed()
    assert served.fired("slow-client-cut") == 1


def test_FLD_D7_subscription_over_the_symbol_limit_changes_nothing(served: Served) -> None:
    served.arm("symbol-limit", limit=1)
    with _stream(served, bars=["AMD"]) as ear:
        for more in (["NVDA"], ["*"]):
            assert ear.subscribe(bars=more) == {"T": "error", "code": 405, "msg": "symbol limit exceeded"}
        assert ear.subscribe(quotes=["AMD"])["bars"] == ["AMD"]
        assert served.fired("symbol-limit") == 2
        assert requests.post(f"{served.url}/_paper/faults", json={"disarm": "symbol-limit"}, timeout=5).ok
        assert ear.subscribe(bars=["NVDA"])["bars"] == ["AMD", "NVDA"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("auth-timeout", 404),
        ("auth-failed", 402),
        ("insufficient-subscription", 409),
        ("connection-limit", 406),
    ],
)
def test_FLD_D8_log_in_is_refused_with_its_code(served: Served, name: str, code: int) -> None:
    served.arm(name)
    assert _code(served) == code
    assert served.fired(name) == 1
    assert _code(served) is None


def test_FLD_D8_error_between_the_data_leaves_the_stream_open(served: Served) -> None:
    served.arm("stream-error", code=409)
    with _stream(served) as ear:
        served.to(1, 1)
        assert ear.next() == [{"T": "error", "code": 409, "msg": "insufficient subscription"}]
        assert len(ear.next()) == 2


@pytest.mark.parametrize(("name", "kind"), [("late-revision", "u"), ("double-bar", "b")])
def test_FLD_D9_D10_preliminary_bar_is_followed_by_the_tapes_own(
    served: Served, name: str, kind: str
) -> None:
    served.arm(name, symbol="NVDA")
    with _stream(served) as ear:
        served.to(1, 1)
        preliminary = next(each for each in ear.next() if each["S"] == "NVDA")
        assert (preliminary["T"], preliminary["v"]) == ("b", 900)
        assert served.bars()["NVDA"][0]["v"] == 900
        served.to(1, 31)
        (final,) = ear.next()
        assert (final["T"], final["t"], final["v"]) == (kind, preliminary["t"], 1_000)
        assert served.bars()["NVDA"][0]["v"] == 1_000
    assert served.fired(name) == 1


def test_FLD_D9_in_one_jump_of_the_clock_the_order_is_the_same(served: Served) -> None:
    served.arm("late-revision", count=4)
    with _stream(served) as ear:
        served.to(MINUTES + 2)
        kinds = [(each["T"], each["t"]) for each in ear.next() if each["S"] == "AMD"][:4]
        first, second = iso(OPEN), iso(OPEN + MINUTE)
        assert kinds == [("b", first), ("u", first), ("b", second), ("u", second)]


def test_FLD_D11_missing_minutes_are_in_rest_and_minutes_without_trade_are_not(served: Served) -> None:
    served.arm("missing-minutes", count=1, symbol="AMD")
    served.arm("no-trade-minutes", count=1, symbol="NVDA")
    with _stream(served) as ear:
        served.to(1, 1)
        assert ear.none_more()
        assert list(served.bars()) == ["AMD"]
        served.to(2, 1)
        assert len(ear.next()) == 2
    assert served.fired("missing-minutes") == served.fired("no-trade-minutes") == 1


def test_FLD_D12_rest_is_late_by_the_seconds_that_are_told(served: Served) -> None:
    served.arm("late-rest", count=1)
    served.to(2, 1)
    assert [len(rows) for rows in served.bars().values()] == [1, 1]
    assert [len(rows) for rows in served.bars().values()] == [2, 2]
    assert served.fired("late-rest") == 1


def test_FLD_D13_a_whole_day_is_missing_then_back(served: Served) -> None:
    served.arm("missing-day", count=2)
    served.to(2, 1)
    counts = [len(served.bars(start=iso(BEFORE))["AMD"]) for _ in range(3)]
    assert counts == [2, 2, 12]


def test_FLD_D14_halt_is_in_statuses_and_bars_and_quotes_stop_until_it_ends(served: Served) -> None:
    served.arm("halt", symbol="NVDA", seconds=150)
    with _stream(served, statuses=["*"], bars=["NVDA"], quotes=["NVDA"]) as ear:
        served.to(1)  # the quote of the first minute begins the halt
        (halted,) = ear.next()
        assert (halted["T"], halted["S"], halted["sc"], halted["rc"]) == ("s", "NVDA", "H", "T1")
        served.to(3)
        assert ear.none_more()
        served.to(5, 1)
        kinds = [(each["T"], each.get("sc")) for each in ear.next()]
        assert kinds[:2] == [("s", "T"), ("q", None)]
        assert [raw["t"] for raw in served.bars()["NVDA"]] == [iso(OPEN + 4 * MINUTE)]
        assert len(served.bars()["AMD"]) == 5
    assert served.fired("halt") == 1


def test_FLD_D16_recent_sip_data_is_refused_with_403_and_older_is_not(served: Served) -> None:
    served.arm("sip-15min-403")
    served.to(30)
    answer = served.ask("/v2/stocks/bars", symbols="AMD", timeframe="1Min", feed="sip")
    assert answer.status_code == 403
    assert "recent SIP data" in answer.json()["message"]
    older = {"symbols": "AMD", "timeframe": "1Min", "feed": "sip", "end": iso(OPEN + 14 * MINUTE)}
    assert served.ask("/v2/stocks/bars", **older).status_code == 200
    for path in ("quotes/latest", "bars/latest", "snapshots"):
        assert served.ask(f"/v2/stocks/{path}", symbols="AMD", feed="sip").status_code == 403
        assert served.ask(f"/v2/stocks/{path}", symbols="AMD", feed="iex").status_code == 200
    assert served.fired("sip-15min-403") == 4


def test_FLD_D25_trade_update_without_data_is_sent_and_the_next_is_whole(served: Served) -> None:
    served.arm("null-updates")
    with connect(f"{served.ws}/stream") as ear:
        data = {"key_id": LARGE.key, "secret_key": LARGE.secret}
        for asked in (
            {"action": "authenticate", "data": data},
            {"action": "listen", "data": {"streams": ["trade_updates"]}},
        ):
            ear.send(json.dumps(asked))
            ear.recv(5)
        keys = {"APCA-API-KEY-ID": LARGE.key, "APCA-API-SECRET-KEY": LARGE.secret}
        assert requests.post(f"{served.url}/v2/orders", json=order(), headers=keys, timeout=5).ok
        first, second = (json.loads(ear.recv(5)) for _ in range(2))
    assert first == {"stream": "trade_updates", "data": None}
    assert second["data"]["event"] == "fill"
    assert served.fired("null-updates") == 1


def test_stream_is_cut_without_a_close_frame_and_nothing_blocks_the_key(served: Served) -> None:
    served.arm("stream-cut")
    with _stream(served) as ear:
        served.to(1, 1)
        assert ear.is_closed()
        assert ear.socket.close_code in (None, 1006)
    assert _code(served) is None


def test_a_scenario_of_one_endpoint_leaves_the_others_alone() -> None:
    with data_server(news=[article(1, OPEN)], scenarios=["stream-cut:endpoint=news"]) as served:
        with _stream(served) as bars, plain(f"{served.ws}/v1beta1/news", news=["*"]) as news:
            served.to(1, 1)
            assert len(bars.next()) == 2
            assert news.is_closed()
        served.arm("auth-failed", endpoint="news")
        assert _code(served) is None
        assert served.fired("auth-failed") == 0


def test_unknown_type_comes_between_the_data(served: Served) -> None:
    served.arm("unknown-frame")
    with _stream(served) as ear:
        served.to(1, 1)
        assert [each["T"] for each in ear.next()] == ["zz", "b", "b"]


@pytest.mark.parametrize(("name", "status"), [("rest-429", 429), ("rest-500", 500), ("redirects", 302)])
def test_rest_is_refused_as_often_as_told(served: Served, name: str, status: int) -> None:
    served.arm(name, count=2)
    asked = [
        served.ask("/v2/stocks/bars", symbols="AMD", timeframe="1Min", feed="iex").status_code for _ in "123"
    ]
    assert asked == [status, status, 200]
    assert served.fired(name) == 2
    assert served.ask("/v2/account").status_code == 200


def test_revoked_keys_end_streams_and_rest_until_they_are_disarmed(served: Served) -> None:
    with _stream(served) as ear:
        served.arm("revoked-keys")
        served.to(1, 1)
        assert ear.is_closed()
    assert _code(served) == 402
    assert served.ask("/v2/stocks/bars", symbols="AMD", timeframe="1Min").status_code == 401
    requests.post(f"{served.url}/_paper/faults", json={"disarm": "revoked-keys"}, timeout=5)
    assert _code(served) is None


def test_scenarios_are_armed_at_the_start_by_name() -> None:
    with data_server(scenarios=["auth-failed", "late-rest:count=7,seconds=9"]) as served:
        armed = served.state()["data"]["scenarios"]["armed"]
        assert [(each["scenario"], each["left"]) for each in armed] == [("auth-failed", 1), ("late-rest", 7)]
        assert _code(served) == 402


def test_unknown_scenario_or_setting_is_refused_with_what_is_near(served: Served) -> None:
    with pytest.raises(Fatal, match="did you mean ghost-session"):
        Scenarios(["gost-sesion"])
    with pytest.raises(Fatal, match="tape exchange --scenarios"):
        Scenarios(["xqzw"])
    with pytest.raises(Fatal, match="write halt:seconds=60"):
        Scenarios(["halt:soon"])
    for body, words in (
        ({"scenario": "haltt"}, "did you mean halt"),
        ({"scenario": "halt", "minutes": 5}, "no such setting; got 'minutes'"),
        ({"scenario": "halt", "seconds": -1}, "not a setting of halt; got -1"),
        ({"disarm": "haltt"}, "did you mean halt"),
    ):
        answer = requests.post(f"{served.url}/_paper/faults", json=body, timeout=5)
        assert (answer.status_code, words in answer.text) == (400, True), answer.text


def test_every_scenario_is_listed_with_its_case_and_a_line() -> None:
    assert set(PLANS) == set(Scenario)
    lines = listed()
    assert len(lines) == len(Scenario)
    assert all(len(line) <= 120 for line in lines)
    assert next(line for line in lines if line.startswith("ghost-session")).split()[1] == "D1"


def test_what_fired_is_remembered_within_a_bound() -> None:
    scenarios = Scenarios()
    scenarios.arm("sip-15min-403")
    for at in range(2_000):
        assert scenarios.take(Scenario.SIP_15MIN_403, at)
    assert (len(scenarios.fired), scenarios.counts[Scenario.SIP_15MIN_403]) == (1_000, 2_000)
