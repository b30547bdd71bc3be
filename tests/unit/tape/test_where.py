"""Where a command looks: what was typed, the environment, the document, then the stack that runs here."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tapedeck.connectors.kafka import identity as identity_of_cluster
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.deployment import Deployment
from tapedeck.streams.config.document import Config
from tapedeck.tape.cli import pipeline
from tapedeck.tape.cli.main import app
from tapedeck.tape.local.places import stack_folder
from tapedeck.tape.local.where import look
from tests.support.places import here, runs

__all__ = ["here"]


def document(path: Path, **deployment: object) -> str:
    path.write_text(Config(deployment=Deployment.model_validate(deployment)).to_toml())
    return str(path)


def test_each_place_has_precedence_over_those_behind_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = here / ".tape" / "local"
    runs(folder, prefix="p0")
    assert look().values["KAFKA_BOOTSTRAP_SERVERS"] == ("127.0.0.1:20001", f"the local stack in {folder}")
    named = document(here / "tape.toml", kafka="k1:9092", prefix="p1")
    monkeypatch.setenv("TAPE_CONFIG", named)
    assert look().values["KAFKA_BOOTSTRAP_SERVERS"] == ("k1:9092", f"[deployment] of {named}")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "k2:9092")
    assert look().values["KAFKA_BOOTSTRAP_SERVERS"] == ("k2:9092", "KAFKA_BOOTSTRAP_SERVERS")
    typed = look({"KAFKA_BOOTSTRAP_SERVERS": "k3:9092", "TAPE_PREFIX": ""})
    assert typed.values["KAFKA_BOOTSTRAP_SERVERS"] == ("k3:9092", "--bootstrap")
    assert typed.cluster().prefix == "", "an empty option is an option"
    assert look().cluster().prefix == "p1"


def test_a_variable_that_is_empty_says_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "")
    runs(here / ".tape" / "local")
    assert look().stack is not None


def test_the_stack_is_that_of_tape_home_then_of_the_nearest_folder_above(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs(here / ".tape" / "local")
    below = here / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert stack_folder(None) == here / ".tape" / "local" == look().folder
    assert stack_folder("other") == below / ".tape" / "other", "what is not made yet is made here"
    runs(here / "a" / ".tape" / "local")
    assert look().folder == here / "a" / ".tape" / "local"
    monkeypatch.setenv("TAPE_HOME", str(here / "elsewhere"))
    assert look().folder == here / "elsewhere"
    assert not look().is_named


def test_a_kept_demo_is_found_where_nothing_else_runs(here: Path) -> None:
    runs(here / ".tape" / "demo")
    assert look().folder == here / ".tape" / "demo"
    runs(here / ".tape" / "local")
    assert look().folder == here / ".tape" / "local"


def test_where_nothing_is_named_and_nothing_runs_both_ways_out_are_said(here: Path) -> None:
    with pytest.raises(Fatal, match=r"no stack runs there.*tape up.*KAFKA_BOOTSTRAP_SERVERS"):
        look().cluster()


def test_another_broker_than_the_stacks_is_used_without_the_stacks_values_and_it_is_said(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs(here / ".tape" / "local", exchange_url="http://127.0.0.1:1", database_url="postgresql://here/x")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "far:9092")
    found = look()
    assert (found.stack, found.get("TAPE_EXCHANGE_URL"), found.get("DATABASE_URL")) == (None, "", "")
    (note,) = found.notes()
    assert "KAFKA_BOOTSTRAP_SERVERS is far:9092" in note and "127.0.0.1:20001, is ignored" in note
    assert look({"KAFKA_BOOTSTRAP_SERVERS": "typed:1"}).notes() == [], "what is typed is meant"


@pytest.mark.parametrize("named", ["127.0.0.1:20001", "localhost:20001", "far:1, localhost:20001"])
def test_where_the_named_broker_is_the_stacks_own_its_prefix_configuration_and_exchange_are_used(
    here: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """OPS-F6: `tape up` and `tape play` in one shell that names the broker."""
    config = document(here / "run.toml")
    runs(here / ".tape" / "local", prefix="mine", config=config, exchange_url="http://127.0.0.1:1")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", named)
    found = look()
    assert found.cluster().prefix == "mine"
    assert found.cluster().layout.keep == "forever"
    assert (found.config, found.get("TAPE_EXCHANGE_URL")) == (Path(config), "http://127.0.0.1:1")
    assert "which also provides the prefix, configuration, exchange" in found.notes()[0]
    told = look({"TAPE_PREFIX": "other", "TAPE_EXCHANGE_URL": "http://x"})
    assert (told.cluster().prefix, told.get("TAPE_EXCHANGE_URL")) == ("other", "http://x")


def test_a_broker_with_the_stacks_cluster_id_is_the_stacks_under_whatever_name(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs(here / ".tape" / "local", exchange_url="http://127.0.0.1:1")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka.example:9092")
    monkeypatch.setattr(pipeline, "cluster_id_of", lambda cluster: "another")
    assert pipeline.pipeline_of("", None).exchange is None
    assert "is ignored" in capsys.readouterr().err
    monkeypatch.setattr(pipeline, "cluster_id_of", lambda cluster: "mine")
    assert pipeline.pipeline_of("", None).exchange == "http://127.0.0.1:1"
    assert "which also provides the exchange" in capsys.readouterr().err


def test_another_document_than_the_stack_runs_with_is_said(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs(here / ".tape" / "local", config=document(here / "run.toml"))
    monkeypatch.setenv("TAPE_CONFIG", document(here / "mine.toml"))
    (note,) = look().notes()
    assert note.startswith("TAPE_CONFIG names another configuration than the local stack")
    monkeypatch.setenv("TAPE_CONFIG", "run.toml")
    assert look().notes() == []


def test_partitions_of_the_stacks_document_are_used_with_the_stack(here: Path) -> None:
    config = document(here / "run.toml", symbol_partitions=7)
    runs(here / ".tape" / "local", config=config)
    assert look().cluster().layout.symbol_partitions == 7


def test_config_where_prints_each_value_with_who_says_it_and_no_password(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:s3cret@db/audit")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "s3cret")
    monkeypatch.setenv("TAPE_CONFIG", document(here / "tape.toml", kafka="k1:9092", keep="bars=9"))
    shown = CliRunner().invoke(app, ["config", "where"])
    assert shown.exit_code == 0, shown.output
    rows = {line.split()[0]: line for line in shown.output.splitlines() if line}
    assert "k1:9092" in rows["KAFKA_BOOTSTRAP_SERVERS"] and "[deployment] of" in rows["TAPE_KEEP"]
    assert "postgresql://me:***@db/audit" in rows["DATABASE_URL"]
    assert "s3cret" not in shown.output
    assert rows["TAPE_PREFIX"].split() == ["TAPE_PREFIX", "-", "nobody"]


def test_the_brokers_of_a_client_properties_are_used_and_a_variable_has_precedence(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = here / "client.properties"
    file.write_text("bootstrap.servers=k2:9092\nsecurity.protocol=PLAINTEXT\n")
    monkeypatch.setenv("KAFKA_CLIENT_CONFIG", str(file))
    assert look().values["KAFKA_BOOTSTRAP_SERVERS"] == ("k2:9092", f"bootstrap.servers of {file}")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "k1:9092")
    assert look().get("KAFKA_BOOTSTRAP_SERVERS") == "k1:9092"


@pytest.mark.parametrize(
    "words",
    [
        ("init",),
        ("universe",),
        ("topics", "--create"),
        ("play", "--synthetic"),
        ("watermark",),
        ("pause", "all", "--person", "p", "--reason", "r"),
        ("resume", "all", "--person", "p", "--reason", "r"),
        ("rebuild", "--verify"),
        ("prefix", "drop", "x", "--yes"),
    ],
    ids=" ".join,
)
def test_a_command_that_is_told_another_cluster_id_writes_nothing(
    here: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """Nobody listens at the address: whatever went on would fail otherwise."""
    monkeypatch.setattr(identity_of_cluster, "ask_cluster_id", lambda cluster, timeout_s: "another")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("KAFKA_CLUSTER_ID", "mine")
    monkeypatch.setenv("TAPE_CONFIG", document(here / "tape.toml"))
    refused = CliRunner().invoke(app, list(words)).exception
    assert isinstance(refused, Fatal)
    assert "its cluster id is not mine; got 'another'; nothing was written" in str(refused)


@pytest.mark.parametrize("words", [("init",), ("migrate",)], ids=" ".join)
def test_tables_are_made_nowhere_where_no_database_is_named(
    here: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr(identity_of_cluster, "ask_cluster_id", lambda cluster, timeout_s: "mine")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("TAPE_CONFIG", document(here / "tape.toml"))
    refused = CliRunner().invoke(app, list(words)).exception
    assert isinstance(refused, Fatal)
    assert "DATABASE_URL is not set" in str(refused) and "nothing was changed" in str(refused)
