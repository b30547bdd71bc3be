"""What the chart renders to, by rules that no schema of Kubernetes knows; and that each rule fires."""

import copy
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tapedeck.connectors.alerts.settings import (
    EMAIL,
    SMTP_PASSWORD,
    WEBHOOK,
    WEBHOOK_SECRET,
    repeat_us,
    sinks_in,
)
from tapedeck.tape.doctor.snapshot import BESIDE
from tests.support.chart import (
    CASES,
    CHART,
    CUSTOM,
    GOLDEN,
    KUBERNETES,
    RESTRICTED,
    careless,
    containers,
    golden,
    merged,
    named,
    of_kind,
    pods,
    secrets_of,
    unrestricted,
)
from tests.support.custom_resources import TOPIC_KEYS


@pytest.mark.parametrize("case", CASES)
def test_objects_of_kubernetes_satisfy_its_schemas_strictly(case: str) -> None:
    core = [each for each in golden(case) if each["apiVersion"] not in CUSTOM]
    assert len(core) > 20
    for each in core:
        kubernetes_validate.validate(each, KUBERNETES, strict=True)


def test_a_key_that_kubernetes_does_not_know_is_refused() -> None:
    made = named(golden("default"), "StatefulSet", "tapedeck-features")
    made["spec"]["template"]["spec"]["hostNetwrk"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(made, KUBERNETES, strict=True)


@pytest.mark.parametrize("case", CASES)
def test_every_pod_is_restricted_and_careful(case: str) -> None:
    objects = golden(case)
    assert len(list(pods(objects))) > 14
    assert unrestricted(objects) == []
    assert careless(objects) == []


BREAKS = {
    "host namespaces": lambda pod, box: pod.update(hostNetwork=True),
    "privileged": lambda pod, box: box["securityContext"].update(privileged=True),
    "host ports": lambda pod, box: box["ports"][0].update(hostPort=80),
    "volume types": lambda pod, box: pod["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
    "privilege escalation": lambda pod, box: box["securityContext"].pop("allowPrivilegeEscalation"),
    "non-root": lambda pod, box: pod["securityContext"].update(runAsUser=0),
    "seccomp": lambda pod, box: box["securityContext"].update(seccompProfile={"type": "Unconfined"}),
    "capabilities": lambda pod, box: box["securityContext"].update(capabilities={"drop": []}),
}


@pytest.mark.parametrize("rule", RESTRICTED)
def test_each_rule_of_pod_security_fires(rule: str) -> None:
    made = [named(golden("default"), "StatefulSet", "tapedeck-features")]
    ((_, pod),) = pods(made)
    BREAKS[rule](pod, pod["containers"][0])
    assert unrestricted(made) == [f"StatefulSet/tapedeck-features/tape: {rule}"]


@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda pod, box: pod.update(automountServiceAccountToken=True), "mounts a token"),
        (lambda pod, box: box["resources"].pop("requests"), "no requests"),
        (lambda pod, box: box["resources"].pop("limits"), "no memory limit"),
        (lambda pod, box: box.pop("startupProbe"), "no probe"),
        (lambda pod, box: box["securityContext"].update(readOnlyRootFilesystem=False), "a writable root"),
        (lambda pod, box: box.update(image="tapedeck:latest"), "no fixed image"),
        (lambda pod, box: box.update(image="tapedeck"), "no fixed image"),
    ],
)
def test_each_rule_of_care_fires(spoil: Any, said: str) -> None:
    made = [named(golden("default"), "StatefulSet", "tapedeck-features")]
    ((_, pod),) = pods(made)
    spoil(pod, pod["containers"][0])
    (found,) = careless(made)
    assert found.endswith(said)


def existing(values: Any) -> set[str]:
    """Every secret that values name."""
    if isinstance(values, list):
        return {each for item in values for each in existing(item)}
    if not isinstance(values, dict):
        return set()
    own = {values["existingSecret"]} if values.get("existingSecret") else set()
    return own.union(*(existing(value) for value in values.values()))


