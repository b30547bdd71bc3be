"""The AsyncAPI document: current, sound, and complete."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from tapedeck.schemas.codec import load_schema
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.topology import Topology
from tapedeck.tape.asyncapi import as_yaml, document
from tapedeck.tape.cli.main import app
from tapedeck.tape.docs import ASYNCAPI, generated
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.support.asyncapi import faults
from tests.support.cases import REPOSITORY


@pytest.mark.parametrize("name", generated())
def test_a_generated_file_is_current(name: str) -> None:
    assert (REPOSITORY / name).read_text() == generated()[name], "run python -m tapedeck.tape.docs"


def test_the_file_is_the_document_as_yaml() -> None:
    assert yaml.safe_load((REPOSITORY / ASYNCAPI).read_text()) == document(TOPOLOGY)


def test_the_document_is_sound_and_has_every_topic_and_schema() -> None:
    made = document(TOPOLOGY)
    assert faults(made) == []
    assert list(made["channels"]) == [each.name for each in CATALOGUE]
    for each in CATALOGUE:
        message = made["components"]["messages"][each.name]
        assert made["channels"][each.name]["messages"][each.name] == {
            "$ref": f"#/components/messages/{each.name}"
        }
        if each.schema is not None:
            assert message["payload"] == {"$ref": f"#/components/schemas/{each.schema}"}
            assert made["components"]["schemas"][each.schema]["schema"] == load_schema(each.schema)
            assert message["bindings"]["kafka"]["schemaIdLocation"] == "payload"
    sent = {each["channel"]["$ref"] for each in made["operations"].values() if each["action"] == "send"}
    assert sent == {f"#/channels/{each.name}" for each in CATALOGUE}


def test_it_follows_the_layout_of_a_cluster_and_the_topology_of_a_package(toys: Topology) -> None:
    made = document(toys, Layout("live", symbol_partitions=12, keep="bars=800", replication=2))
    assert faults(made) == []
    bars = made["channels"]["bars"]
    assert bars["address"] == "live.bars"
    assert bars["bindings"]["kafka"]["partitions"] == 12
    assert bars["bindings"]["kafka"]["replicas"] == 2
    assert bars["bindings"]["kafka"]["topicConfiguration"]["retention.ms"] == 800 * 86_400_000
    stage = toys.stages[0]
    read = made["operations"][f"{stage.name}.receives.{stage.trigger}"]
    assert read["bindings"]["kafka"]["groupId"]["enum"] == [f"live-{stage.name}"]


BREAKS: dict[str, Callable[[Any], object]] = {
    "leads nowhere": lambda d: d["components"]["schemas"].pop("bars"),
    "no channels": lambda d: d.update(channels={}),
    "no message": lambda d: d["channels"]["bars"].update(messages={}),
    "the address of bars": lambda d: d["channels"]["quotes"].update(address="bars"),
    "names no channel": lambda d: d["operations"]["features.receives.bars"].update(channel={}),
    "is no message of its channel": lambda d: d["operations"]["features.receives.bars"].update(
        messages=[{"$ref": "#/channels/quotes/messages/quotes"}]
    ),
    "action listen": lambda d: d["operations"]["features.receives.bars"].update(action="listen"),
    "no payload": lambda d: d["components"]["messages"]["bars"].pop("payload"),
    "partitions 0": lambda d: d["channels"]["bars"]["bindings"]["kafka"].update(partitions=0),
    "the binding knows no group": lambda d: d["channels"]["bars"]["bindings"]["kafka"].update(group="x"),
    "unknown or missing key info": lambda d: d.pop("info"),
}


@pytest.mark.parametrize("fault", BREAKS)
def test_the_check_finds_a_broken_document(fault: str) -> None:
    broken = copy.deepcopy(document(TOPOLOGY))
    BREAKS[fault](broken)
    assert any(fault in each for each in faults(broken)), faults(broken)


def test_yaml_of_awkward_values_reads_back() -> None:
    node = {
        "a: b": ["no", "null", 1, None, True, -1.5, "#x", "é\n"],
        "long": ["x" * 90, {"y": "z" * 90}],
        "e": {},
    }
    assert yaml.safe_load(as_yaml(node)) == node


def test_the_command_prints_the_document_of_the_pipeline_in_use() -> None:
    ran = CliRunner().invoke(app, ["topics", "--asyncapi", "--prefix", "live"])
    assert ran.exit_code == 0, ran.output
    made = yaml.safe_load(ran.stdout)
    assert faults(made) == []
    assert made["channels"]["bars"]["address"] == "live.bars"
