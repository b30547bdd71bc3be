"""The chart of a topology of one's own: its workers, topics, users and values are that topology's."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest

from tests.support.cases import REPOSITORY
from tests.support.chart import CHART, CUSTOM, KUBERNETES, Found, named, needs_helm, of_kind, parsed, template
from tests.support.custom_resources import broken

TOY = "tests.toy.topology:TOPOLOGY"
SHIPPED = json.loads((CHART / "files" / "topology.json").read_text())


def names(data: Found, table: str) -> set[str]:
    return {each["name"] for each in data[table]}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the chart, written again for the toy topology as a user does it."""
    chart = tmp_path_factory.mktemp("own") / "tapedeck"
    shutil.copytree(CHART, chart)
    subprocess.run(
        [sys.executable, "-m", "tapedeck.tape.chart", "--chart", str(chart)],
        check=True,
        cwd=REPOSITORY,
        env={**os.environ, "TAPE_TOPOLOGY": TOY},
    )
    return chart


def test_data_and_schema_of_the_chart_are_those_of_the_named_topology(own: Path) -> None:
    data = json.loads((own / "files" / "topology.json").read_text())
    assert (data["topology"], SHIPPED["topology"]) == (TOY, "")
    assert names(data, "processes") - names(SHIPPED, "processes") == {"moods"}
    more = names(data, "topics") - names(SHIPPED, "topics")
    assert more > {"toy_notes", "toy_moods"} and all("moods" in each or "toy" in each for each in more)
    assert set(data["users"]) - set(SHIPPED["users"]) == {"moods"}
    reads = [row for row in data["users"]["scores"] if "Read" in row["operations"]]
    assert any("toy_moods" in row["names"] for row in reads), "the stage that joins it may read it"
    schema = json.loads((own / "values.schema.json").read_text())
    assert "moods" in schema["properties"]["stages"]["properties"]
    assert (CHART / "files" / "topology.json").read_text() == json.dumps(SHIPPED, indent=1) + "\n"


@needs_helm
def test_rendered_chart_runs_the_named_topology(own: Path) -> None:
    done = template("--set", "stages.moods.storage.size=1Gi", chart=own)
    assert done.returncode == 0, done.stderr
    objects = parsed(done.stdout)
    made = named(objects, "StatefulSet", "tapedeck-moods")
    (box,) = made["spec"]["template"]["spec"]["containers"]
    assert box["args"] == ["worker", "moods"]
    assert made["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] == "1Gi"
    for each in of_kind(objects, "StatefulSet", "Deployment", "Job"):
        (box, *_) = each["spec"]["template"]["spec"]["containers"]
        env = {one["name"]: one.get("value") for one in box["env"]}
        assert env["TAPE_TOPOLOGY"] == TOY, each["metadata"]["name"]
    named(objects, "KafkaTopic", "toy-notes"), named(objects, "KafkaUser", "tapedeck-moods")
    named(objects, "PodDisruptionBudget", "tapedeck-moods"), named(objects, "ScaledObject", "tapedeck-moods")
    for each in objects:
        if each["apiVersion"] in CUSTOM:
            assert list(broken(each)) == [], each["metadata"]["name"]
        else:
            kubernetes_validate.validate(each, KUBERNETES, strict=True)
