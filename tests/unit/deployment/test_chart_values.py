"""Wrong values and what the chart says of them: by its schema everywhere, by its templates where helm is."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.support.chart import CHART, merged, needs_helm, template

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
DOCUMENT = (CHART / "files" / "tape.toml").read_text()

BY_SCHEMA = {
    "an unknown table": ({"kafak": {}}, "'kafak' was unexpected"),
    "an unknown key": ({"kafka": {"bootstrap": "x:1"}}, "'bootstrap' was unexpected"),
    "an unknown key deep below": (
        {"autoscaling": {"scaleIn": {"seconds": 1}}}, "'seconds' was unexpected",
    ),
    "an unknown stage": ({"stages": {"feature": {}}}, "'feature' was unexpected"),
    "a stage with an underscore": ({"stages": {"post_links": {}}}, "'post_links' was unexpected"),
    "an unknown edge": ({"edges": {"sinks": {}}}, "'sinks' was unexpected"),
    "a digest that is none": ({"image": {"digest": "abc"}}, "'abc' does not match"),
    "brokers without a port": ({"kafka": {"bootstrapServers": "kafka"}}, "'kafka' does not match"),
    "a mechanism that is not offered": ({"kafka": {"mechanism": "GSSAPI"}}, "'GSSAPI' is not one of"),
    "no partitions": ({"partitions": {"symbol": 0}}, "0 is less than the minimum of 1"),
    "words for a number": ({"replication": "three"}, "'three' is not of type 'integer'"),
    "a password in an address": (
        {"schemaRegistry": {"url": "https://me:word@registry:8081"}}, "does not match",
    ),
    "scale-in without calm": (
        {"autoscaling": {"scaleIn": {"stabilizationSeconds": 60}}}, "60 is less than the minimum of 600",
    ),
    "two workers that go at once": (
        {"autoscaling": {"scaleIn": {"periodSeconds": 30}}}, "30 is less than the minimum of 300",
    ),
    "no time to drain": ({"drainSeconds": 5}, "5 is less than the minimum of 10"),
    "root": ({"runAsUser": 0}, "0 is less than the minimum of 1"),
    "memory without a unit": (
        {"stage": {"resources": {"requests": {"cpu": "1", "memory": "512"}, "limits": {"memory": "1Gi"}}}},
        "'512' does not match",
    ),
    "an account without a secret": (
        {"accounts": [{"id": "large", "keyVariable": "A", "secretVariable": "B"}]},
        "'existingSecret' is a required property",
    ),
    "an account with an empty secret": (
        {"accounts": [{"id": "a", "existingSecret": "", "keyVariable": "A", "secretVariable": "B"}]},
        "'' does not match",
    ),
    "a variable in small letters": (
        {"stage": {"extraEnv": [{"name": "x y", "value": ""}]}}, "'x y' does not match",
    ),
    "a password in the mail server's address": (
        {"doctor": {"smtpUrl": "smtp://me:word@mail.example"}}, "does not match",
    ),
    "a session time-out that no broker takes": (
        {"membership": {"sessionTimeoutSeconds": 2}}, "2 is less than the minimum of 6",
    ),
}  # fmt: skip
ONE = VALUES["accounts"][0]
BY_TEMPLATE: dict[str, tuple[dict[str, Any], str]] = {
    "the tag latest": (
        {"image": {"tag": "latest"}},
        "image.tag is latest: name a version",
    ),
    "the tag latest of one process": (
        {"edges": {"scorer": {"imageTag": "latest-ml"}}},
        "edges.scorer.imageTag is latest-ml: name a version",
    ),
    "more workers than partitions": (
        {"autoscaling": {"enabled": False}, "stages": {"features": {"replicas": 24}}},
        "stages.features.replicas is 24: use at most its 12 partitions",
    ),
    "workers that do not divide the partitions": (
        {"autoscaling": {"enabled": False}, "stages": {"signals": {"replicas": 5}}},
        "stages.signals.replicas is 5: use a divisor of its 12 partitions",
    ),
    "two workers of a single stage": (
        {"stages": {"watchlist": {"replicas": 2}}},
        "stages.watchlist.replicas is 2, and the stage has one active worker",
    ),
    "a maximum above the partitions": (
        {"stages": {"features": {"autoscaling": {"maxReplicas": 13}}}},
        "stages.features.autoscaling.maxReplicas is 13: use at most its 12 partitions",
    ),
    "a session floor that is no divisor": (
        {"stage": {"autoscaling": {"sessionReplicas": 5}}},
        "autoscaling.sessionReplicas is 5: use a divisor of its 12 partitions",
    ),
    "a session floor above the maximum": (
        {"stages": {"features": {"autoscaling": {"maxReplicas": 2}}}},
        "stages.features.autoscaling.sessionReplicas is 3: use a divisor of its 12 partitions, at most 2",
    ),
    "a stall shorter than the time-out": (
        {"membership": {"stallSeconds": 5}},
        "membership.sessionTimeoutSeconds is 6 and stallSeconds 5",
    ),
    "a static id that does not outlive a restart": (
        {"membership": {"static": True}},
        "membership.sessionTimeoutSeconds is 6 and restartSeconds 20",
    ),
    "static ids and scale-in": (
        {"membership": {"static": True, "sessionTimeoutSeconds": 45}},
        "membership.static and autoscaling.enabled exclude each other",
    ),
    "an emergency on groups that committed nothing": (
        {"autoscaling": {"emergencyLag": {"enabled": True}}},
        "autoscaling.emergencyLag.enabled without offsetsCommitted",
    ),
    "an emergency without a login": (
        {"autoscaling": {"emergencyLag": {"enabled": True, "offsetsCommitted": True}}},
        "autoscaling.emergencyLag.authentication is empty",
    ),
    "a delay beyond catching up": (
        {"autoscaling": {"delaySeconds": 600, "catchUpSeconds": 300}},
        "autoscaling.delaySeconds is 600 and catchUpSeconds 300",
    ),
    "no login at all": (
        {"strimzi": {"users": False}},
        "kafka.existingSecret is empty and strimzi.users is off",
    ),
    "users on an open listener": ({"kafka": {"protocol": "PLAINTEXT"}}, "kafka.protocol is PLAINTEXT"),
    "users with another mechanism": ({"kafka": {"mechanism": "PLAIN"}}, "kafka.mechanism is PLAIN"),
    "users in another namespace": ({"strimzi": {"namespace": "kafka"}}, "strimzi.namespace is kafka"),
    "no cluster": ({"strimzi": {"cluster": ""}}, "strimzi.cluster is empty"),
    "more copies in sync than copies": (
        {"replication": 1},
        "strimzi.minInsyncReplicas is 2 and replication 1: make it smaller",
    ),
    "a registry's login without its address": (
        {"schemaRegistry": {"existingSecret": "x"}},
        "schemaRegistry.existingSecret is set without schemaRegistry.url",
    ),
    "two documents": (
        {"document": DOCUMENT, "existingDocument": "mine"},
        "document and existingDocument are both set",
    ),
    "an account that the document lacks": (
        {"accounts": [*VALUES["accounts"], {**ONE, "id": "huge", "existingSecret": "h"}]},
        "accounts has huge, which is not in the document: add it there",
    ),
    "an account without a dispatcher": (
        {"accounts": [ONE]},
        "accounts lacks tiny of the document, which would have no dispatcher: add it",
    ),
    "two accounts with one secret": (
        {"accounts": [ONE, {**ONE, "id": "tiny"}]},
        "accounts: large and tiny share the existingSecret tapedeck-account-large: give each its own",
    ),
    "one account twice": (
        {"accounts": [ONE, {**ONE, "existingSecret": "other"}]},
        "accounts has large twice",
    ),
    "one variable for key and secret": (
        {"accounts": [{**ONE, "secretVariable": "TAPE_LARGE_KEY"}]},
        "accounts: keyVariable and secretVariable of large are both TAPE_LARGE_KEY: name two",
    ),
    "market data without keys": (
        {"edges": {"ingest-bars": {"existingSecret": ""}}},
        "edges.ingest-bars.existingSecret is empty: name the secret with the keys APCA_API_KEY_ID",
    ),
    "a doctor that can tell nobody": (
        {"doctor": {"enabled": True}},
        "doctor.existingSecret and doctor.email are both empty: name a secret",
    ),
    "mail without a server": (
        {"doctor": {"enabled": True, "email": "desk@desk.example"}},
        "doctor.smtpUrl is empty and doctor.email is not: set it",
    ),
    "names that are too long": (
        {"fullnameOverride": "a-name-that-leaves-no-room-for-a-stage"},
        "KEDA and StatefulSets allow 52",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_SCHEMA)
def test_wrong_value_is_refused_by_the_schema(case: str) -> None:
    change, said = BY_SCHEMA[case]
    values = merged(VALUES, change)
    found = list(jsonschema.Draft7Validator(SCHEMA).iter_errors(values))
    assert len(found) == 1, "the change is wrong in one way"
    assert said in found[0].message


@pytest.mark.parametrize("case", BY_TEMPLATE)
def test_value_that_only_templates_can_refuse_satisfies_the_schema(case: str) -> None:
    jsonschema.validate(merged(VALUES, BY_TEMPLATE[case][0]), SCHEMA)


def test_every_refusal_of_the_templates_has_a_case() -> None:
    text = (CHART / "templates" / "_checks.tpl").read_text()
    assert len(BY_SCHEMA) + len(BY_TEMPLATE) >= 30
    refusals = text.count("{{- fail ")
    assert refusals == len(REFUSALS)
    elsewhere = {"drainSeconds", "jobs.init migrates"}  # the schema forbids the first; the second is below
    same = {"a session floor above the maximum", "the tag latest of one process"}
    assert refusals == len(BY_TEMPLATE.keys() - same) + len(elsewhere)


def refusal(change: dict[str, Any], folder: Path) -> str:
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(change))
    done = template("--values", str(path))
    assert done.returncode, "the values were accepted"
    return done.stderr


@needs_helm
@pytest.mark.parametrize("case", BY_TEMPLATE)
def test_combination_that_cannot_work_is_refused_in_words(case: str, tmp_path: Path) -> None:
    change, said = BY_TEMPLATE[case]
    assert said in refusal(change, tmp_path)


@needs_helm
def test_init_without_migration_is_refused_too(tmp_path: Path) -> None:
    change = {"jobs": {"migrate": False}, "existingDocument": "mine"}
    assert "jobs.init migrates the tables too" in refusal(change, tmp_path)


def leaves(change: dict[str, Any], path: str = "") -> set[str]:
    """The places that a change touches."""
    found = set()
    for name, value in change.items():
        place = f"{path}/{name}"
        found |= leaves(value, place) if isinstance(value, dict) and value else {place}
    return found


def together(changes: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Few values files with all the changes: two in one file touch different places."""
    files: list[tuple[set[str], dict[str, Any]]] = []
    for change in changes.values():
        mine = leaves(change)
        for taken, values in files:
            if not any(
                f"{a}/".startswith(f"{b}/") or f"{b}/".startswith(f"{a}/") for a in mine for b in taken
            ):
                taken.update(mine)
                values.update(merged(values, change))
                break
        else:
            files.append((mine, dict(change)))
    return [values for _, values in files]


