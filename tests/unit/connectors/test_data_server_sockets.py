"""The data server's websocket protocol: log-in, subscriptions, Alpaca's error codes, and bounds."""

from random import Random
from typing import Any, cast

import pytest
from websockets.exceptions import ConnectionClosed

from tapedeck.connectors.paper.data.clients import Client
from tests.support.data_server import MINUTES, data_server, plain
from tests.support.paper import LARGE, TINY


def test_the_protocol_s_errors_have_alpacas_codes() -> None:
    with data_server() as served, plain(f"{served.ws}/v2/iex", log_in=False) as ear:
        ear.next()

        def code() -> int:
            return int(ear.next()[0]["code"])

        ear.send(action="subscribe", bars=["AMD"])
        assert code() == 401
        ear.socket.send("{")
        assert code() == 400
        ear.send(action="auth", key=LARGE.key, secret=LARGE.secret)
        assert ear.next()[0]["msg"] == "authenticated"
        ear.send(action="auth", key=LARGE.key, secret=LARGE.secret)
        assert code() == 403
        ear.send(action="dance")
        assert code() == 400
        ear.send(action="subscribe", bars=["AMD", 7])
        assert code() == 400
        ear.send(action="subscribe", news=["*"])
        assert code() == 410


def test_subscriptions_are_acknowledged_as_they_stand_and_can_be_ended() -> None:
    with data_server() as served, plain(f"{served.ws}/v2/iex") as ear:
        assert ear.subscribe(bars=["NVDA"])["bars"] == ["NVDA"]
        told = ear.subscribe(bars=["AMD", "NVDA"], quotes=["NVDA"], trades=["AMD"])
        assert (told["bars"], told["quotes"], told["statuses"]) == (["NVDA", "AMD"], ["NVDA"], [])
        assert told["corrections"] == told["cancelErrors"] == ["AMD"]
        ear.send(action="unsubscribe", bars=["NVDA"])
        assert ear.next()[0]["bars"] == ["AMD"]
        served.to(1, 1)
        assert [each["S"] for each in ear.next() if each["T"] == "b"] == ["AMD"]


def test_one_connection_per_endpoint_and_key() -> None:
    with data_server() as served, plain(f"{served.ws}/v2/iex"):
        with plain(f"{served.ws}/v2/iex", log_in=False) as second:
            assert second.log_in()[0]["code"] == 406
            assert second.is_closed()
        with plain(f"{served.ws}/v2/sip"):  # another endpoint
            pass
        with plain(f"{served.ws}/v2/iex", log_in=False) as other:
            assert other.log_in(TINY.key, TINY.secret)[0]["msg"] == "authenticated"


def test_who_does_not_log_in_is_closed_with_404() -> None:
    with data_server(auth_s=0.1) as served, plain(f"{served.ws}/v2/iex", log_in=False) as ear:
        ear.next()
        assert ear.next() == [{"T": "error", "code": 404, "msg": "auth timeout"}]
        assert ear.is_closed()


def test_a_client_that_does_not_keep_up_is_cut_with_407_and_nothing_waits_for_it() -> None:
    with data_server(most_waiting=3_000) as served, plain(f"{served.ws}/v2/iex", bars=["*"]) as ear:
        served.to(MINUTES + 1)  # more than may wait
        last: list[dict[str, Any]] = []
        with pytest.raises(ConnectionClosed):
            while True:
                last = ear.next()
        assert last == [{"T": "error", "code": 407, "msg": "slow client"}]
        told = served.state()["data"]
        assert (told["errors"], told["connections"]) == ({"407": 1}, [])


def test_words_of_the_protocol_do_not_wait_without_bound_either() -> None:
    class Gone:
        aborted = 0

        def abort(self) -> None:
            self.aborted += 1

    transport: Any = Gone()
    client = Client(cast(Any, None), transport, endpoint="iex", packed=False, most_waiting=1_000)
    for _ in range(100):
        client.say({"T": "error", "code": 400, "msg": "invalid syntax"})
    assert (transport.aborted, client.told()["waiting_bytes"]) == (1, 0)


def test_what_a_client_subscribes_to_is_bounded() -> None:
    with data_server() as served, plain(f"{served.ws}/v2/iex", bars=["AMD"]) as ear:
        many = [f"S{n}" for n in range(50_000)]
        assert ear.subscribe(bars=many)["code"] == 405
        assert ear.subscribe(quotes=["AMD"])["bars"] == ["AMD"]


@pytest.mark.parametrize("packed", [True, False])
def test_no_frame_of_a_client_ends_the_server_or_goes_unanswered(packed: bool) -> None:
    rng = Random(7)
    values: list[Any] = [None, 7, "x", [], {}, ["AMD"], [None], [["AMD"]], {"a": 1}, True, 1.5, "*", ["*", 1]]
    with data_server() as served, plain(f"{served.ws}/v2/iex", packed=packed) as ear:
        for _ in range(150):
            names = rng.sample(["action", "key", "bars", "quotes", "news", "what"], 3)
            told = {name: rng.choice([*values, "subscribe", "unsubscribe", "auth"]) for name in names}
            ear.send(**told)
            assert ear.next()[0]["T"] in ("error", "subscription"), told
        for data in (b"\xc1", b"\x93", b"", b"\x81\xa1a", "[]", "7", "null", "nonsense"):
            ear.socket.send(data)
            assert ear.next()[0]["code"] == 400, data
