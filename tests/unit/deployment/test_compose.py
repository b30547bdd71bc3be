"""docker-compose.yml: equal to what the topology makes of it, and right by every rule, without Docker."""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS, example_account
from tapedeck.streams.config.text_groups import Sentiment
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.deployment.__main__ import main
from tapedeck.tape.deployment.compose import compose, files, prometheus
from tapedeck.tape.deployment.compose_rules import RULES, broken
from tapedeck.tape.deployment.processes import long_lived, processes
from tapedeck.tape.deployment.yaml_text import as_yaml
from tests.support.cases import REPOSITORY

CONFIG = Config(accounts=EXAMPLE_ACCOUNTS)
FOUND = processes(TOPOLOGY, CONFIG)
DOCUMENT = compose(TOPOLOGY, CONFIG)
Change = Callable[[dict[str, Any]], object]


def at(services: dict[str, Any], name: str, key: str, value: Any) -> None:
    services[name][key] = value


def said(services: dict[str, Any], name: str, variable: str, value: str) -> None:
    services[name]["environment"][variable] = value


# (a change of the services, the words of the rule that it breaks)
BREAKS: list[tuple[Change, str]] = [
    (lambda s: at(s, "kafka", "image", "apache/kafka"), "kafka: image 'apache/kafka' is not pinned"),
    (lambda s: at(s, "ui", "image", "kafbat/kafka-ui:latest"), "ui: image 'kafbat/kafka-ui:latest' is not"),
    (lambda s: at(s, "kafka", "image", "bitnami/kafka:4.3.1"), "kafka: bitnami's images get no updates"),
    (lambda s: said(s, "kafka", "KAFKA_LOG_DIRS", "/data/logs"), "'/data/logs' is in no named"),
    (lambda s: s["kafka"]["environment"].pop("KAFKA_LOG_DIRS"), "KAFKA_LOG_DIRS '' is in no named volume"),
    (lambda s: at(s, "kafka", "volumes", ["./k:/var/lib/kafka/data"]), "is in no named volume"),
    (
        lambda s: at(s, "postgres", "volumes", ["postgres:/var/lib/postgresql/data"]),
        "the volume belongs at /var/lib/postgresql",
    ),
    (
        lambda s: s["kafka"]["environment"].pop("KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR"),
        "kafka: KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR must be 1",
    ),
    (lambda s: at(s, "grafana", "ports", ["3000:3000"]), "grafana: port '3000:3000' is open to other"),
    (lambda s: at(s, "sink", "restart", "no"), "sink: restart is 'no', not 'unless-stopped'"),
    (lambda s: at(s, "init", "restart", "unless-stopped"), "init: restart is 'unless-stopped', not 'on-f"),
    (lambda s: at(s, "play", "restart", "on-failure:5"), "play: restart is 'on-failure:5', not 'no'"),
    (lambda s: s["prometheus"].pop("healthcheck"), "prometheus: has no health check"),
    (
        lambda s: said(s, "sink", "DATABASE_PASSWORD", "x"),
        "sink: DATABASE_PASSWORD holds a secret: name a file in DATABASE_PASSWORD_FILE",
    ),
    (
        lambda s: said(s, "sink", "DATABASE_URL", "postgresql://a:b@postgres/x"),
        "sink: DATABASE_URL holds a secret",
    ),
    (lambda s: at(s, "sink", "secrets", []), "sink: DATABASE_PASSWORD_FILE names the secret"),
    (
        lambda s: s["doctor"]["secrets"].remove("tape_smtp_password"),
        "doctor: TAPE_SMTP_PASSWORD_FILE names the secret",
    ),
    (lambda s: at(s, "ui", "secrets", ["other"]), "ui: secret other is not declared"),
    (lambda s: s.pop("post-links"), "post-links: this process of the deployment is missing"),
    (lambda s: at(s, "signals", "command", ["worker", "scores"]), "signals: its command is not tape worker"),
    (lambda s: s["sink"]["environment"].pop("DATABASE_URL"), "sink: DATABASE_URL is not set"),
    (
        lambda s: s["dispatch-tiny"]["environment"].pop("TAPE_TINY_KEY_FILE"),
        "dispatch-tiny: TAPE_TINY_KEY_FILE is not set",
    ),
    (lambda s: s["dispatch-tiny"].pop("network_mode"), "dispatch-tiny: only what talks to the exchange"),
    (
        lambda s: said(s, "dispatch-tiny", "TAPE_HEALTH_PORT", "9464"),
        "dispatch-tiny: has the health port 9464 of exchange",
    ),
    (lambda s: at(s, "features", "read_only", False), "features: its root is writable"),
    (lambda s: at(s, "features", "user", "0:0"), "features: runs as root"),
    (lambda s: s["features"]["depends_on"].update(other={}), "features: depends on other, which is"),
    (
        lambda s: s["features"]["depends_on"].update(kafka={"condition": "service_started"}),
        "features: starts before kafka is ready",
    ),
    (lambda s: [each["depends_on"].pop("migrate", 0) for each in s.values() if "depends_on" in each],
     "migrate: no process waits for this job"),
    (lambda s: s["sink"]["volumes"].append("more:/more"), "sink: volume more is not declared"),
]  # fmt: skip


def test_the_files_in_the_repository_are_what_the_topology_makes() -> None:
    for name, text in files(TOPOLOGY, CONFIG).items():
        assert (REPOSITORY / name).read_text() == text, "run python -m tapedeck.tape.deployment"


def test_the_document_breaks_no_rule() -> None:
    assert broken(DOCUMENT, FOUND) == []


