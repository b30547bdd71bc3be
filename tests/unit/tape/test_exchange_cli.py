"""``tape exchange`` as people and the stack start it."""

import os
import signal
import subprocess
import sys
from datetime import date
from decimal import Decimal as D
from pathlib import Path

import pytest
import requests
from typer.testing import CliRunner

from tapedeck.connectors.alpaca.trading import AlpacaBroker
from tapedeck.connectors.broker import NewOrder, RateLimited
from tapedeck.connectors.credentials import Credentials
from tapedeck.connectors.paper.data.articles import Article, NewsList
from tapedeck.connectors.paper.data.scenarios import Scenario
from tapedeck.connectors.paper.faults import Fault
from tapedeck.connectors.paper.remote import RemoteExchange
from tapedeck.connectors.tapes.source import TapeSource
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import day_number
from tapedeck.streams.stages.account.rules.orders import PositionIntent, Side
from tapedeck.tape.cli.exchange import open_accounts, with_history
from tapedeck.tape.cli.main import app

KEYS = {"TAPE_LARGE_KEY": "kl", "TAPE_LARGE_SECRET": "sl", "TAPE_TINY_KEY": "kt", "TAPE_TINY_SECRET": "st"}


def test_accounts_open_with_the_cash_of_their_tier_or_as_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    config = Config(accounts=EXAMPLE_ACCOUNTS)
    opened = {account.number: account.cash for account in open_accounts(config, {"tiny": D(7)})}
    assert opened == {"PAPER-LARGE": 100_000, "PAPER-TINY": 7}
    with pytest.raises(Fatal, match="nobody"):
        open_accounts(config, {"nobody": D(1)})


def test_account_without_credentials_is_refused_by_the_name_of_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TAPE_LARGE_KEY", raising=False)
    with pytest.raises(Fatal, match="TAPE_LARGE_KEY"):
        open_accounts(Config(accounts=EXAMPLE_ACCOUNTS), {})


