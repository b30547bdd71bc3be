"""Where the tests' servers come from: said by a setting, and refused in words where it cannot be."""

import sys
from types import SimpleNamespace

import pytest

from tapedeck.schemas.errors import Fatal
from tapedeck.tape.deployment.servers import servers as of_compose
from tests.support import servers

CLIENT = "testcontainers.core.docker_client"
TOLD = {servers.SERVERS: servers.DOCKER}


def engine(answers: bool) -> SimpleNamespace:
    """A module whose client has an engine or has none."""

    def ping() -> None:
        if not answers:
            raise ConnectionError("No such file or directory")

    return SimpleNamespace(DockerClient=lambda: SimpleNamespace(client=SimpleNamespace(ping=ping)))


def test_embedded_unless_told() -> None:
    assert not servers.in_containers({}) and not servers.in_containers({servers.SERVERS: ""})
    with pytest.raises(Fatal, match=r"names no servers.*'podman'.*embedded or docker"):
        servers.in_containers({servers.SERVERS: "podman"})


def test_an_engine_that_answers_gives_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, CLIENT, engine(answers=True))
    assert servers.in_containers(TOLD)


def test_without_engine_or_package_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, CLIENT, engine(answers=False))
    with pytest.raises(Fatal, match=r"no Docker engine answers \(No such file.*DOCKER_HOST"):
        servers.in_containers(TOLD)
    monkeypatch.setitem(sys.modules, CLIENT, None)
    with pytest.raises(Fatal, match=r"needs the package testcontainers.*make docker-test"):
        servers.in_containers(TOLD)


def test_the_broker_has_the_settings_of_compose_but_for_its_addresses() -> None:
    composed, made = of_compose()["kafka"]["environment"], servers.kafka_environment(12345)
    differ = {name for name, value in composed.items() if made[name] != value}
    assert differ == {"CLUSTER_ID", "KAFKA_CONTROLLER_QUORUM_VOTERS", "KAFKA_ADVERTISED_LISTENERS"}
    assert made["KAFKA_ADVERTISED_LISTENERS"].endswith("HOST://127.0.0.1:12345")
