"""Schemas of the custom resources that the chart makes, closed on every level, and rules beyond schemas.

They have the fields that the chart uses and no others, so that a typo is an unknown field. The facts (types,
required fields, bounds, words allowed) were read from the definitions of these operators:

- KEDA, main branch of 2026-08-20, after 2.20.2: ``config/crd/bases/keda.sh_scaledobjects.yaml``; the metadata
  of a trigger, from the parameters that ``pkg/scalers`` declares for prometheus, cron and kafka; what the
  webhook refuses, from ``apis/keda/v1alpha1``.
- Strimzi 1.2.0: ``packaging/install/cluster-operator``, the files ``Crd-kafkatopic`` and ``Crd-kafkauser``.
- Prometheus operator 0.93.0: ``example/prometheus-operator-crd``, servicemonitors and prometheusrules.
- Kubernetes: its documentation of names, labels and annotations.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import jsonschema

Schema = dict[str, Any]
Found = dict[str, Any]

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
MARK: Schema = {"type": "string", "minLength": 1}
DURATION: Schema = {"type": "string", "pattern": r"^(0|(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?)$"}
NUMBER_TEXT: Schema = {"type": "string", "pattern": r"^\d+(\.\d+)?$"}
FLAG_TEXT: Schema = {"enum": ["true", "false"]}
CRON: Schema = {"type": "string", "pattern": r"^\S+( \S+){4}$"}
NAME: Schema = {"type": "string", "maxLength": 253, "pattern": r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"}
LABEL: Schema = {"type": "string", "maxLength": 63, "pattern": r"^([A-Za-z0-9]([\w.-]*[A-Za-z0-9])?)?$"}
KEY: Schema = {"type": "string", "pattern": r"^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?$"}
TOPIC_KEYS = {
    "cleanup.policy",
    "retention.ms",
    "min.compaction.lag.ms",
    "message.timestamp.type",
    "min.insync.replicas",
}
"""Settings of topics that the chart sets; tests/integration/test_topics_admin.py asks a broker for them."""


def whole(least: int | None = None, most: int | None = None) -> Schema:
    """An integer within bounds."""
    bounds = {"minimum": least, "maximum": most}
    return {"type": "integer", **{name: bound for name, bound in bounds.items() if bound is not None}}


def one_of(*words: str) -> Schema:
    return {"enum": list(words)}


def many(items: Schema, least: int = 0) -> Schema:
    return {"type": "array", "items": items, "minItems": least}


def map_of(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def closed(must: dict[str, Schema], may: dict[str, Schema] | None = None) -> Schema:
    """An object with the fields of ``must``, perhaps those of ``may``, and no others."""
    return {
        "type": "object",
        "properties": {**must, **(may or {})},
        "required": list(must),
        "additionalProperties": False,
    }


def resource(version: str, kind: str, spec: Schema, *, labels: tuple[str, ...] = ()) -> Schema:
    """A whole object. ``labels`` must be there."""
    label_map = {**map_of(LABEL), "propertyNames": KEY, "required": list(labels)}
    metadata = closed({"name": NAME, "labels": label_map}, {"namespace": NAME, "annotations": map_of(TEXT)})
    return closed(
        {"apiVersion": {"const": version}, "kind": {"const": kind}, "metadata": metadata, "spec": spec}
    )


# KEDA

_POLICY = closed({"type": one_of("Pods", "Percent"), "value": whole(1), "periodSeconds": whole(1, 1_800)})
_SCALING = closed({"stabilizationWindowSeconds": whole(0, 3_600), "policies": many(_POLICY, 1)})
_BEHAVIOR = closed({}, {"scaleDown": _SCALING, "scaleUp": _SCALING})
TRIGGERS: dict[str, Schema] = {
    "prometheus": closed(
        {"serverAddress": MARK, "query": MARK, "threshold": NUMBER_TEXT},
        {"activationThreshold": NUMBER_TEXT, "ignoreNullValues": FLAG_TEXT, "timeout": TEXT},
    ),
    "cron": closed({"timezone": MARK, "start": CRON, "end": CRON, "desiredReplicas": NUMBER_TEXT}),
    "kafka": closed(
        {"bootstrapServers": MARK, "consumerGroup": MARK},
        {
            "topic": MARK,
            "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
            "lagThreshold": NUMBER_TEXT,
            "offsetResetPolicy": one_of("latest", "earliest"),
            "allowIdleConsumers": FLAG_TEXT,
            "ensureEvenDistributionOfPartitions": FLAG_TEXT,
            "limitToPartitionsWithLag": FLAG_TEXT,
            "excludePersistentLag": FLAG_TEXT,
            "fullMetadata": FLAG_TEXT,
        },
    ),
}
"""The metadata of a trigger by its type: KEDA's definition takes any text there, and KEDA ignores a typo."""
_TRIGGER = {
    "oneOf": [
        closed(
            {"type": {"const": kind}, "metadata": metadata},
            {
                "name": MARK,
                "metricType": one_of("AverageValue", "Value"),
                "useCachedMetrics": FLAG,
                "authenticationRef": closed(
                    {"name": NAME}, {"kind": one_of("TriggerAuthentication", "ClusterTriggerAuthentication")}
                ),
            },
        )
        for kind, metadata in TRIGGERS.items()
    ]
}
_FALLBACK = closed(
    {"failureThreshold": whole(0), "replicas": whole(0)},
    {
        "behavior": one_of(
            "static",
            "currentReplicas",
            "currentReplicasIfHigher",
            "currentReplicasIfLower",
            "scalingModifiers",
        )
    },
)
_SCALED_OBJECT = closed(
    {
        "scaleTargetRef": closed({"name": MARK}, {"apiVersion": MARK, "kind": MARK}),
        "triggers": many(_TRIGGER, 1),
    },
    {
        "pollingInterval": whole(1),
        "minReplicaCount": whole(0),
        "maxReplicaCount": whole(1),
        "fallback": _FALLBACK,
        "advanced": closed({}, {"horizontalPodAutoscalerConfig": closed({}, {"behavior": _BEHAVIOR})}),
    },
)

