"""Alert rules: what the table makes, of metrics that exist, each firing and silent where it should."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.metrics import BY_NAME, CATALOGUE
from tapedeck.streams.sessions import Phase, xnys
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.deployment.alert_rules import INTERVAL_S, RULES, all_alerts, rules
from tapedeck.tape.deployment.alerts import Severity
from tapedeck.tape.deployment.processes import Kind, processes
from tests.support.alert_cases import ALL
from tests.support.alert_series import STEP_S, Case, Series, healthy, mark, process
from tests.support.cases import REPOSITORY

PROMTOOL = os.environ.get("TAPE_PROMTOOL") or shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="there is no promtool: it comes with Prometheus")
ALERTS = {alert.name: alert for alert in all_alerts(TOPOLOGY)}
FOUND = rules(TOPOLOGY)["groups"][0]["rules"]
LABELS = {"namespace", "job", "instance", "endpoint"}
"""Labels that Prometheus itself gives to what it reads."""
MINUTE_S = 60
DAY_S = 86_400


def unknown_names(expr: str) -> set[str]:
    """The metrics in ``expr`` that no process gives."""
    return set(re.findall(r"\btape_\w+", expr)) - set(BY_NAME)


def one_sided(cases: Iterable[Case]) -> set[str]:
    """Alerts that no case makes fire, or none leaves silent."""
    fired = {each.alert for each in cases if each.fires}
    silent = {each.alert for each in cases if not each.fires}
    return set(ALERTS) - (fired & silent)


def test_rules_are_of_metrics_that_processes_give() -> None:
    assert len(FOUND) > 30
    assert {name for rule in FOUND for name in unknown_names(rule["expr"])} == set()
    assert unknown_names("max(tape_stage_delay) > 3 and tape_ready == 0") == {"tape_stage_delay"}


def test_rules_group_and_join_by_labels_that_the_metrics_have() -> None:
    known = LABELS | {label for metric in CATALOGUE for label in metric.labels}
    lists = [found for rule in FOUND for found in re.findall(r"\b(?:by|on) \(([^()]*)\)", rule["expr"])]
    assert len(lists) > 30
    assert {label for each in lists for label in each.replace(",", " ").split()} <= known


def test_each_rule_has_severity_words_and_steps() -> None:
    runbook = (REPOSITORY / "docs" / "runbook.md").read_text()
    for rule in FOUND:
        alert = ALERTS[rule["alert"]]
        assert rule["labels"]["severity"] in set(Severity)
        assert len(rule["annotations"]["summary"]) > 15
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert page == "docs/runbook.md" and anchor == rule["alert"].lower()
        assert f"\n### {rule['alert']}\n" in runbook, "run python -m tapedeck.tape.docs"
        assert len(set(alert.steps)) == 3
    alike = [(rule["alert"], *sorted(rule["labels"].items())) for rule in FOUND]
    assert len(set(alike)) == len(alike)


def test_summaries_name_only_labels_that_are_left() -> None:
    for rule in FOUND:
        named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        grouped = re.findall(r"by \(([^)]*)\)", rule["expr"])
        left = set(grouped[0].replace(",", " ").split()) if grouped else {"job", "instance", "stage"}
        assert named <= left and not named & (set(rule["labels"]) - {"severity"}), rule["alert"]


def test_what_only_matters_in_a_session_waits_for_the_gauge_and_no_rule_asks_the_clock() -> None:
    held = {alert.name for alert in ALERTS.values() if alert.in_session}
    assert held == {
        "TapeStageDelayed", "TapeSourceSilent", "TapeSourceQuiet", "TapeStageStalled", "TapeDelayUnknown",
        "TapeMarkMissing",
    }  # fmt: skip
    for rule in FOUND:
        assert rule["expr"].endswith("and on () (max(tape_session_open) == 1)") == (rule["alert"] in held)
        assert not re.search(r"\b(?:hour|minute|day_of_\w+|month)\(", rule["expr"])


def test_every_kind_of_process_has_a_twin_that_fires_when_it_is_absent() -> None:
    absent = [rule["expr"] for rule in FOUND if rule["alert"].endswith("Absent")]
    for each in processes(TOPOLOGY, Config(accounts=EXAMPLE_ACCOUNTS)):
        if each.is_long and not each.optional and each.kind is not Kind.DISPATCHER:
            assert any(f'"{each.name}"' in expr for expr in absent), each.name
    assert any("absent(tape_orders_total)" in expr for expr in absent)


def test_rules_are_judged_as_often_as_processes_are_read() -> None:
    settings = yaml.safe_load((REPOSITORY / "deploy" / "prometheus" / "prometheus.yml").read_text())
    group = yaml.safe_load((REPOSITORY / RULES).read_text())["groups"][0]
    assert group["interval"] == settings["global"]["scrape_interval"] == f"{INTERVAL_S}s"
    assert settings["rule_files"] == ["/etc/prometheus/rules/*.yml"]


def test_each_alert_has_a_case_that_fires_and_one_that_is_silent() -> None:
    assert one_sided(ALL) == set()
    assert one_sided([each for each in ALL if each.alert != "TapeSinkLate" or each.fires]) == {"TapeSinkLate"}
    assert {each.alert for each in ALL} == set(ALERTS)


def promtool(folder: Path, tests: Sequence[dict[str, Any]], only: str = "", step_s: int = STEP_S) -> str:
    """The faults that promtool finds in ``tests`` of the rules, or of one alert's rules; empty if none."""
    group = {"name": "one", "rules": [rule for rule in FOUND if rule["alert"] == only]}
    (folder / "one.yml").write_text(yaml.safe_dump({"groups": [group]}))
    document = {
        "rule_files": ["one.yml" if only else str(REPOSITORY / RULES)],
        "evaluation_interval": f"{step_s}s",
        "tests": [{"interval": f"{step_s}s", **each} for each in tests],
    }
    (folder / "tests.yml").write_text(yaml.safe_dump(document, width=10_000))
    done = subprocess.run(
        [str(PROMTOOL), "test", "rules", str(folder / "tests.yml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stdout + done.stderr


def as_input(series: Series) -> list[dict[str, str]]:
    return [{"series": name, "values": values} for name, values in series.items()]


def expected(alert: str, labels: Series, summary: str) -> dict[str, Any]:
    about = ALERTS[alert]
    return {
        "exp_labels": {"severity": str(about.severity), **labels},
        "exp_annotations": {"summary": summary, "runbook_url": about.runbook},
    }


def as_test(case: Case) -> dict[str, Any]:
    judged = {
        "alertname": case.alert,
        "eval_time": f"{case.at_s}s",
        "exp_alerts": [expected(case.alert, labels, summary) for labels, summary in case.fires],
    }
    return {
        "name": f"{case.alert}: {case.why}",
        "input_series": as_input(case.series()),
        "alert_rule_test": [judged],
    }


def firing(expr: str, at_s: int, *names: str) -> dict[str, Any]:
    """A test that the alerts ``names``, and no others of ``expr``, fire."""
    samples = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in names]
    return {"expr": expr, "eval_time": f"{at_s}s", "exp_samples": samples}


@needs_promtool
@pytest.mark.parametrize("name", ALERTS)
def test_alert_fires_and_is_silent_where_it_should(name: str, tmp_path: Path) -> None:
    assert promtool(tmp_path, [as_test(each) for each in ALL if each.alert == name], only=name) == ""


@needs_promtool
def test_nothing_fires_in_a_healthy_deployment_and_promtool_finds_a_wrong_case(tmp_path: Path) -> None:
    query = 'max by (alertname) (max_over_time(ALERTS{alertstate="firing"}[1h]))'
    quiet = {"input_series": as_input(healthy()), "promql_expr_test": [firing(query, 1500)]}
    assert promtool(tmp_path, [quiet]) == ""
    wrong = {"input_series": as_input(healthy()), "promql_expr_test": [firing(query, 300, "TapeSinkLate")]}
    assert "TapeSinkLate" in promtool(tmp_path, [wrong])


WEEKENDS = {"March": ("2026-03-06", 3), "November": ("2026-10-30", 3), "half day": ("2026-11-27", 3)}
"""Fridays before the clocks change in New York, and one that closes at 13:00; days until the next session."""


def weekend(friday: str, days: int) -> tuple[int, int, int, dict[str, str]]:
    """(seconds from the begin of the series to Friday's close, to Monday's open, their length, the series).

    A minute apart, from UTC noon on Friday on, where promtool's time is 0. The bars end with Friday's close,
    and on Monday they do not come.
    """
    calendar = xnys()
    begin = day_of(friday) * DAY_S + DAY_S // 2
    samples = range((days * DAY_S + DAY_S // 4) // MINUTE_S)
    opens = [
        int(calendar.phase((begin + sample * MINUTE_S) * 1_000_000) is Phase.REGULAR) for sample in samples
    ]
    close = next(at for at in samples if at and opens[at - 1] and not opens[at])
    again = next(at for at in samples if at > close and opens[at])
    marks = " ".join(str((min(sample, close) - 1) * MINUTE_S) for sample in samples)
    series = {
        process("tape_session_open", "sink"): " ".join(map(str, opens)),
        **{mark(name): marks for name in ("features", "scores", "watchlist", "signals")},
    }
    return close * MINUTE_S, again * MINUTE_S, len(samples) * MINUTE_S, series


def day_of(date: str) -> int:
    """Days from 1970 on."""
    from datetime import date as parsed

    return (parsed.fromisoformat(date) - parsed(1970, 1, 1)).days


def test_the_clock_changes_between_the_sessions_of_the_weekends() -> None:
    opens = {name: weekend(*about)[1] for name, about in WEEKENDS.items()}
    hours = {name: 12 + at % DAY_S / 3600 for name, at in opens.items()}
    assert hours == {"March": 13.5, "November": 14.5, "half day": 14.5}
    close, *_ = weekend(*WEEKENDS["half day"])
    assert 12 + close / 3600 == 18.0  # 13:00 in New York


@needs_promtool
@pytest.mark.parametrize("name", WEEKENDS)
def test_a_silent_source_pages_from_the_open_on_by_new_yorks_clock(name: str, tmp_path: Path) -> None:
    close, again, _, series = weekend(*WEEKENDS[name])
    query = 'max by (alertname) (max_over_time(ALERTS{alertname="TapeSourceSilent",alertstate="firing"}[4d]))'
    judged = [
        firing(query, close + 3600),
        firing(query, again),
        firing(query, again + MINUTE_S),
        firing(query, again + 3 * MINUTE_S, "TapeSourceSilent"),
    ]
    test = {"input_series": as_input(series), "promql_expr_test": judged}
    assert promtool(tmp_path, [test], only="TapeSourceSilent", step_s=MINUTE_S) == ""
