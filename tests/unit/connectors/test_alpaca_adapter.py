"""The adapter over alpaca-py: one request a call, bounded in time, every outcome named, secrets kept."""

import logging
import time
from collections.abc import Iterator
from decimal import Decimal as D

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient

from tapedeck.connectors.alpaca import rest, trading
from tapedeck.connectors.alpaca.trading import AlpacaBroker
from tapedeck.connectors.alpaca.updates import TradeUpdates
from tapedeck.connectors.broker import ChainQuery, Doubt, NewOrder, RateLimited, Refused
from tapedeck.connectors.credentials import Credentials, Keys
from tapedeck.connectors.paper.book import PaperAccount
from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.faults import Fault
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.accounts import LIVE_URL, PAPER_URL, Mode, is_loopback
from tapedeck.streams.stages.account.rules.orders import PositionIntent, Side
from tests.support.paper import CALL, DAY, LARGE, LARGE_KEYS, TEN, TINY, StepClock, exchange, serving, state


@pytest.fixture
def paper() -> PaperExchange:
    return exchange()


@pytest.fixture
def url(paper: PaperExchange) -> Iterator[str]:
    with serving(paper, StepClock(TEN)) as address:
        yield address


def _buy(client_order_id: str = "td1-a") -> NewOrder:
    return NewOrder(
        client_order_id=client_order_id, instrument=CALL, side=Side.BUY,
        intent=PositionIntent.BUY_TO_OPEN, qty=D(1), limit_price=D("2.10"),
    )  # fmt: skip


def test_private_names_that_the_adapter_mends_are_still_there() -> None:
    client = TradingClient("key", "secret", url_override="http://127.0.0.1:1")
    assert client._retry == 3, "alpaca-py changed its retries: look at AlpacaBroker again"
    assert isinstance(client._session, requests.Session)


def test_every_client_of_the_adapter_repeats_nothing_and_is_bounded(url: str) -> None:
    broker = AlpacaBroker(url, LARGE_KEYS)
    for client in (broker._trading, broker._stocks, broker._options):
        assert client._retry == 0
        assert not client._session.trust_env
        for scheme in ("http://", "https://"):
            adapter = client._session.get_adapter(f"{scheme}127.0.0.1/")
            assert isinstance(adapter, rest.BoundedAdapter)
            assert adapter.max_retries.total == 0


def test_write_fits_into_the_shortest_rest_of_a_lease() -> None:
    from tapedeck.connectors.dispatch.lease import LEAST_LEFT_S

    assert rest.CONNECT_S + rest.WRITE_S < LEAST_LEFT_S


@pytest.mark.parametrize("fault", [Fault.GATEWAY_TIMEOUT_AFTER, Fault.RATE_LIMIT, Fault.DROP_AFTER])
def test_post_is_sent_once_whatever_the_answer(paper: PaperExchange, url: str, fault: Fault) -> None:
    paper.faults.arm(fault, operation="submit", count=5)
    with pytest.raises((Doubt, RateLimited)):
        AlpacaBroker(url, LARGE_KEYS).submit(_buy())
    assert state(url)["requests"]["submit"] == 1
    assert paper.faults.fired[fault] == 1


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Date": "Tue, 17 Feb 2026 15:00:00 GMT", "X-RateLimit-Reset": "1771340411"}, 11.0),
        ({"Date": "Tue, 17 Feb 2026 15:00:00 GMT", "X-RateLimit-Reset": "1771340300"}, 0.0),
        ({"X-RateLimit-Reset": "1771340411"}, None),
        ({}, None),
    ],
)
def test_refused_rate_says_how_long_to_wait(headers: dict[str, str], wait: float | None) -> None:
    answer = requests.Response()
    answer.status_code = 429
    answer.headers.update(headers)
    refusal = APIError('{"code": 42910000, "message": "slow"}', requests.HTTPError(response=answer))

    def refused() -> None:
        raise refusal

    with pytest.raises(RateLimited) as caught:
        rest.asked(str, refused)
    assert caught.value.wait_s == wait