@needs_helm
def test_helm_names_the_place_of_every_value_that_the_schema_refuses(tmp_path: Path) -> None:
    files = together({case: change for case, (change, _) in BY_SCHEMA.items()})
    assert 1 < len(files) < 5
    told = "".join(refusal(values, tmp_path) for values in files)
    for case, (change, said) in BY_SCHEMA.items():
        (error,) = jsonschema.Draft7Validator(SCHEMA).iter_errors(merged(VALUES, change))
        place = "".join(f"/{each}" for each in error.absolute_path)
        lines = [line for line in told.splitlines() if f"at '{place}': " in line]
        assert lines, f"{case}: {place}"
        if said.endswith("was unexpected"):
            assert any(said.split("'")[1] in line for line in lines), case


REFUSALS = re.findall(r'fail \(?(?:printf )?"(.*?)"', (CHART / "templates" / "_checks.tpl").read_text())
REMEDY = r": (set|name|use|give|make|add|rename|keep|shorten|install|commit) "


@pytest.mark.parametrize("message", REFUSALS)
def test_refusal_begins_with_the_value_and_tells_what_to_do(message: str) -> None:
    first = re.split(r"[ ,.:]", message)[0]
    assert first in VALUES or message.startswith("%s is %s: name a version"), first
    assert re.search(REMEDY, message), message