@pytest.mark.parametrize(("change", "words"), BREAKS, ids=[words for _, words in BREAKS])
def test_a_changed_document_is_refused_by_the_rule(change: Change, words: str) -> None:
    changed = deepcopy(DOCUMENT)
    change(changed["services"])
    assert words in "\n".join(broken(changed, FOUND))


def test_rules_of_the_whole_document_fire() -> None:
    named = {**DOCUMENT, "version": "3.8"}
    assert broken(named, FOUND) == ["the key version is obsolete: remove it"]
    spelled = deepcopy(DOCUMENT)
    spelled["secrets"]["app_password"] = {"environment": "APP_PASSWORD"}
    assert broken(spelled, FOUND) == ["secret app_password: comes from environment, not from a file"]


def test_every_rule_has_a_case_that_breaks_it() -> None:
    fired = set()
    for change, _ in BREAKS:
        changed = deepcopy(DOCUMENT)
        change(changed["services"])
        fired |= {rule for rule in RULES if list(rule(changed, FOUND))}
    fired |= {rule for rule in RULES if list(rule({**DOCUMENT, "version": "3"}, FOUND))}
    assert fired == set(RULES)


def test_prometheus_asks_every_process_that_runs_long() -> None:
    jobs = {
        job["job_name"]: job["dns_sd_configs"][0] for job in prometheus(TOPOLOGY, CONFIG)["scrape_configs"]
    }
    assert {each.name for each in long_lived(FOUND)} <= set(jobs)
    assert jobs["dispatch-tiny"] == {"names": ["trading"], "type": "A", "port": 9467}
    assert jobs["post_links"] == {"names": ["post-links"], "type": "A", "port": 9464}


def test_what_the_doctor_sends_alarms_with_is_optional() -> None:
    doctor = DOCUMENT["services"]["doctor"]
    assert doctor["profiles"] == ["alerts"] and "doctor" not in DOCUMENT["services"]["play"]["depends_on"]
    environment, variable = doctor["environment"], "TAPE_ALERT_WEBHOOK_FILE"
    # The variable is set, and the secret is a file with something in it, only where the variable names one.
    assert environment[variable] == f"${{{variable}:+/run/secrets/tape_alert_webhook}}"
    assert DOCUMENT["secrets"]["tape_alert_webhook"] == {"file": f"${{{variable}:-/dev/null}}"}
    assert environment["TAPE_ALERT_EMAIL"] == "${TAPE_ALERT_EMAIL:-}"
    assert environment["TAPE_ALERT_STATE"].startswith(doctor["volumes"][-1].rpartition(":")[2])


def test_connects_worker_gets_all_that_its_connector_names() -> None:
    folder = REPOSITORY / "deploy" / "connect"
    settings = dict(
        line.split("=", 1) for line in (folder / "worker.properties").read_text().splitlines() if "=" in line
    )
    connector = json.loads((folder / "jdbc-sink.json").read_text())["config"]
    service = DOCUMENT["services"]["connect"]
    named = {found for value in connector.values() for found in re.findall(r"\$\{(\w+):([^}]+)\}", value)}
    assert {kind for kind, _ in named} == set(settings["config.providers"].split(","))
    assert all(settings[f"config.providers.{kind}.class"] for kind, _ in named)
    assert {name for kind, name in named if kind == "env"} == set(service["environment"])
    assert {(*name.split(":"),) for kind, name in named if kind == "secret"} == {
        ("/run/secrets", "app_password")
    }
    assert service["secrets"] == ["app_password"] and service["user"] == DOCUMENT["services"]["sink"]["user"]
    assert settings["bootstrap.servers"] == "kafka:19092"
    (mounted,) = service["volumes"]
    assert settings["plugin.path"].startswith(mounted.split(":")[1])


def test_one_service_builds_each_image() -> None:
    config = Config(accounts=EXAMPLE_ACCOUNTS, sentiment=Sentiment(engine="finbert"))
    for document, images in ((DOCUMENT, 2), (compose(TOPOLOGY, config), 3)):
        ours = [s for s in document["services"].values() if s["image"].startswith("tapedeck:")]
        built = [s["image"] for s in ours if "build" in s]
        assert sorted(built) == sorted({s["image"] for s in ours}) and len(built) == images
        assert all(("build" in s) is ("pull_policy" not in s) for s in ours)


def test_no_health_check_says_yes_to_everything() -> None:
    told = {
        name: each["healthcheck"]["test"]
        for name, each in DOCUMENT["services"].items()
        if "healthcheck" in each
    }
    assert len(told) > 15 and not [name for name, test in told.items() if test[1] in ("true", ":", "echo")]


def test_other_accounts_and_engines_make_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = Config(accounts=(example_account("mine", "small"),), sentiment=Sentiment(engine="finbert"))
    (tmp_path / "my.toml").write_text(config.to_toml())
    assert main(["my.toml"]) == 0
    text = (tmp_path / "docker-compose.yml").read_text()
    assert "dispatch-mine:" in text and "tape_mine_key:" in text and "large" not in text
    document = compose(TOPOLOGY, config)
    assert document["services"]["scorer"]["profiles"] == ["ml"]
    assert document["services"]["scorer"]["image"].endswith("-ml")
    assert broken(document, processes(TOPOLOGY, config)) == []


def test_a_bad_document_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.toml").write_text("nonsense = 1\n")
    assert main(["my.toml"]) == 2
    assert "tape: " in capsys.readouterr().err and not (tmp_path / "docker-compose.yml").exists()


def test_yaml_quotes_what_another_reader_could_misread() -> None:
    text = as_yaml({"a": "no", "b": "1", "c": ["x", "y:z"], "d": {"e": {}}, "f": [{"g": "h", "i": 2}]})
    assert text == 'a: "no"\nb: "1"\nc: [x, "y:z"]\nd:\n  e: {}\nf:\n  - g: h\n    i: 2\n'
