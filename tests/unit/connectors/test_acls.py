"""The rights of each kind of process: derived from the topology, least, printed in a form to apply."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka.admin import AclOperation
from typer.testing import CliRunner

from tapedeck.connectors.kafka import acls
from tapedeck.connectors.kafka.acls import (
    ADMIN,
    DESCRIBE,
    DESCRIBE_CONFIGS,
    INGEST,
    OPERATOR,
    READ,
    SCORER,
    SINK,
    WRITE,
    Grant,
    Rights,
    commands,
    demand_rights,
    grants_of,
)
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.principals import principals, worker
from tapedeck.connectors.kafka.security import Security
from tapedeck.connectors.secrets import Secret
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.cli.main import app
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.support.cases import MARKET_STAGES

TABLE = principals(TOPOLOGY, Layout(), ["large", "tiny"])
SECURED = Security(
    protocol="SASL_SSL", mechanism="SCRAM-SHA-512", username="features", password=Secret("p", "x")
)


def writers(name: str) -> set[str]:
    return {kind for kind, rights in TABLE.items() if name in rights.writes} - {ADMIN}


def test_there_is_one_principal_for_each_kind_of_process() -> None:
    assert list(TABLE) == [
        INGEST, *MARKET_STAGES, "dispatch-large", "dispatch-tiny", SCORER, SINK, OPERATOR, ADMIN,
    ]  # fmt: skip


def test_a_topic_is_written_by_its_owner_alone() -> None:
    dispatchers = {"dispatch-large", "dispatch-tiny"}
    for spec in TOPOLOGY:
        owner = dispatchers if spec.name == "account" else {spec.name}
        for name in (*spec.outputs, spec.changelog):
            assert writers(name) == owner, name
    assert {name for name in ("bars", "quotes", "universe") if writers(name) == {INGEST}} == {
        "bars", "quotes", "universe",
    }  # fmt: skip
    assert writers("sentiment") == {SCORER} and set(TABLE[SCORER].reads) == {
        "links",
        "post_links",
        "sentiment",
    }
    assert writers("account_inbox") == dispatchers
    assert writers("controls") == {OPERATOR}


def test_a_stage_reads_its_inputs_its_own_state_and_how_far_its_source_is_alone() -> None:
    for spec in TOPOLOGY.market:
        assert set(TABLE[spec.name].reads) == {*spec.inputs, spec.changelog, TOPOLOGY.root(spec)}
        assert TABLE[spec.name].groups == (f"tapedeck-{spec.name}",)


def test_nobody_but_the_administrator_makes_or_deletes_topics() -> None:
    for kind, rights in TABLE.items():
        operations = {each for grant in grants_of(rights, Layout()) for each in grant.operations}
        beyond = {AclOperation.CREATE, AclOperation.DELETE, AclOperation.ALTER_CONFIGS, AclOperation.ALTER}
        assert bool(operations & beyond) is (kind == ADMIN), kind


def test_every_process_may_look_at_every_topic_and_no_right_is_said_twice() -> None:
    grants = grants_of(worker(TOPOLOGY.stage("scores"), Layout("px")), Layout("px"))
    by_name = {grant.name: grant.operations for grant in grants}
    assert {f"px.{topic.name}" for topic in CATALOGUE} <= set(by_name)
    assert by_name["px.features"] == (READ, DESCRIBE_CONFIGS)
    assert by_name["px.scores"] == (WRITE, DESCRIBE_CONFIGS)
    assert by_name["px.scores.changelog"] == (READ, WRITE, DESCRIBE_CONFIGS)
    assert by_name["px.bars"] == (DESCRIBE, DESCRIBE_CONFIGS)
    assert by_name["px-scores"] == (READ,)


def test_rights_of_several_stages_are_those_of_each() -> None:
    both = worker(TOPOLOGY.stage("scores"), Layout()) | worker(TOPOLOGY.stage("watchlist"), Layout())
    assert {"features", "scores", "universe"} <= set(both.reads)
    assert both.groups == ("tapedeck-scores", "tapedeck-watchlist")


def test_commands_are_what_kafkas_own_tool_takes() -> None:
    grants = [
        Grant("topic", "bars", (READ, DESCRIBE_CONFIGS)),
        Grant("topic", "quotes", (READ, DESCRIBE_CONFIGS)),
        Grant("group", "tapedeck-", (DESCRIBE,), prefixed=True),
    ]
    start = (
        "kafka-acls.sh --bootstrap-server h:9092 --command-config admin.properties "
        "--add --allow-principal 'User:CN=a, O=b' "
    )
    assert commands("User:CN=a, O=b", grants, "h:9092") == [
        f"{start}--operation Describe --group tapedeck- --resource-pattern-type prefixed",
        f"{start}--operation Read --operation DescribeConfigs --topic bars --topic quotes",
    ]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, tuple[AclOperation, ...]]], None]:
    """Let the broker allow everything but what is named."""

    def tell(less: dict[str, tuple[AclOperation, ...]]) -> None:
        def allowed(cluster: Cluster, wanted: list[Grant]) -> dict[str, tuple[AclOperation, ...]]:
            return {grant.name: less.get(grant.name, tuple(AclOperation)) for grant in wanted}

        monkeypatch.setattr(acls, "_allowed", allowed)

    return tell


def test_missing_rights_are_named_with_whom_and_how_to_grant_them(
    told: Callable[[dict[str, tuple[AclOperation, ...]]], None],
) -> None:
    told({"features": (DESCRIBE, DESCRIBE_CONFIGS), "bars.late": (), "tapedeck-features": (DESCRIBE,)})
    with pytest.raises(Fatal) as raised:
        demand_rights(Cluster("h:9092", security=SECURED), worker(TOPOLOGY.stage("features"), Layout()))
    said = str(raised.value)
    assert said.startswith(
        "User:features lacks rights on the cluster that this process needs: Read on group tapedeck-features; "
        "Write on topic features; Write and DescribeConfigs on topic bars.late; "
    )
    assert "`tape topics --acls` prints all" in said
    assert said.splitlines()[1:] == [
        f"kafka-acls.sh --bootstrap-server h:9092 --command-config admin.properties --add "
        f"--allow-principal User:features {rest}"
        for rest in (
            "--operation Read --group tapedeck-features",
            "--operation Write --topic features",
            "--operation Write --operation DescribeConfigs --topic bars.late",
        )
    ]


def test_process_with_its_rights_begins(told: Callable[[dict[str, tuple[AclOperation, ...]]], None]) -> None:
    told({})
    demand_rights(Cluster("h:9092", security=SECURED), Rights(reads=("bars",), groups=("g",)))


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "TAPE_PREFIX", "TAPE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TAPE_HOME", str(tmp_path))


@pytest.mark.usefixtures("nowhere")
def test_table_is_printed_for_principals_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tape.toml").write_text(Config(accounts=EXAMPLE_ACCOUNTS).to_toml())
    monkeypatch.setenv("TAPE_CONFIG", str(tmp_path / "tape.toml"))
    words = ["topics", "--acls", "--prefix", "px", "--principals", "User:tape-{}"]
    done = CliRunner().invoke(app, [*words, "--principals", "sink=User:CN=sink,O=us"])
    assert done.exit_code == 0, done.output
    lines = [line for line in done.stdout.splitlines() if line.startswith("kafka-acls.sh")]
    assert any("User:tape-dispatch-tiny" in line and "--group px-dispatch-tiny" in line for line in lines)
    assert any(
        "--allow-principal User:CN=sink,O=us" in line or "'User:CN=sink,O=us'" in line for line in lines
    )
    assert not any("User:tape-sink" in line for line in lines)
    assert all('--bootstrap-server "$KAFKA_BOOTSTRAP_SERVERS"' in line for line in lines)


@pytest.mark.usefixtures("nowhere")
def test_table_as_json_says_the_same_and_a_kind_that_is_not_there_is_named() -> None:
    done = CliRunner().invoke(app, ["topics", "--acls", "--json"])
    rows = json.loads(done.stdout)
    assert {
        "principal": "User:features", "resource": "topic", "name": "bars", "pattern": "literal",
        "operations": ["Read", "DescribeConfigs"],
    } in rows  # fmt: skip
    done = CliRunner().invoke(app, ["topics", "--acls", "--principals", "feature=User:x"])
    assert isinstance(done.exception, Fatal) or "no such kind of process" in done.output
