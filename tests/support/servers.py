"""Where the tests' Kafka and Postgres come from: embedded, or containers with ``TAPE_TEST_SERVERS=docker``.

A run that is killed leaves its containers: docker ps --filter label=org.testcontainers=true lists them.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tapedeck.connectors.kafka.cluster import Cluster, accepts
from tapedeck.connectors.kafka.identity import cluster_id_of
from tapedeck.schemas.errors import Fatal, TapeError
from tapedeck.tape.deployment.servers import IMAGES, servers
from tapedeck.tape.local.places import LOOPBACK, free_port

SERVERS = "TAPE_TEST_SERVERS"
EMBEDDED, DOCKER = "embedded", "docker"
KAFKA_IMAGE, POSTGRES_IMAGE = "TAPE_TEST_KAFKA_IMAGE", "TAPE_TEST_POSTGRES_IMAGE"
"""Settings; by default the images of docker-compose.yml."""
_START_S = 180.0
_KAFKA_PORT = 9092
_LOGIN = "tests"


def in_containers(told: Mapping[str, str] = os.environ) -> bool:
    """Whether the servers are containers. Raises Fatal if the setting is neither, or nothing can run them."""
    chosen = told.get(SERVERS) or EMBEDDED
    if chosen not in (EMBEDDED, DOCKER):
        raise Fatal(f"{SERVERS} names no servers", value=chosen, remedy=f"set it to {EMBEDDED} or {DOCKER}")
    if chosen == DOCKER:
        _engine()
    return chosen == DOCKER


def _engine() -> Any:
    """The client of an engine that answers. Raises Fatal without the package or without an engine."""
    # Its helper container would need an image of its own; what is started here is stopped here.
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    try:
        from testcontainers.core.docker_client import DockerClient
    except ImportError:
        remedy = "run make docker-test, which installs it, or pip install testcontainers"
        raise Fatal(f"{SERVERS}={DOCKER} needs the package testcontainers", remedy=remedy) from None
    try:
        client = DockerClient()
        client.client.ping()
    except Exception as error:
        remedy = "start one (tests/engine/start.sh does), name it in DOCKER_HOST, or unset the variable"
        raise Fatal(f"{SERVERS}={DOCKER}, but no Docker engine answers ({error})", remedy=remedy) from None
    return client


@contextmanager
def kafka() -> Iterator[tuple[str, str]]:
    """A broker in a container: its address and its cluster id. Raises Fatal if it does not answer in time."""
    from testcontainers.core.container import DockerContainer

    port = free_port()
    container = DockerContainer(os.environ.get(KAFKA_IMAGE) or IMAGES["kafka"])
    container.ports[f"{_KAFKA_PORT}/tcp"] = (LOOPBACK, port)
    for name, value in kafka_environment(port).items():
        container.with_env(name, value)
    address = f"{LOOPBACK}:{port}"
    with container:
        yield address, _answers(address, container)


def kafka_environment(port: int) -> dict[str, str]:
    """The broker's settings of docker-compose.yml, for one that the tests reach on ``port``."""
    made: dict[str, str] = {**servers()["kafka"]["environment"]}
    return made | {
        "CLUSTER_ID": "dGFwZWRlY2stdGVzdHMtMQ",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"INTERNAL://localhost:19092,HOST://{LOOPBACK}:{port}",
        "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "4",
        "KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "4",
    }


def _answers(address: str, container: Any) -> str:
    until = time.monotonic() + _START_S
    while True:
        try:
            if accepts(address):
                return cluster_id_of(Cluster(address))
        except TapeError:
            pass
        if time.monotonic() > until:
            told = b"".join(container.get_logs()).decode(errors="replace")[-2000:]
            raise Fatal(
                f"Kafka did not answer within {_START_S:g} s\n{told}", value=address, remedy="see its log"
            )
        time.sleep(0.5)


@contextmanager
def postgres() -> Iterator[str]:
    """The address of a Postgres in a container, as a role that may do everything."""
    from testcontainers.community.postgres import PostgresContainer

    image = os.environ.get(POSTGRES_IMAGE) or IMAGES["postgres"]
    container = PostgresContainer(image, username=_LOGIN, password=_LOGIN, dbname=_LOGIN)
    container.ports[container.port] = (LOOPBACK,)
    with container:
        yield container.get_connection_url(host=LOOPBACK, driver=None)
