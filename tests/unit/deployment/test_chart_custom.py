"""Objects of the chart against schemas, kind by kind: those of Kubernetes and those of its operators."""

import re
from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.support.chart import CASES, CHART, CUSTOM, KUBERNETES, Found, golden, named, of_kind
from tests.support.custom_resources import KEY, LABEL, NAME, SCHEMAS, broken

Spoil = Callable[[Any], object]
CORE = {
    "ConfigMap", "Service", "StatefulSet", "Deployment", "Job", "PodDisruptionBudget", "NetworkPolicy",
}  # fmt: skip


def first(kind: str) -> Found:
    """An object of a kind, the one with the most triggers where there are several."""
    found = [each for case in CASES for each in of_kind(golden(case), kind)]
    return max(found, key=lambda each: len(each.get("spec", {}).get("triggers", ())))


def renamed(field: Found, old: str, new: str) -> None:
    field[new] = field.pop(old)


def test_each_kind_that_is_rendered_has_a_schema_and_each_schema_an_object() -> None:
    seen = {(each["apiVersion"], each["kind"]) for case in CASES for each in golden(case)}
    assert {kind for version, kind in seen if version not in CUSTOM} == CORE
    assert {each for each in seen if each[0] in CUSTOM} == set(SCHEMAS)


@pytest.mark.parametrize("case", CASES)
def test_custom_resources_satisfy_what_their_operators_define(case: str) -> None:
    custom = [each for each in golden(case) if each["apiVersion"] in CUSTOM]
    assert len(custom) > 5
    found = {each["metadata"]["name"]: list(broken(each)) for each in custom}
    assert {name: said for name, said in found.items() if said} == {}


@pytest.mark.parametrize("case", CASES)
def test_names_and_labels_are_those_that_kubernetes_takes(case: str) -> None:
    for each in golden(case):
        metadata = each["metadata"]
        assert re.fullmatch(NAME["pattern"], metadata["name"]), metadata["name"]
        template = each.get("spec", {}).get("template", {}).get("metadata", {})
        for name, value in {**metadata["labels"], **template.get("labels", {})}.items():
            assert re.fullmatch(KEY["pattern"], name), name
            assert re.fullmatch(LABEL["pattern"], value) and len(value) <= 63, value


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_the_oldest_kubernetes_that_the_chart_takes_and_the_newest_known_have_all_its_fields(
    version: str,
) -> None:
    chosen = [
        *(first(kind) for kind in sorted(CORE)),
        named(golden("own"), "StatefulSet", "px-dispatch-large"),
    ]
    for each in chosen:
        kubernetes_validate.validate(each, version, strict=True)
    oldest = yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"]
    assert oldest == ">=1.30.0-0"


def box(each: Found) -> Found:
    return each["spec"]["template"]["spec"]["containers"][0]


CORE_TYPOS: list[tuple[str, str, Spoil]] = [
    ("ConfigMap", "an unknown field", lambda it: renamed(it, "data", "dat")),
    ("ConfigMap", "a number for a text", lambda it: it["data"].update(n=1)),
    ("Service", "an unknown field", lambda it: renamed(it["spec"], "clusterIP", "clusterIp")),
    ("Service", "a port without a number", lambda it: it["spec"]["ports"][0].pop("port")),
    ("StatefulSet", "an unknown field", lambda it: renamed(it["spec"], "podManagementPolicy", "podPolicy")),
    ("StatefulSet", "a typo deep below", lambda it: renamed(box(it)["startupProbe"], "httpGet", "httpget")),
    ("StatefulSet", "no selector", lambda it: it["spec"].pop("selector")),
    ("Deployment", "an unknown field", lambda it: renamed(it["spec"], "strategy", "updateStrategy")),
    ("Deployment", "words for a number", lambda it: it["spec"].update(replicas="one")),
    ("Job", "an unknown field", lambda it: renamed(it["spec"], "backoffLimit", "backOffLimit")),
    ("Job", "a container without a name", lambda it: box(it).pop("name")),
    ("PodDisruptionBudget", "an unknown field", lambda it: renamed(it["spec"], "selector", "selectors")),
    ("NetworkPolicy", "an unknown field", lambda it: renamed(it["spec"], "policyTypes", "policyType")),
    ("NetworkPolicy", "words for a number", lambda it: it["spec"]["egress"][0].update(ports="dns")),
]


@pytest.mark.parametrize("kind, what, spoil", CORE_TYPOS)
def test_wrong_object_of_kubernetes_is_refused(kind: str, what: str, spoil: Spoil) -> None:
    made = first(kind)
    kubernetes_validate.validate(made, KUBERNETES, strict=True)
    spoil(made)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(made, KUBERNETES, strict=True)


def trigger(each: Found, kind: str) -> Found:
    (found,) = (one for one in each["spec"]["triggers"] if one["type"] == kind)
    return found["metadata"]