def test_plain_alpaca_py_would_have_repeated_the_post(paper: PaperExchange, url: str) -> None:
    client = TradingClient(LARGE.key, LARGE.secret, url_override=url)
    client._retry_wait = 0
    paper.faults.arm(Fault.GATEWAY_TIMEOUT_AFTER, operation="submit", count=9)
    with pytest.raises(APIError):
        client.post("/orders", {"symbol": CALL})
    assert state(url)["requests"]["submit"] == 4


def test_slow_answer_is_a_doubt_within_the_bound(
    paper: PaperExchange, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "WRITE_S", 0.2)
    paper.faults.arm(Fault.DELAY, operation="submit", seconds=1.5)
    broker, began = AlpacaBroker(url, LARGE_KEYS), time.monotonic()
    with pytest.raises(Doubt, match="ReadTimeout"):
        broker.submit(_buy())
    assert time.monotonic() - began < 1.4
    assert broker.order_by_client_id("td1-a").filled_qty == 1


def test_server_that_is_not_there_is_a_doubt() -> None:
    with pytest.raises(Doubt, match="ConnectionError"):
        AlpacaBroker("http://127.0.0.1:9", LARGE_KEYS).account()


def test_wrong_credentials_are_refused(url: str) -> None:
    with pytest.raises(Refused) as refused:
        AlpacaBroker(url, Credentials(key=LARGE.key, secret="wrong")).account()
    assert refused.value.status == 401