@pytest.mark.parametrize("case", CASES)
def test_every_secret_that_a_pod_reads_is_named_in_values_or_made_by_strimzi(case: str) -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    if (own := GOLDEN / f"{case}.values.yaml").exists():
        values = merged(values, yaml.safe_load(own.read_text()))
    objects = golden(case)
    users = {each["metadata"]["name"] for each in of_kind(objects, "KafkaUser")}
    assert secrets_of(objects) <= existing(values) | users
    assert {"tapedeck-account-large", "tapedeck-account-tiny"} <= secrets_of(objects)


def test_a_dispatcher_reads_the_secret_of_its_account_alone() -> None:
    made = [named(golden("default"), "StatefulSet", "tapedeck-dispatch-large")]
    assert "tapedeck-account-large" in secrets_of(made)
    assert not any("tiny" in name for name in secrets_of(made))


@pytest.mark.parametrize("case", CASES)
def test_stage_has_no_more_workers_than_partitions_and_a_scaled_one_no_fixed_number(case: str) -> None:
    objects = golden(case)
    partitions = {"default": 12, "own": 6}[case]
    scaled = {each["metadata"]["name"]: each["spec"] for each in of_kind(objects, "ScaledObject")}
    assert scaled
    for spec in scaled.values():
        assert 1 == spec["minReplicaCount"] <= spec["maxReplicaCount"] <= partitions
    for each in of_kind(objects, "StatefulSet"):
        name = each["metadata"]["name"]
        assert ("replicas" in each["spec"]) is (name not in scaled), name
        assert each["spec"].get("replicas", 1) <= partitions


