"""``tape config diff`` and ``tape config show --redacted``."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tapedeck.connectors.secrets import without_secrets
from tapedeck.streams.config.deployment import Deployment
from tapedeck.streams.config.difference import Difference, differences
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.config.groups import GapFade
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.cli.main import app
from tests.support.places import here

__all__ = ["here"]
URL = "postgresql://ada:s3cret@db:5432/audit"


def written(folder: Path, name: str, config: Config) -> str:
    path = folder / name
    path.write_text(config.to_toml())
    return str(path)


def changed(name: str, parameter: str, value: object) -> Config:
    base = Config(accounts=EXAMPLE_ACCOUNTS)
    group = getattr(base, name)
    return base.model_copy(update={name: group.model_copy(update={parameter: value})})


def test_equal_documents_differ_in_nothing_and_exit_with_0(here: Path) -> None:
    same = written(here, "a.toml", Config(accounts=EXAMPLE_ACCOUNTS))
    other = written(here, "b.toml", Config(accounts=EXAMPLE_ACCOUNTS))
    ran = CliRunner().invoke(app, ["config", "diff", same, other])
    assert ran.exit_code == 0, ran.output
    assert "0 parameters differ" in ran.output


def test_a_changed_rule_is_told_with_both_values_its_stages_and_exit_1(here: Path) -> None:
    parameter = next(name for name, f in GapFade.model_fields.items() if f.annotation is bool)
    base = Config(accounts=EXAMPLE_ACCOUNTS)
    new = changed("gap_fade", parameter, not getattr(base.gap_fade, parameter))
    ran = CliRunner().invoke(
        app, ["config", "diff", written(here, "a.toml", base), written(here, "b.toml", new)]
    )
    assert ran.exit_code == 1, ran.output
    (row,) = [line for line in ran.output.splitlines() if line.startswith("gap_fade.")]
    now = str(getattr(new.gap_fade, parameter)).lower()
    before = "false" if now == "true" else "true"
    assert row.split() == [f"gap_fade.{parameter}", before, now, "yes", "signals,", "account"]
    assert f"digest {base.digest} -> {new.digest}" in ran.output


def test_a_changed_place_is_no_rule_and_its_password_is_hidden(here: Path) -> None:
    old = Config(deployment=Deployment(database=URL))
    new = Config(deployment=Deployment(database=URL.replace("db:", "db2:")))
    ran = CliRunner().invoke(
        app, ["config", "diff", written(here, "a.toml", old), written(here, "b.toml", new)]
    )
    assert ran.exit_code == 1
    assert "s3cret" not in ran.output and "ada:***@db2:5432" in ran.output
    (found,) = differences(old, new, TOPOLOGY)
    assert found == Difference("deployment.database", URL, URL.replace("db:", "db2:"), (), False)


def test_accounts_are_compared_by_their_names_and_not_by_their_place() -> None:
    old = Config(accounts=EXAMPLE_ACCOUNTS)
    assert differences(old, Config(accounts=EXAMPLE_ACCOUNTS), TOPOLOGY) == ()
    fewer = differences(old, Config(accounts=EXAMPLE_ACCOUNTS[1:]), TOPOLOGY)
    gone = EXAMPLE_ACCOUNTS[0].account_id
    assert fewer and {each.path.partition("]")[0] for each in fewer} == {f"accounts[{gone}"}
    assert {each.new for each in fewer} == {"-"} and fewer[0].stages == ("account",)


def test_the_document_in_use_is_shown_without_passwords_and_account_numbers(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(accounts=EXAMPLE_ACCOUNTS, deployment=Deployment(database=URL))
    monkeypatch.setenv("TAPE_CONFIG", written(here, "tape.toml", config))
    ran = CliRunner().invoke(app, ["config", "show", "--redacted"])
    assert ran.exit_code == 0, ran.output
    assert "s3cret" not in ran.output and "postgresql://ada:***@db:5432/audit" in ran.output
    for account in EXAMPLE_ACCOUNTS:
        assert f'account_id = "{account.account_id}"' in ran.output
        assert f'"{account.broker_account_id}"' not in ran.output


@pytest.mark.parametrize(
    "text, shown",
    [
        ("http://u:p@h/x", "http://u:***@h/x"),
        ("https://h/feed?token=abc&n=1", "https://h/feed?token=***&n=1"),
        ("host=h password=abc", "host=h password=***"),
        ("plain text", "plain text"),
    ],
)
def test_secrets_of_addresses_are_hidden(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