# Strimzi

_CLUSTER = ("strimzi.io/cluster",)
_TOPIC = closed(
    {
        "topicName": {"type": "string", "pattern": r"^[\w.-]{1,249}$"},
        "partitions": whole(1),
        "replicas": whole(1, 32_767),
        "config": {**map_of(TEXT), "propertyNames": one_of(*sorted(TOPIC_KEYS))},
    }
)
_OPERATIONS = one_of(
    "Read", "Write", "Create", "Delete", "Alter", "Describe", "ClusterAction", "AlterConfigs",
    "DescribeConfigs", "IdempotentWrite", "All",
)  # fmt: skip
_ACL = closed(
    {
        "resource": closed(
            {"type": one_of("topic", "group", "cluster", "transactionalId")},
            {"name": MARK, "patternType": one_of("literal", "prefix")},
        ),
        "operations": many(_OPERATIONS, 1),
    }
)
_USER = closed(
    {
        "authentication": closed({"type": one_of("tls", "tls-external", "scram-sha-512")}),
        "authorization": closed({"type": one_of("simple"), "acls": many(_ACL)}),
    }
)

# Prometheus operator

_ENDPOINT = closed(
    {},
    {"port": MARK, "path": MARK, "interval": DURATION, "scrapeTimeout": DURATION, "honorLabels": FLAG},
)
_MONITOR = closed(
    {"endpoints": many(_ENDPOINT, 1), "selector": closed({}, {"matchLabels": map_of(LABEL)})},
    {"namespaceSelector": closed({}, {"matchNames": many(NAME), "any": FLAG})},
)
_FOR = {"for": DURATION, "keep_firing_for": DURATION, "labels": map_of(TEXT), "annotations": map_of(TEXT)}
_RULE = {
    "oneOf": [
        closed({"alert": MARK, "expr": MARK}, _FOR),
        closed({"record": MARK, "expr": MARK}, {"labels": map_of(TEXT)}),
    ]
}
_GROUP = closed({"name": MARK}, {"interval": DURATION, "rules": many(_RULE)})

SCHEMAS: dict[tuple[str, str], Schema] = {
    (version, kind): resource(version, kind, spec, labels=labels)
    for version, kind, spec, labels in (
        ("keda.sh/v1alpha1", "ScaledObject", _SCALED_OBJECT, ()),
        ("kafka.strimzi.io/v1", "KafkaTopic", _TOPIC, _CLUSTER),
        ("kafka.strimzi.io/v1", "KafkaUser", _USER, _CLUSTER),
        ("monitoring.coreos.com/v1", "ServiceMonitor", _MONITOR, ()),
        ("monitoring.coreos.com/v1", "PrometheusRule", closed({"groups": many(_GROUP, 1)}), ()),
    )
}