def test_exchange_serves_the_synthetic_market_and_stops_on_a_signal(tmp_path: Path) -> None:
    config = tmp_path / "tape.toml"
    config.write_text(Config(accounts=EXAMPLE_ACCOUNTS).to_toml())
    environment = os.environ | KEYS | {
        "TAPE_CONFIG": str(config),
        "TAPE_HOME": str(tmp_path),
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    news = tmp_path / "news.jsonl"
    NewsList([Article(id=7, created_at=10**15, updated_at=10**15, headline="first")]).write(news)
    command = [sys.executable, "-m", "tapedeck", "exchange", "--port", "0"]
    command += ["--news", str(news), "--scenario", "missing-minutes:count=1"]
    command += ["--fault", "WRONG_ACCOUNT:account=PAPER-TINY", "--calls-per-minute", "60"]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        market, served = process.stdout.readline(), process.stdout.readline()
        assert "synthetic" in market
        url = served.rsplit(" ", 1)[1].strip()
        now = requests.get(f"{url}/_paper/state", timeout=5).json()["now"]
        label = now - now % 60_000_000 + 10 * 60_000_000
        moved = requests.post(f"{url}/_paper/advance", json={"label": label}, timeout=5).json()["now"]
        assert moved >= label + 60_000_000
        brokers = [AlpacaBroker(url, Credentials(key="kt", secret="st")) for _ in range(2)]
        assert [each.account().number for each in brokers] == ["WRONG-PAPER-TINY", "PAPER-TINY"]
        broker = brokers[1]
        assert broker.account().cash == 5_000
        keys = {"APCA-API-KEY-ID": "kt", "APCA-API-SECRET-KEY": "st"}
        asked = {"symbols": "NVDA", "timeframe": "1Min", "feed": "iex"}
        bars = requests.get(f"{url}/v2/stocks/bars", params=asked, headers=keys, timeout=5).json()["bars"]
        assert 0 < len(bars["NVDA"]) <= 11
        (article,) = requests.get(f"{url}/v1beta1/news", headers=keys, timeout=5).json()["news"]
        assert article["id"] == 7
        data = requests.get(f"{url}/_paper/state", timeout=5).json()["data"]
        assert data["scenarios"]["counts"] == {"missing-minutes": 1}
        assert broker.quote("NVDA").origin.startswith("synthetic/")
        with pytest.raises(RateLimited) as limited:
            for _ in range(60):
                broker.clock()
        assert limited.value.wait_s is not None and 0 < limited.value.wait_s <= 61
        process.send_signal(signal.SIGTERM)
        out, error = process.communicate(timeout=10)
    finally:
        process.kill()
    assert process.returncode == 0
    for secret in ("sl", "st"):
        assert f" {secret}" not in market + served + out + error


@pytest.mark.parametrize("session", [date(2026, 2, 17), date(2026, 2, 18)])
def test_exchange_that_was_killed_goes_on_with_its_accounts_market_and_time(
    tmp_path: Path, session: date
) -> None:
    config = tmp_path / "tape.toml"
    config.write_text(Config(accounts=EXAMPLE_ACCOUNTS).to_toml())
    environment = os.environ | KEYS | {
        "TAPE_CONFIG": str(config),
        "TAPE_EXCHANGE_FOLDER": str(tmp_path / "exchange"),
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    lives = []
    for life in range(2):
        command = [sys.executable, "-m", "tapedeck", "exchange", "--port", "0"]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            market, served = process.stdout.readline(), process.stdout.readline()
            url = served.rsplit(" ", 1)[1].strip()
            broker = AlpacaBroker(url, Credentials(key="kl", secret="sl"))
            if life == 0:
                source = TapeSource(session=session, since=date(2026, 2, 17))
                remote = RemoteExchange(url)
                remote.open_market(source)
                remote.advance(requests.get(f"{url}/_paper/state", timeout=5).json()["now"] + 60 * MINUTE_US)
                broker.submit(
                    NewOrder(
                        client_order_id="td1-a", instrument="AMD", side=Side.BUY, qty=D(3),
                        intent=PositionIntent.BUY_TO_OPEN, limit_price=None,
                    )
                )  # fmt: skip
            else:
                assert f"session of {session}" in market
            now = requests.get(f"{url}/_paper/state", timeout=5).json()["now"]
            lives.append((now, broker.positions(), broker.account().cash, broker.activities(0)))
        finally:
            process.kill()
            process.wait()
    (before, *held), (after, *again) = lives
    assert held == again and held[0]
    assert before - 60_000_000 <= after <= before + 60_000_000


def test_scenarios_are_listed_and_an_unknown_one_is_refused_with_what_is_near() -> None:
    listed = CliRunner().invoke(app, ["exchange", "--scenarios"])
    assert listed.exit_code == 0
    assert [line.split()[0] for line in listed.output.splitlines()] == list(Scenario)
    refused = CliRunner().invoke(app, ["exchange", "--scenario", "gost-session"])
    assert "did you mean ghost-session" in str(refused.exception)


def test_faults_are_listed_and_an_unknown_one_or_setting_is_refused_with_what_is_near() -> None:
    listed = CliRunner().invoke(app, ["exchange", "--faults"])
    assert listed.exit_code == 0
    assert [line.split()[0] for line in listed.output.splitlines()] == list(Fault)
    for text, words in (
        ("CANCEL_FILED", "did you mean CANCEL_FILLED"),
        ("REJECT:often=2", "it takes count, skip, seconds"),
        ("REJECT:count=two", "whole numbers"),
        ("REJECT:count", "write REJECT:seconds=60"),
        ("REJECT:count=0", "count starts at 1"),
    ):
        refused = CliRunner().invoke(app, ["exchange", "--fault", text])
        assert words in str(refused.exception), text


def test_a_temper_that_does_not_exist_is_refused() -> None:
    refused = CliRunner().invoke(app, ["exchange", "--temper", "grumpy"])
    assert refused.exit_code == 2 and "rough" in refused.output


def test_history_is_the_tapes_of_the_sessions_before_and_needs_a_session_to_end_at() -> None:
    source = TapeSource(session=date(2026, 2, 17))
    served, earlier = with_history(source, date(2026, 2, 13))
    (before,) = earlier
    assert (served.session, before.session) == (source.session, day_number(date(2026, 2, 13)))
    assert with_history(source, None)[0] == source
    with pytest.raises(Fatal, match="begins after the session"):
        with_history(source, date(2026, 2, 18))
    with pytest.raises(Fatal, match="--session"):
        with_history(TapeSource(tape="market.parquet"), date(2026, 2, 13))
