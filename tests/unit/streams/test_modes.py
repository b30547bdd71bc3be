"""Where an account of each mode may trade, and the triple lock of LIVE. No process is started with it."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tapedeck.agents.settings import Settings
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.errors import ConfigInvalid, Fatal
from tapedeck.streams.config.accounts import LIVE_URL, PAPER_URL, Account, Mode
from tapedeck.streams.config.document import Config, from_dict
from tapedeck.streams.config.examples import example_account
from tapedeck.streams.config.live import FLAG, missing, require_unlocked
from tapedeck.tape.cli.main import app

LOOPBACK = "http://127.0.0.1:8765"


def row(**changes: Any) -> dict[str, Any]:
    """An account as a document spells it, limits of the tier."""
    return {
        "account_id": "big",
        "tier": "large",
        "base_url": "embedded",
        "broker_account_id": "PAPER-BIG",
        "key_ref": "TAPE_BIG_KEY",
        "secret_ref": "TAPE_BIG_SECRET",
    } | changes


LIVE: dict[str, Any] = {"mode": "LIVE", "base_url": LIVE_URL, "option_feed": "opra"}


def live_account(**changes: Any) -> Account:
    return Account.model_validate(row(**LIVE)).model_copy(update=changes)


@pytest.mark.parametrize("mode", ["SHADOW", "PAPER"])
@pytest.mark.parametrize("url", ["embedded", LOOPBACK, "http://localhost:1", PAPER_URL])
def test_paper_and_shadow_reach_this_machine_and_alpacas_paper_trading(mode: str, url: str) -> None:
    config = from_dict({"accounts": [row(mode=mode, base_url=url)]})
    require_unlocked(config.accounts[0], enabled=False, accepted=False)


@pytest.mark.parametrize("mode", ["SHADOW", "PAPER"])
@pytest.mark.parametrize(
    "url",
    [
        LIVE_URL,
        PAPER_URL + "/",
        PAPER_URL + "/v2",
        "http://paper-api.alpaca.markets",
        "https://paper-api.alpaca.markets.example.com",
        "https://paper-api.alpaca.markets@example.com",
        "https://example.com",
        "",
    ],
)
def test_every_other_address_is_refused_in_paper_mode_with_key_and_remedy(mode: str, url: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        from_dict({"accounts": [row(mode=mode, base_url=url)]})
    told = str(refused.value)
    assert "accounts.0.base_url" in told and repr(url) in told
    assert f"mode {mode} trades at 'embedded'" in told and PAPER_URL in told


@pytest.mark.parametrize("url", ["embedded", LOOPBACK, PAPER_URL, LIVE_URL + "/v2"])
def test_live_is_refused_everywhere_but_at_its_own_address(url: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"accounts\.0\.base_url: an account in mode LIVE trades at"):
        from_dict({"live_trading_enabled": True, "accounts": [row(**LIVE | {"base_url": url})]})


def test_a_live_account_is_refused_by_a_document_that_does_not_enable_it() -> None:
    with pytest.raises(ConfigInvalid) as refused:
        from_dict({"accounts": [row(**LIVE)]})
    assert "accounts.big.mode is LIVE" in str(refused.value)
    assert "live_trading_enabled = true" in str(refused.value) and 'mode = "PAPER"' in str(refused.value)


def test_live_refuses_option_quotes_that_are_no_real_ones() -> None:
    with pytest.raises(ConfigInvalid, match="option_feed: LIVE refuses the indicative feed"):
        from_dict({"live_trading_enabled": True, "accounts": [row(**LIVE | {"option_feed": "indicative"})]})


@pytest.mark.parametrize(
    "lacks, key, remedy",
    [
        ({"enabled": False}, "live_trading_enabled = true", 'mode = "PAPER"'),
        ({"accepted": False}, FLAG, f"start `tape dispatch big` with {FLAG}"),
        ({"base_url": LOOPBACK}, "accounts.big.base_url", LIVE_URL),
        ({"base_url": PAPER_URL}, "accounts.big.base_url", LIVE_URL),
    ],
    ids=["the document", "the flag", "the address, here", "the address, paper"],
)
def test_each_of_the_three_consents_is_needed_for_live(lacks: dict[str, Any], key: str, remedy: str) -> None:
    given = {"enabled": True, "accepted": True} | {n: v for n, v in lacks.items() if n != "base_url"}
    account = live_account(**{n: v for n, v in lacks.items() if n == "base_url"})
    with pytest.raises(ConfigInvalid) as refused:
        require_unlocked(account, **given)
    assert key in str(refused.value) and remedy in str(refused.value)


def test_the_three_consents_together_pass_the_lock() -> None:
    require_unlocked(live_account(), enabled=True, accepted=True)
    assert len(list(missing(live_account(base_url=LOOPBACK), enabled=False, accepted=False))) == 3


def test_nothing_that_is_shipped_enables_live() -> None:
    assert Config().live_trading_enabled is False
    assert example_account("a", "tiny").mode is Mode.PAPER
    assert Settings(Cluster("127.0.0.1:1"), Path("x"), Path("y")).accepts_live is False


def test_enabling_live_is_part_of_the_digest_and_its_default_is_not() -> None:
    assert from_dict({"live_trading_enabled": False}).digest == Config().digest
    assert from_dict({"live_trading_enabled": True}).digest != Config().digest


def document(folder: Path, **changes: Any) -> Path:
    """A document as text: ``Config`` would not be made of one that it refuses."""
    lines = [f"live_trading_enabled = {str(changes.pop('enabled', False)).lower()}", "[[accounts]]"]
    lines += [f'{key} = "{value}"' for key, value in row(**changes).items()]
    path = folder / "tape.toml"
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize(
    "enabled, words", [(False, "the document does not say live_trading_enabled"), (True, FLAG)]
)
def test_tape_dispatch_refuses_a_live_account_before_it_connects_to_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, enabled: bool, words: str
) -> None:
    monkeypatch.setenv("TAPE_CONFIG", str(document(tmp_path, enabled=enabled, **LIVE)))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr("tapedeck.tape.cli.dispatch.run", lambda *_, **__: pytest.fail("it was started"))
    refused = CliRunner().invoke(app, ["dispatch", "big"]).exception
    assert isinstance(refused, ConfigInvalid) and words in str(refused)


def test_tape_dispatch_starts_a_paper_account_without_the_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setenv("TAPE_CONFIG", str(document(tmp_path)))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr("tapedeck.tape.cli.dispatch.run", lambda *_, name, **__: started.append(name))
    done = CliRunner().invoke(app, ["dispatch", "big"])
    assert done.exception is None and started == ["dispatch-big"]


def test_the_embedded_exchange_is_on_this_machine() -> None:
    here = Settings(Cluster("127.0.0.1:1"), Path("x"), Path("y"), exchange_url=LOOPBACK)
    assert here.address_of("embedded") == LOOPBACK and here.address_of(PAPER_URL) == PAPER_URL
    there = Settings(Cluster("127.0.0.1:1"), Path("x"), Path("y"), exchange_url=LIVE_URL)
    with pytest.raises(Fatal, match="on this machine only"):
        there.address_of("embedded")