TYPOS: list[tuple[str, str, Spoil]] = [
    ("ScaledObject", "no operator", lambda it: it.update(apiVersion="keda.sh/v1")),
    ("ScaledObject", "'maxReplicas' was", lambda it: renamed(it["spec"], "maxReplicaCount", "maxReplicas")),
    ("ScaledObject", "'scaleTargetRef' is a req", lambda it: it["spec"].pop("scaleTargetRef")),
    ("ScaledObject", "'always' is not one of", lambda it: it["spec"]["fallback"].update(behavior="always")),
    ("ScaledObject", "is not of type 'integer'", lambda it: it["spec"].update(pollingInterval="30s")),
    ("ScaledObject", "less than the minimum of 1", lambda it: it["spec"].update(maxReplicaCount=0)),
    ("ScaledObject", "spec.triggers", lambda it: it["spec"].update(triggers=[])),
    ("ScaledObject", "spec.triggers", lambda it: renamed(trigger(it, "kafka"), "topic", "topics")),
    ("ScaledObject", "spec.triggers", lambda it: trigger(it, "kafka").update(offsetResetPolicy="newest")),
    ("ScaledObject", "spec.triggers", lambda it: trigger(it, "prometheus").update(threshold=1)),
    ("ScaledObject", "spec.triggers", lambda it: trigger(it, "cron").pop("timezone")),
    ("ScaledObject", "more than maxReplicaCount", lambda it: it["spec"].update(minReplicaCount=99)),
    ("ScaledObject", "more than 63 characters", lambda it: it["metadata"].update(name="x" * 55)),
    ("ScaledObject", "two have one name", lambda it: [x.update(name="a") for x in it["spec"]["triggers"]]),
    (
        "ScaledObject", "fallback: needs a trigger",
        lambda it: [one.update(metricType="Value") for one in it["spec"]["triggers"]],
    ),
    ("ScaledObject", "start and end are the same", lambda it: trigger(it, "cron").update(end="0 9 * * 1-5")),
    ("ScaledObject", "start is no schedule", lambda it: trigger(it, "cron").update(start="0 25 * * 1-5")),
    ("ScaledObject", "end is no schedule", lambda it: trigger(it, "cron").update(end="61 16 * * 1-5")),
    ("ScaledObject", "desiredReplicas is 0", lambda it: trigger(it, "cron").update(desiredReplicas="0")),
    ("ScaledObject", "no time zone", lambda it: trigger(it, "cron").update(timezone="America/NewYork")),
    ("ScaledObject", "lagThreshold is not pos", lambda it: trigger(it, "kafka").update(lagThreshold="0")),
    (
        "ScaledObject", "ensureEvenDistributionOfPartitions exclude",
        lambda it: trigger(it, "kafka").update(limitToPartitionsWithLag="true"),
    ),
    ("ScaledObject", "fullMetadata=false needs a topic", lambda it: trigger(it, "kafka").pop("topic")),
    ("KafkaTopic", "no operator", lambda it: it.update(apiVersion="kafka.strimzi.io/v1beta2")),
    ("KafkaTopic", "'partition' was unexpected", lambda it: renamed(it["spec"], "partitions", "partition")),
    ("KafkaTopic", "less than the minimum of 1", lambda it: it["spec"].update(partitions=0)),
    ("KafkaTopic", "greater than the maximum", lambda it: it["spec"].update(replicas=40_000)),
    ("KafkaTopic", "'retention' is not one of", lambda it: it["spec"]["config"].update(retention="1")),
    ("KafkaTopic", "is not of type 'string'", lambda it: it["spec"]["config"].update({"retention.ms": 1})),
    ("KafkaTopic", "'strimzi.io/cluster' is", lambda it: it["metadata"]["labels"].pop("strimzi.io/cluster")),
    ("KafkaTopic", "does not match", lambda it: it["metadata"].update(name="px.post_links")),
    ("KafkaUser", "'acl' was unexpected", lambda it: renamed(it["spec"]["authorization"], "acls", "acl")),
    ("KafkaUser", "is not one of", lambda it: it["spec"]["authentication"].update(type="scram-sha-256")),
    (
        "KafkaUser", "'prefixed' is not one of",
        lambda it: it["spec"]["authorization"]["acls"][0]["resource"].update(patternType="prefixed"),
    ),
    (
        "KafkaUser", "'READ' is not one of",
        lambda it: it["spec"]["authorization"]["acls"][0].update(operations=["READ"]),
    ),
    ("ServiceMonitor", "'endpoint' was unexpected", lambda it: renamed(it["spec"], "endpoints", "endpoint")),
    ("ServiceMonitor", "does not match", lambda it: it["spec"]["endpoints"][0].update(interval="15 s")),
    ("ServiceMonitor", "'selector' is a required", lambda it: it["spec"].pop("selector")),
    ("PrometheusRule", "'rule' was unexpected", lambda it: renamed(it["spec"]["groups"][0], "rules", "rule")),
    ("PrometheusRule", "spec.groups", lambda it: it["spec"]["groups"][0]["rules"][0].pop("expr")),
    ("PrometheusRule", "spec.groups", lambda it: it["spec"]["groups"][0]["rules"][0].update(For="1m")),
    ("PrometheusRule", "spec.groups", lambda it: it["spec"]["groups"][0]["rules"][0].update(record="x")),
    ("PrometheusRule", "two have one name", lambda it: it["spec"]["groups"].append(it["spec"]["groups"][0])),
]  # fmt: skip


@pytest.mark.parametrize("kind, said, spoil", TYPOS)
def test_wrong_custom_resource_is_refused(kind: str, said: str, spoil: Spoil) -> None:
    made = first(kind)
    assert list(broken(made)) == []
    spoil(made)
    found = list(broken(made))
    assert any(said in each for each in found), found


def test_every_kind_has_a_typo_that_is_caught() -> None:
    assert {kind for kind, *_ in CORE_TYPOS} == CORE
    assert {kind for kind, *_ in TYPOS} == {kind for _, kind in SCHEMAS}