@pytest.mark.parametrize("case", CASES)
def test_stateful_pods_keep_their_volumes_and_are_given_time(case: str) -> None:
    sets = of_kind(golden(case), "StatefulSet")
    assert len(sets) > 10
    for each in sets:
        spec = each["spec"]
        assert spec["podManagementPolicy"] == "Parallel"
        assert set(spec["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}
        assert [claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]] == ["state"]
        pod = spec["template"]["spec"]
        assert pod["terminationGracePeriodSeconds"] > 8
        for box in containers(pod):
            start = box["startupProbe"]
            assert start["periodSeconds"] * start["failureThreshold"] >= 300
            assert start["httpGet"]["path"] == "/health/ready"
            assert box["livenessProbe"]["httpGet"]["path"] == "/health/live"
            assert box["readinessProbe"]["httpGet"]["path"] == "/health/ready"


def test_what_a_process_writes_is_on_a_volume_although_its_root_is_read_only() -> None:
    written = ("TAPE_HOME", "TAPE_CACHE", "TMPDIR", "HOME", "TAPE_ALERT_STATE", "TAPE_EXCHANGE_FOLDER")
    seen = set()
    for workload, pod in pods(golden("own")):
        kinds = {each["name"]: "emptyDir" in each for each in pod["volumes"]} | {"state": True}
        for box in containers(pod):
            mounts = [each["mountPath"] for each in box["volumeMounts"] if kinds[each["name"]]]
            env = {each["name"]: each.get("value", "") for each in box["env"]}
            for name in written:
                needed = name in env and not (name == "TAPE_HOME" and "/scratch" in env["TAPE_CACHE"])
                if needed:  # only a process with state writes below TAPE_HOME
                    assert env[name].startswith(tuple(mounts)), f"{workload}: {name}"
                    seen.add(name)
    assert seen == set(written)


def test_workers_of_a_stage_are_spread_over_zones_and_nodes() -> None:
    stages = [each for each in of_kind(golden("default"), "StatefulSet") if "worker" in args_of(each)]
    assert len(stages) > 7
    for each in stages:
        template = each["spec"]["template"]
        spread = template["spec"]["topologySpreadConstraints"]
        assert [one["topologyKey"] for one in spread] == [
            "topology.kubernetes.io/zone",
            "kubernetes.io/hostname",
        ]
        for one in spread:
            wanted = one["labelSelector"]["matchLabels"]
            assert wanted.items() <= template["metadata"]["labels"].items()
            assert wanted["app.kubernetes.io/component"] == template["metadata"]["labels"][
                "app.kubernetes.io/component"
            ], "its own workers only"  # fmt: skip


def args_of(workload: dict[str, Any]) -> list[str]:
    (box,) = workload["spec"]["template"]["spec"]["containers"]
    return box["args"]


def test_topics_have_only_settings_that_kafka_knows_and_stay_when_the_release_goes() -> None:
    topics = of_kind(golden("default"), "KafkaTopic")
    assert len(topics) > 30
    for each in topics:
        assert set(each["spec"]["config"]) <= TOPIC_KEYS
        assert set(each["spec"]) == {"topicName", "partitions", "replicas", "config"}
        assert each["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
        assert each["metadata"]["labels"]["strimzi.io/cluster"] == "tapedeck"


@pytest.mark.parametrize("case", CASES)
def test_each_workload_has_a_disruption_budget_that_selects_it_alone(case: str) -> None:
    objects = golden(case)
    workloads = {each["metadata"]["name"] for each in of_kind(objects, "StatefulSet", "Deployment")}
    budgets = of_kind(objects, "PodDisruptionBudget")
    assert {each["metadata"]["name"] for each in budgets} == workloads
    for each in budgets:
        wanted = each["spec"]["selector"]["matchLabels"]
        fits = [
            other["metadata"]["name"]
            for other in of_kind(objects, "StatefulSet", "Deployment")
            if wanted.items() <= other["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert fits == [each["metadata"]["name"]] and each["spec"]["maxUnavailable"] == 1


def test_only_ingest_reaches_the_internet_and_only_metrics_are_reached() -> None:
    objects = golden("default")
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind(objects, "NetworkPolicy")}
    ports = [port["port"] for rule in policies["tapedeck"]["egress"] for port in rule["ports"]]
    assert sorted(ports) == [53, 53, 5432, 9093]
    label = policies["tapedeck-internet"]["podSelector"]["matchLabels"]
    reach = {
        each["metadata"]["name"]
        for each in of_kind(objects, "StatefulSet", "Deployment")
        if label.items() <= each["spec"]["template"]["metadata"]["labels"].items()
    }
    assert reach == {"tapedeck-ingest-bars", "tapedeck-ingest-news"}
    (rule,) = policies["tapedeck"]["ingress"]
    assert [port["port"] for port in rule["ports"]] == [9464, 9465]


def test_the_doctor_runs_once_remembers_what_it_told_and_reaches_its_sinks() -> None:
    objects = golden("own")
    made = named(objects, "StatefulSet", "px-doctor")["spec"]
    (box,) = made["template"]["spec"]["containers"]
    env = {each["name"]: each for each in box["env"]}
    assert made["replicas"] == 1 and box["args"][:2] == ["doctor", "--watch"]
    assert env["TAPE_EXCHANGE_URL"]["value"] == BESIDE and env["TAPE_SOURCE"]["value"] == "live"
    assert env["TAPE_ALERT_STATE"]["value"].startswith(box["volumeMounts"][-1]["mountPath"])
    for name in (WEBHOOK, WEBHOOK_SECRET, SMTP_PASSWORD):
        assert env[name]["valueFrom"]["secretKeyRef"] == {"name": "alerts", "key": name, "optional": True}
    told = {name: each.get("value") or "x" for name, each in env.items()}
    sinks = sinks_in({**told, WEBHOOK: "https://alerts.example/tape"})
    assert set(sinks.usable) == {WEBHOOK, EMAIL} and not sinks.refused, "as the command reads them"
    assert repeat_us(told) == 3_600_000_000
    ports = {
        port["port"]
        for each in of_kind(objects, "NetworkPolicy")
        if each["spec"]["podSelector"]["matchLabels"].items()
        <= made["template"]["metadata"]["labels"].items()
        for rule in each["spec"]["egress"]
        for port in rule["ports"]
    }
    assert ports >= {443, 587}
    assert not any("doctor" in each["metadata"]["name"] for each in golden("default"))


@pytest.mark.parametrize("case", CASES)
def test_no_two_objects_have_one_name(case: str) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in golden(case)]
    assert len(names) == len(set(names))
    assert all(len(name) <= 63 for _, name in names)


def test_goldens_are_copies_for_each_test() -> None:
    first = golden("default")
    assert copy.deepcopy(first) == first
    first.clear()
    assert golden("default")
