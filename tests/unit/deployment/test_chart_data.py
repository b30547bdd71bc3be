"""The chart is made of the topology: its data, its schema, its README, and templates that use every value."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from tapedeck.connectors.kafka.acls import as_json, grants_of
from tapedeck.connectors.kafka.principals import principals
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.chart import alerts, chart_data, described_values, files, main, schema_of, values_table
from tapedeck.tape.deployment.processes import Kind, processes
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tapedeck.topics.shipped import SHIPPED
from tests.support.chart import CHART, golden, named, of_kind, open_objects

DATA = chart_data(TOPOLOGY)
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())


@pytest.mark.parametrize("name", files(TOPOLOGY))
def test_generated_file_of_the_chart_is_current(name: str) -> None:
    assert (CHART / name).read_text() == files(TOPOLOGY)[name], "run python -m tapedeck.tape.chart"


def test_chart_runs_every_process_of_the_deployment_but_the_player() -> None:
    config = Config(accounts=EXAMPLE_ACCOUNTS)
    wanted = {
        each.service: each for each in processes(TOPOLOGY, config) if each.is_long and not each.optional
    }
    assert len(wanted) > 12 and Kind.PLAYER not in {each.kind for each in wanted.values()}
    kinds = ("StatefulSet", "Deployment")
    made = {each["metadata"]["name"]: each for each in of_kind(golden("default"), *kinds)}
    beside = {"exchange"}  # it listens on loopback, so each dispatcher's pod has its own
    assert {f"tapedeck-{name}" for name in wanted.keys() - beside} == set(made)
    for name in wanted.keys() - beside:
        (box,) = made[f"tapedeck-{name}"]["spec"]["template"]["spec"]["containers"]
        assert box["command"] + box["args"] == ["tape", *wanted[name].args]
    for name, each in wanted.items():
        if each.stateful and name not in beside:
            assert made[f"tapedeck-{name}"]["kind"] == "StatefulSet", name
    pod = made["tapedeck-dispatch-large"]["spec"]["template"]["spec"]
    assert [box["name"] for box in pod["initContainers"]] == ["exchange"]


def test_an_optional_process_runs_where_it_is_asked_for() -> None:
    found = processes(TOPOLOGY, Config(accounts=EXAMPLE_ACCOUNTS))
    optional = {each.service for each in found if each.is_long and each.optional} - {"play"}
    assert optional == {"ingest-posts", "doctor"}
    for name in optional:
        assert any(each["metadata"]["name"] == f"px-{name}" for each in golden("own")), name
        assert not any(each["metadata"]["name"] == f"tapedeck-{name}" for each in golden("default")), name


def test_both_jobs_are_hooks_and_migration_is_before_all() -> None:
    for case, name, init in (
        ("default", "tapedeck", "post-install,post-upgrade"),
        ("own", "px", "pre-install,pre-upgrade"),
    ):
        jobs = {
            each["metadata"]["name"]: each["metadata"]["annotations"]["helm.sh/hook"]
            for each in of_kind(golden(case), "Job")
        }
        assert jobs == {f"{name}-migrate": "pre-install,pre-upgrade", f"{name}-init": init}


def test_every_topic_is_a_kafka_topic_with_the_settings_that_processes_demand() -> None:
    made = {each["spec"]["topicName"]: each["spec"] for each in of_kind(golden("default"), "KafkaTopic")}
    layout = Layout(symbol_partitions=12, account_partitions=4, keep="catalogue", replication=3)
    assert set(made) == {topic.name for topic in CATALOGUE} and len(made) >= len(SHIPPED)
    for name, spec in made.items():
        assert spec["partitions"] == layout.partitions(name), name
        assert spec["replicas"] == 3
        assert spec["config"] == {**layout.topic_config(name), "min.insync.replicas": "2"}, name


def test_every_kafka_user_has_the_least_rights_of_its_login() -> None:
    layout = Layout()
    table = principals(TOPOLOGY, layout, ["large", "tiny"])
    users = of_kind(golden("default"), "KafkaUser")
    assert len(users) == len(table) > 10
    for login, rights in table.items():
        user = named(users, "KafkaUser", f"tapedeck-{login.replace('_', '-')}")
        made = {
            (
                each["resource"]["type"],
                each["resource"]["name"],
                each["resource"]["patternType"],
                *each["operations"],
            )
            for each in user["spec"]["authorization"]["acls"]
        }
        wanted = {
            (row["resource"], row["name"], row["pattern"].removesuffix("ed"), *row["operations"])
            for row in as_json(login, grants_of(rights, layout))
        }
        assert made == wanted, login


def test_default_values_satisfy_the_schema_and_every_level_is_closed() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(VALUES, SCHEMA)
    assert open_objects(SCHEMA) == []


def test_an_open_level_of_a_schema_is_found() -> None:
    schema = {"type": "object", "additionalProperties": False, "properties": {"a": {"type": "object"}}}
    assert open_objects(schema) == ["/properties/a"]
    assert open_objects({"type": "object", "additionalProperties": {"type": "string"}}) == ["/"]


def keys(values: object, path: str = "") -> list[str]:
    if not isinstance(values, dict) or not values:
        return [path]
    return [each for name, value in values.items() for each in keys(value, f"{path}.{name}".strip("."))]


def test_every_value_has_a_line_in_the_readme_and_every_line_a_value() -> None:
    told = {path for path, _, _ in described_values((CHART / "values.yaml").read_text())}
    groups = {path for path in told if path in ("edges", "networkPolicy.monitoringNamespace")}
    left = {path for path in keys(VALUES) if not path.startswith(tuple(groups))}
    assert left == told - groups


def test_values_table_is_read_from_comments() -> None:
    text = 'a:\n  # -- One thing,\n  # in two lines.\n  b: 3\n# not told\nc: 4\n# -- A | b.\nd: ""\n'
    assert list(described_values(text)) == [("a.b", "3", "One thing, in two lines."), ("d", '""', "A | b.")]
    assert '| `d` | `""` | A \\| b. |' in values_table(text)


def test_templates_use_every_value() -> None:
    texts = "\n".join(path.read_text() for path in sorted((CHART / "templates").iterdir()))
    unused = [path for path in keys(VALUES) if not re.search(rf"\.{path.split('.')[-1]}\b", texts)]
    by_name = {"stages", "edges", "cpu", "memory", "requests", "limits", "kubernetes", "io/metadata", "name"}
    assert [path for path in unused if path.split(".")[-1] not in by_name] == []


def test_schema_knows_the_stages_by_name() -> None:
    names = set(SCHEMA["properties"]["stages"]["properties"])
    assert names == {spec.name.replace("_", "-") for spec in TOPOLOGY.market}
    other = schema_of(json.loads(json.dumps(SCHEMA)), {"processes": [{"kind": "stage", "service": "moods"}]})
    assert set(other["properties"]["stages"]["properties"]) == {"moods"}


def test_chart_of_another_topology_is_written_into_a_copy(tmp_path: Path) -> None:
    for name in ("values.yaml", "values.schema.json", "README.md"):
        (tmp_path / name).write_text((CHART / name).read_text())
    (tmp_path / "values.yaml").write_text("# -- Only one.\nx: 1\n")
    (tmp_path / "files" / "rules").mkdir(parents=True)
    (stale := tmp_path / "files" / "rules" / "gone.yml").touch()
    main(["--chart", str(tmp_path)])
    assert json.loads((tmp_path / "files" / "topology.json").read_text()) == DATA
    assert not stale.exists()
    assert "| `x` | `1` | Only one. |" in (tmp_path / "README.md").read_text()


def test_topics_that_would_be_one_resource_are_refused() -> None:
    bars = next(topic for topic in SHIPPED if topic.name == "market_events")
    with CATALOGUE.scratch():
        CATALOGUE.declare(type(bars)(**{**bars.__dict__, "name": "market-events"}))
        with pytest.raises(Fatal, match="would be one KafkaTopic"):
            chart_data(TOPOLOGY)


def test_only_files_of_rules_are_copied_into_the_chart(tmp_path: Path) -> None:
    (tmp_path / "tape.yml").write_text("# why\ngroups:\n  - name: tape\n")
    (tmp_path / "prometheus.yml").write_text("scrape_configs: []\n")
    (tmp_path / "tape_test.yml").write_text("rule_files: [tape.yml]\ntests: []\n")
    assert list(alerts(tmp_path)) == ["tape.yml"]
    assert alerts(tmp_path / "none") == {}


def test_chart_has_no_rules_but_the_generated_ones() -> None:
    made = {name for name in files(TOPOLOGY) if name.startswith("files/rules/")}
    assert {f"files/rules/{path.name}" for path in (CHART / "files").glob("rules/*")} == made
