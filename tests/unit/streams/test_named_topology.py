"""The user's own topology: who names it, and that what it declares is there before a document is checked."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from tapedeck.agents.settings import from_environment
from tapedeck.connectors.config_file import load, topology_of
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.cli.main import app
from tapedeck.tape.cli.pipeline import Pipeline
from tapedeck.tape.local.stack import LocalStack
from tapedeck.tape.notebook import place
from tapedeck.tape.topology import topology_in_use
from tapedeck.topics.catalogue import CATALOGUE
from tests.support.packages import PIPELINE, Package, package
from tests.support.places import here, runs

__all__ = ["here", "package"]

PARAMETERS = """
from typing import Annotated
from pydantic import Field
from tapedeck.streams.config.groups import Group
from tapedeck.streams.config.user import declare
class Mine(Group):
    window: Annotated[int, Field(ge=2, le=120)] = 20
    '''Bars that are looked at.'''
declare("mine", Mine)
"""


def document(path: Path, topology: str = "", more: str = "") -> Path:
    path.write_text((f'topology = "{topology}"\n' if topology else "") + more)
    return path


def test_the_shipped_one_is_used_where_nobody_names_another(here: Path) -> None:
    assert topology_in_use() is TOPOLOGY
    assert topology_of(document(here / "tape.toml"), {}) is TOPOLOGY


def test_the_variable_wins_over_the_document_and_the_document_over_the_stack_that_runs(
    here: Path, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {name: package(name) for name in ("of_stack", "of_document", "of_variable")}
    runs(here / ".tape" / "local", topology=names["of_stack"])
    assert topology_in_use() == TOPOLOGY and "of_stack" in CATALOGUE
    monkeypatch.setenv("TAPE_CONFIG", str(document(here / "tape.toml", names["of_document"])))
    topology_in_use()
    assert "of_document" in CATALOGUE and "of_variable" not in CATALOGUE
    monkeypatch.setenv("TAPE_TOPOLOGY", names["of_variable"])
    topology_in_use()
    assert "of_variable" in CATALOGUE


def test_a_document_that_is_typed_names_the_topology_of_that_command(here: Path, package: Package) -> None:
    path = document(here / "own.toml", package("typed"))
    assert "typed" not in CATALOGUE
    shown = CliRunner().invoke(app, ["sim", "no_such_file", "--config", str(path)])
    assert "typed" in CATALOGUE, shown.output


@pytest.mark.parametrize("told", ["TAPE_CONFIG", "the stack"])
def test_programs_that_load_the_document_without_the_command_have_what_it_declares(
    here: Path, package: Package, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    path = document(here / "tape.toml", package("declaring"))
    if told == "TAPE_CONFIG":
        environment = {"TAPE_CONFIG": str(path), "KAFKA_BOOTSTRAP_SERVERS": "k1:9092"}
        assert from_environment(environment).config.topology == "declaring.pipeline:TOPOLOGY"
    else:
        runs(here / ".tape" / "local", config=str(path))
        monkeypatch.setattr(place, "cluster_id_of", lambda cluster: "mine")
        monkeypatch.setattr(place, "KafkaSource", lambda cluster: SimpleNamespace(close=None))
        found = place.find(None, None, None)
        assert found.environment()["TAPE_TOPOLOGY"] == "declaring.pipeline:TOPOLOGY"
    assert "declaring" in CATALOGUE


def test_a_worker_is_told_what_only_the_variable_said_when_the_stack_began(
    here: Path, package: Package
) -> None:
    known = runs(here / ".tape" / "local", topology="mine.pipeline:TOPOLOGY")
    assert known.told()["TAPE_TOPOLOGY"] == "mine.pipeline:TOPOLOGY"
    assert "TAPE_TOPOLOGY" not in runs(here / ".tape" / "local").told()


def test_config_where_says_who_names_it_even_where_it_cannot_be_imported(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def row() -> str:
        shown = CliRunner().invoke(app, ["config", "where"])
        assert shown.exit_code == 0, shown.output
        return next(line for line in shown.output.splitlines() if line.startswith("TAPE_TOPOLOGY"))

    assert row().split() == ["TAPE_TOPOLOGY", "-", "nobody"]
    path = document(here / "tape.toml", "gone.pipeline:TOPOLOGY")
    monkeypatch.setenv("TAPE_CONFIG", str(path))
    assert "gone.pipeline:TOPOLOGY" in row() and f"`topology` of {path}" in row()
    monkeypatch.setenv("TAPE_TOPOLOGY", "other.pipeline:TOPOLOGY")
    assert row().split() == ["TAPE_TOPOLOGY", "other.pipeline:TOPOLOGY", "TAPE_TOPOLOGY"]


def test_a_stack_whose_topology_is_gone_can_be_stopped(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPE_TOPOLOGY", "gone.pipeline:TOPOLOGY")
    assert CliRunner().invoke(app, ["down"]).output.startswith("no stack runs in")
    assert isinstance(CliRunner().invoke(app, ["topology"]).exception, Fatal)


def test_the_key_is_no_part_of_the_digest_and_survives_its_own_toml(here: Path, package: Package) -> None:
    path = document(here / "tape.toml", package("kept"))
    config = load(path, {})
    assert config.digest == Config().digest
    path.write_text(config.to_toml())
    assert load(path, {}) == config and config.topology == "kept.pipeline:TOPOLOGY"
    assert "topology" not in Config().to_toml()


def test_another_topology_than_the_documents_is_imported_where_the_variable_says_so(
    here: Path, package: Package
) -> None:
    path = document(here / "tape.toml", package("passed_over"))
    load(path, {"TAPE_TOPOLOGY": package("taken")})
    assert "taken" in CATALOGUE and "passed_over" not in CATALOGUE
    assert "passed_over" not in sys.modules and os.environ.get("TAPE_TOPOLOGY") is None


def test_parameters_that_the_topology_declares_are_known_when_the_document_is_checked(
    here: Path, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = document(here / "tape.toml", package("tuned", __init__=PARAMETERS), "[user.mine]\nwindow = 5\n")
    checked = CliRunner().invoke(app, ["config", "check", str(path)])
    assert checked.exit_code == 0, checked.exception
    assert load(path, {}).digest in checked.output and load(path, {}).digest != Config().digest
    monkeypatch.setenv("TAPE_CONFIG", str(path))
    shown = here / "shown.toml"
    shown.write_text(CliRunner().invoke(app, ["config", "show"]).output)
    assert (
        "[user.mine]\n# Bars that are looked at (whole number, ≥ 2, ≤ 120)\nwindow = 20\n"
        in shown.read_text()
    )
    assert load(shown, {}).topology == "tuned.pipeline:TOPOLOGY"


def test_a_stack_runs_the_topology_of_its_own_document_and_not_that_of_another_stack(
    here: Path, package: Package
) -> None:
    runs(here / ".tape" / "local", topology=package("of_another"))
    assert LocalStack(here / ".tape" / "new").topology is TOPOLOGY
    LocalStack(here / ".tape" / "new", config=document(here / "tape.toml", package("of_this")))
    assert "of_this" in CATALOGUE and "of_another" not in CATALOGUE


def test_what_if_refuses_another_topology_than_the_pipelines(
    here: Path, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrower = PIPELINE.replace("*SHIPPED", "*SHIPPED.stages[:4]")
    changed = document(here / "changed.toml", package("narrower", pipeline=narrower))
    pipeline = Pipeline(Cluster("127.0.0.1:1"), None)
    monkeypatch.setattr("tapedeck.tape.cli.whatif.pipeline_of", lambda bootstrap, prefix: pipeline)
    refused = CliRunner().invoke(app, ["whatif", "--config", str(changed)]).exception
    assert isinstance(refused, Fatal)
    assert "--config names another topology" in str(refused) and "narrower.pipeline:TOPOLOGY" in str(refused)
