"""The chart as helm renders it: the golden manifests are fresh, and what they do not show."""

import shutil
from pathlib import Path

import kubernetes_validate
import pytest

from tapedeck.agents.membership import INSTANCE, TIMEOUT, membership
from tapedeck.tape.deployment.dashboards import dashboards
from tests.support.chart import (
    CASES,
    CHART,
    KUBERNETES,
    careless,
    golden_text,
    named,
    needs_helm,
    of_kind,
    options_of,
    parsed,
    pods,
    template,
    unrestricted,
)

pytestmark = needs_helm
RULES = """groups:
- name: tape
  rules:
  - alert: TapeStageDelayed
    expr: max by (stage) (tape_stage_delay_seconds) > 120
    annotations: {summary: "{{ $labels.stage }} is behind"}
"""


@pytest.mark.parametrize("case", CASES)
def test_golden_manifest_is_what_helm_renders(case: str) -> None:
    done = template(*options_of(case))
    assert done.returncode == 0, done.stderr
    assert done.stdout == golden_text(case), "run `make chart-golden`, and read what changed"


def test_alert_rules_become_one_prometheus_rule_word_for_word(tmp_path: Path) -> None:
    chart = tmp_path / "tapedeck"
    shutil.copytree(CHART, chart)
    shutil.rmtree(chart / "files" / "rules", ignore_errors=True)
    (chart / "files" / "rules").mkdir()
    (chart / "files" / "rules" / "tape.yml").write_text(RULES)
    made = named(parsed(template(chart=chart).stdout), "PrometheusRule", "tapedeck")
    (group,) = made["spec"]["groups"]
    assert group["rules"][0]["annotations"]["summary"] == "{{ $labels.stage }} is behind"
    assert group["rules"][0]["expr"] == "max by (stage) (tape_stage_delay_seconds) > 120"


def test_kubernetes_that_is_too_old_is_refused() -> None:
    done = template("--kube-version", "1.29.0")  # the last one counts
    assert done.returncode and ">=1.30.0-0" in done.stderr


def test_client_certificates_take_the_place_of_passwords() -> None:
    objects = parsed(template("--set", "kafka.protocol=SSL").stdout)
    assert {each["spec"]["authentication"]["type"] for each in of_kind(objects, "KafkaUser")} == {"tls"}
    pod = dict(pods(objects))["StatefulSet/tapedeck-features"]
    paths = {each["value"] for each in pod["containers"][0]["env"] if "SSL" in each["name"]}
    assert {f"/etc/tapedeck/secrets/kafka-user.{each}" for each in ("crt", "key")} <= paths
    assert not any("SASL" in each["name"] for each in pod["containers"][0]["env"])


def test_document_of_ones_own_is_mounted_and_restarts_pods(tmp_path: Path) -> None:
    text = (CHART / "files" / "tape.toml").read_text()
    (tmp_path / "tape.toml").write_text(text + "# mine\n")
    objects = parsed(template("--set-file", f"document={tmp_path / 'tape.toml'}").stdout)
    made = named(objects, "ConfigMap", "tapedeck-document")
    assert made["data"]["tape.toml"].strip() == f"{text}# mine".strip()

    def sum_of(objects):
        pod = named(objects, "StatefulSet", "tapedeck-features")["spec"]["template"]
        return pod["metadata"]["annotations"]["checksum/document"]

    assert sum_of(objects) != sum_of(parsed(golden_text("default")))


def test_without_operators_only_what_kubernetes_has_is_rendered() -> None:
    off = ("strimzi.enabled", "autoscaling.enabled", "serviceMonitor.enabled", "prometheusRule.enabled")
    done = template(
        *(word for each in off for word in ("--set", f"{each}=false")), "--set", "kafka.existingSecret=x"
    )
    objects = parsed(done.stdout)
    groups = {each["apiVersion"].partition("/")[0] for each in objects}
    assert groups == {"v1", "apps", "batch", "policy", "networking.k8s.io"}
    features = named(objects, "StatefulSet", "tapedeck-features")
    assert features["spec"]["replicas"] == 2
    assert unrestricted(objects) == [] and careless(objects) == []


def test_static_member_is_named_after_its_pod_and_told_the_time_out() -> None:
    static = ("membership.static=true", "membership.sessionTimeoutSeconds=45", "autoscaling.enabled=false")
    objects = parsed(template(*(word for each in static for word in ("--set", each))).stdout)
    for name in ("tapedeck-features", "tapedeck-dispatch-large"):
        (box,) = named(objects, "StatefulSet", name)["spec"]["template"]["spec"]["containers"]
        env = {each["name"]: each for each in box["env"]}
        assert env[INSTANCE]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
        assert membership({TIMEOUT: env[TIMEOUT]["value"], INSTANCE: name}).session_timeout_s == 45
    dynamic = named(parsed(golden_text("default")), "StatefulSet", "tapedeck-features")
    (box,) = dynamic["spec"]["template"]["spec"]["containers"]
    assert INSTANCE not in {each["name"] for each in box["env"]}


def test_dashboards_are_files_of_one_config_map_that_grafanas_sidecar_finds() -> None:
    only = ("--show-only", "templates/dashboards.yaml", "--set", "grafanaDashboards.enabled=true")
    (made,) = parsed(template(*only, "--set", "grafanaDashboards.labels.team=desk").stdout)
    labels = made["metadata"]["labels"]
    assert made["kind"] == "ConfigMap" and labels["grafana_dashboard"] == "1" and labels["team"] == "desk"
    kubernetes_validate.validate(made, KUBERNETES, strict=True)
    assert made["data"] == {f"tapedeck-{Path(path).name}": text for path, text in dashboards().items()}
    assert not any(each["metadata"]["name"].endswith("dashboards") for each in parsed(golden_text("default")))