def test_answer_that_cannot_be_read_is_a_doubt(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = AlpacaBroker(url, LARGE_KEYS)
    monkeypatch.setattr(broker._trading, "get_account", lambda: {"status": "ACTIVE"})
    with pytest.raises(Doubt, match="account_number"):
        broker.account()


def test_every_page_of_a_chain_is_read(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trading, "_CONTRACTS_PAGE", 1)
    broker = AlpacaBroker(url, LARGE_KEYS)
    before = state(url)["requests"].get("contracts", 0)
    query = ChainQuery(
        underlying="NVDA", right=None, expiry_from=DAY, expiry_to=DAY + 60, strike_from=D(1), strike_to=D(999)
    )
    assert len(broker.chain(query).contracts) == 4
    assert state(url)["requests"]["contracts"] - before == 4


@pytest.mark.parametrize(
    ("address", "mode"),
    [
        ("http://127.0.0.1:8765", Mode.PAPER),
        ("http://localhost:8765", Mode.SHADOW),
        ("http://[::1]:8765", Mode.PAPER),
        (PAPER_URL, Mode.PAPER),
        (PAPER_URL, Mode.SHADOW),
    ],
)
def test_paper_is_traded_on_this_machine_and_at_alpacas_paper_address(address: str, mode: Mode) -> None:
    broker = AlpacaBroker(address, LARGE_KEYS, mode=mode)
    data = address if is_loopback(address) else "https://data.alpaca.markets"
    assert broker._trading._base_url == address
    assert {broker._stocks._base_url, broker._options._base_url} == {data}
    TradeUpdates(address, LARGE_KEYS, lambda _: None, lambda *_: None, mode=mode)


@pytest.mark.parametrize(
    ("address", "mode"),
    [
        (LIVE_URL, Mode.PAPER),
        (LIVE_URL, Mode.SHADOW),
        (PAPER_URL, Mode.LIVE),
        ("http://127.0.0.1:8765", Mode.LIVE),
        ("http://127.0.0.1.example.com", Mode.PAPER),
        ("http://127.0.0.1@example.com", Mode.PAPER),
        ("http://0.0.0.0:8765", Mode.PAPER),
        ("embedded", Mode.PAPER),
        ("", Mode.PAPER),
    ],
)
def test_no_mode_is_traded_at_an_address_off_its_list(address: str, mode: Mode) -> None:
    with pytest.raises(Fatal, match="are not sent there"):
        AlpacaBroker(address, LARGE_KEYS, mode=mode, option_feed="opra")
    with pytest.raises(Fatal, match="are not sent there"):
        TradeUpdates(address, LARGE_KEYS, lambda _: None, lambda *_: None, mode=mode)


def test_a_shadow_account_reads_and_sends_nothing(url: str) -> None:
    broker = AlpacaBroker(url, LARGE_KEYS, mode=Mode.SHADOW)
    assert broker.account().number == LARGE.number
    with pytest.raises(Refused, match="a SHADOW account sends nothing"):
        broker.submit(_buy())
    assert "submit" not in state(url)["requests"]


def test_live_takes_no_indicative_quotes() -> None:
    with pytest.raises(Fatal, match="real option quotes only"):
        AlpacaBroker(LIVE_URL, LARGE_KEYS, mode=Mode.LIVE)


def test_beyond_this_machine_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.lan:3128")
    monkeypatch.setenv("http_proxy", "http://proxy.lan:3128")
    assert AlpacaBroker(PAPER_URL, LARGE_KEYS)._trading._session.proxies["https"] == "http://proxy.lan:3128"
    assert not AlpacaBroker("http://127.0.0.1:9", LARGE_KEYS)._trading._session.proxies


def _keys(environment: dict[str, str], of: PaperAccount = LARGE) -> Keys:
    environment |= {"X_KEY": of.key, "X_SECRET": of.secret}
    return Keys("X_KEY", "X_SECRET", environment)


def _rotate(paper: PaperExchange, secret: str) -> None:
    """The broker gives the account another secret: from now on it refuses the old one."""
    book = paper._books[LARGE.number]
    book.account = book.account._replace(secret=secret)


def test_replaced_credentials_are_used_without_a_restart(url: str, paper: PaperExchange) -> None:
    environment: dict[str, str] = {}
    broker = AlpacaBroker(url, _keys(environment))
    assert broker.account().number == LARGE.number
    _rotate(paper, "secret-large-2")
    with pytest.raises(Refused) as refused:
        broker.positions()
    assert refused.value.status == 401
    environment["X_SECRET"] = "secret-large-2"
    assert broker.positions() == []
    assert broker.submit(_buy()).client_order_id == "td1-a"
    assert state(url)["requests"]["submit"] == 1


def test_credentials_of_another_account_send_and_read_nothing(url: str) -> None:
    environment: dict[str, str] = {}
    broker = AlpacaBroker(url, _keys(environment))
    broker.account()
    environment |= {"X_KEY": TINY.key, "X_SECRET": TINY.secret}
    for call in (lambda: broker.submit(_buy()), lambda: broker.cancel("x"), broker.positions):
        with pytest.raises(Refused, match="not sent: the replaced credentials reach account PAPER-TINY"):
            call()
    asked = state(url)["requests"]
    assert "submit" not in asked and "cancel" not in asked and "positions" not in asked
    assert broker.account().number == TINY.number, "so that the identity check sees it"
    environment |= {"X_KEY": LARGE.key, "X_SECRET": LARGE.secret}
    assert broker.submit(_buy()).client_order_id == "td1-a"


def test_quantity_that_is_not_whole_never_leaves(url: str) -> None:
    half = NewOrder(
        client_order_id="td1-h", instrument="AMD", side=Side.BUY,
        intent=PositionIntent.BUY_TO_OPEN, qty=D("0.5"), limit_price=D(100),
    )  # fmt: skip
    with pytest.raises(Refused, match="whole number"):
        AlpacaBroker(url, LARGE_KEYS).submit(half)


def test_secrets_are_in_no_log_no_repr_and_no_error(
    paper: PaperExchange, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    broker = AlpacaBroker(url, LARGE_KEYS)
    broker.submit(_buy())
    shown = [repr(broker), repr(LARGE_KEYS), str(LARGE_KEYS), repr(broker.__dict__)]
    for fault in (Fault.GATEWAY_TIMEOUT_AFTER, Fault.DROP_AFTER, Fault.RATE_LIMIT):
        paper.faults.arm(fault, operation="account")
        with pytest.raises((Doubt, RateLimited)) as caught:
            broker.account()
        shown += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
    assert "POST /v2/orders" in caplog.text  # the log did see the calls
    for text in [caplog.text, *shown]:
        assert LARGE.secret not in text
        assert LARGE.key not in text


def test_it_knows_when_a_call_last_succeeded(url: str) -> None:
    broker = AlpacaBroker(url, LARGE_KEYS)
    assert broker.answered is None
    broker.account()
    first = broker.answered
    assert first is not None and time.monotonic() - first < 5
    stranger = AlpacaBroker(url, Credentials(key="nobody", secret="nothing"))
    with pytest.raises(Refused):
        stranger.account()
    assert stranger.answered is None, "a refusal is no success"