def broken(each: Found) -> Iterator[str]:
    """What is wrong with a custom resource, the field first; nothing if it is valid."""
    about = (each.get("apiVersion", ""), each.get("kind", ""))
    if about not in SCHEMAS:
        yield f"{'/'.join(about)}: no operator of the chart has this kind"
        return
    errors = list(jsonschema.Draft7Validator(SCHEMAS[about]).iter_errors(each))
    for error in errors:
        best = jsonschema.exceptions.best_match([error])
        yield f"{'.'.join(map(str, best.absolute_path))}: {best.message}"
    if not errors and about[1] in RULES:
        yield from RULES[about[1]](each)


def _scaled(each: Found) -> Iterator[str]:
    """What KEDA's webhook and its triggers refuse."""
    spec, name = each["spec"], each["metadata"]["name"]
    if spec.get("minReplicaCount", 0) > spec.get("maxReplicaCount", 100):
        yield "minReplicaCount: more than maxReplicaCount"
    if len(f"keda-hpa-{name}") > 63:
        yield "metadata.name: the autoscaler's name, keda-hpa- before it, has more than 63 characters"
    names = [trigger["name"] for trigger in spec["triggers"] if "name" in trigger]
    if len(set(names)) < len(names):
        yield "triggers: two have one name"
    averages = [trigger.get("metricType", "AverageValue") for trigger in spec["triggers"]]
    if "fallback" in spec and "AverageValue" not in averages:
        yield "fallback: needs a trigger of type AverageValue"
    for trigger in spec["triggers"]:
        yield from _TRIGGER_RULES.get(trigger["type"], _nothing)(trigger["metadata"])


def _nothing(metadata: Found) -> Iterator[str]:
    yield from ()


def _cron(metadata: Found) -> Iterator[str]:
    if metadata["start"] == metadata["end"]:
        yield "cron: start and end are the same"
    if int(metadata["desiredReplicas"]) == 0:
        yield "cron: desiredReplicas is 0"
    try:
        ZoneInfo(metadata["timezone"])
    except ZoneInfoNotFoundError:
        yield f"cron: no time zone {metadata['timezone']}"
    for end in ("start", "end"):
        fields = zip(metadata[end].split(), _CRON_FIELDS, strict=True)
        if not all(_fits(text, *bounds) for text, bounds in fields):
            yield f"cron: {end} is no schedule"


_CRON_FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


def _fits(text: str, least: int, most: int) -> bool:
    """Whether a field of a schedule has numbers within bounds, as in `*`, `5`, `1-5`, `1,3`: the chart writes
    no names of days, which KEDA would take."""
    if not re.fullmatch(r"\*|\d+(-\d+)?(,\d+(-\d+)?)*", text):
        return False
    return all(least <= int(each) <= most for each in re.findall(r"\d+", text))


def _kafka(metadata: Found) -> Iterator[str]:
    on = {name for name, value in metadata.items() if value == "true"}
    if float(metadata.get("lagThreshold", "10")) <= 0:
        yield "kafka: lagThreshold is not positive"
    if "limitToPartitionsWithLag" in on:
        for other in sorted({"allowIdleConsumers", "ensureEvenDistributionOfPartitions"} & on):
            yield f"kafka: limitToPartitionsWithLag and {other} exclude each other"
    by_topic = {"limitToPartitionsWithLag", "ensureEvenDistributionOfPartitions"} & on
    if metadata.get("fullMetadata") == "false":
        by_topic.add("fullMetadata=false")
    if "topic" not in metadata:
        for each in sorted(by_topic):
            yield f"kafka: {each} needs a topic"


_TRIGGER_RULES: dict[str, Callable[[Found], Iterator[str]]] = {"cron": _cron, "kafka": _kafka}


def _rules(each: Found) -> Iterator[str]:
    """Names of groups are the keys of their list."""
    names = [group["name"] for group in each["spec"]["groups"]]
    if len(set(names)) < len(names):
        yield "spec.groups: two have one name"


RULES: dict[str, Callable[[Found], Iterator[str]]] = {"ScaledObject": _scaled, "PrometheusRule": _rules}
