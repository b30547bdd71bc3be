"""Grafana's dashboards: of metrics that exist, told in full, loaded and mounted."""

import json
import re
from typing import Any

import pytest
import yaml

from tapedeck.streams import metrics
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.metrics import BY_NAME, CATALOGUE, Kind
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.deployment.compose import compose
from tapedeck.tape.deployment.dashboards import BOARDS, FOLDER, MOUNTED, SOURCE, dashboards, provisioning
from tests.support.cases import REPOSITORY

MADE = {name: json.loads(text) for name, text in dashboards().items()}
UNITS = {"s", "short", "cps", "dateTimeAsIso", "bool_on_off", "bool_yes_no"}


def faults(board: dict[str, Any]) -> list[str]:
    """What is wrong with the panels of a dashboard."""
    found, taken = [], set()
    for panel in board["panels"]:
        title = panel.get("title", "")
        if not title or not panel.get("description") or not panel["fieldConfig"]["defaults"].get("unit"):
            found.append(f"{title}: has no title, description or unit")
        for target in panel["targets"]:
            names = re.findall(r"\btape_\w+", target["expr"])
            found += [f"{title}: {name} is not in the catalogue" for name in names if not is_known(name)]
            if not names or target["expr"].count("(") != target["expr"].count(")"):
                found.append(f"{title}: {target['expr']} is no query")
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        found += [f"{title}: lies on another panel"] if cells & taken else []
        taken |= cells
    return found


def is_known(name: str) -> bool:
    base = name.removesuffix("_bucket")
    return base in BY_NAME and (base == name) == (BY_NAME[base].kind is not Kind.HISTOGRAM)


@pytest.mark.parametrize("name", MADE)
def test_panels_ask_for_metrics_of_the_catalogue_and_say_what_they_show(name: str) -> None:
    board = MADE[name]
    assert len(board["panels"]) >= 5 and faults(board) == []
    assert {panel["fieldConfig"]["defaults"]["unit"] for panel in board["panels"]} <= UNITS
    assert len({panel["title"] for panel in board["panels"]}) == len(board["panels"])


def test_a_wrong_panel_is_found() -> None:
    board = json.loads(json.dumps(next(iter(MADE.values()))))
    first, second, third = board["panels"][:3]
    first["targets"][0]["expr"] = "max(tape_batch_seconds) + tape_sadness"
    del second["description"]
    third["gridPos"] = second["gridPos"]
    assert faults(board) == [
        f"{first['title']}: tape_batch_seconds is not in the catalogue",
        f"{first['title']}: tape_sadness is not in the catalogue",
        f"{second['title']}: has no title, description or unit",
        f"{third['title']}: lies on another panel",
    ]


def test_every_metric_has_a_panel_so_that_a_new_one_is_not_forgotten() -> None:
    assert {panel.metric for board in BOARDS for panel in board.panels} == set(CATALOGUE)


def test_counters_are_shown_as_rates_and_labels_are_those_of_the_metric() -> None:
    for board in BOARDS:
        for panel in board.panels:
            if panel.metric.kind is Kind.COUNTER:
                assert re.search(r"\b(?:rate|increase)\(", panel.query), panel.title
            named = set(re.findall(r"{{(\w+)}}", panel.legend))
            assert named <= {*panel.metric.labels, "job", "instance"}, panel.title
            assert ("$stage" in panel.query) <= board.by_stage, panel.title


def test_an_overview_has_delay_lag_rate_batches_and_restores() -> None:
    overview = next(board for board in BOARDS if board.name == "overview")
    wanted = {metrics.DELAY, metrics.LAG, metrics.RECORDS, metrics.BATCH, metrics.RESTORE}
    assert wanted <= {panel.metric for panel in overview.panels}


def test_grafana_finds_dashboards_and_source_where_compose_mounts_them() -> None:
    services = compose(TOPOLOGY, Config(accounts=EXAMPLE_ACCOUNTS))["services"]
    assert f"./{FOLDER}:{MOUNTED}:ro" in services["grafana"]["volumes"]
    (provider,) = provisioning()[f"{FOLDER}/dashboards/tapedeck.yml"]["providers"]
    folder = provider["options"]["path"].replace(MOUNTED, FOLDER)
    there = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / folder).glob("*.json")}
    assert there == set(MADE)
    source = yaml.safe_load((REPOSITORY / FOLDER / "datasources" / "prometheus.yml").read_text())
    (found,) = source["datasources"]
    assert found["uid"] == SOURCE and found["url"] == "http://prometheus:9090"
    assert services["prometheus"]["ports"] == ["127.0.0.1:9090:9090"]
    used = {panel["datasource"]["uid"] for board in MADE.values() for panel in board["panels"]}
    assert used == {SOURCE}


def test_uids_are_unique_and_short_enough_for_grafana() -> None:
    uids = [board["uid"] for board in MADE.values()]
    assert len(set(uids)) == len(uids) == 3 and all(len(uid) <= 40 for uid in uids)
