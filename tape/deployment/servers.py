"""The servers of the compose file: Kafka, Postgres, and, by profile, registry, UI, metrics and Connect."""

from typing import Any

from tapedeck.tape.deployment.dashboards import FOLDER, MOUNTED

Service = dict[str, Any]

KAFKA_IMAGE = "apache/kafka:4.3.1"
IMAGES = {
    "kafka": KAFKA_IMAGE,
    "postgres": "postgres:18.6",
    "registry": "apicurio/apicurio-registry:3.3.3",
    "ui": "kafbat/kafka-ui:v1.5.0",
    "prometheus": "prom/prometheus:v3.5.0",
    "grafana": "grafana/grafana:12.1.1",
    "connect": KAFKA_IMAGE,
}
BROKER = "kafka:19092"
OWNER, APP, DATABASE = "tape_owner", "tape_app", "audit"
CLUSTER_ID = "dGFwZWRlY2stY29tcG9zZQ"
"""Of the data in the volume: processes refuse a cluster with another id."""
SECRETS = "/run/secrets"
USER = "${TAPE_UID:-10001}:0"
"""The owner of the secret files, which must be the one who reads them; group 0 may write the volumes."""
_KAFKA_DATA = "/var/lib/kafka/data"
_ONE = ("OFFSETS_TOPIC_REPLICATION_FACTOR", "TRANSACTION_STATE_LOG_REPLICATION_FACTOR",
        "TRANSACTION_STATE_LOG_MIN_ISR", "SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR",
        "SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR")  # fmt: skip


def check(*command: str, start_s: int = 60, often_s: int = 3) -> Service:
    """A health check that asks often while the container starts and seldom later.

    Each question is a process of its own: 15 workers asked every 3 s keep a core busy while they start.
    """
    return {
        "test": ["CMD", *command],
        "interval": "30s",
        "timeout": "15s",
        "retries": 4,
        "start_period": f"{start_s}s",
        "start_interval": f"{often_s}s",
    }


def servers() -> dict[str, Service]:
    """Every server that is not ours, by the name of its service."""
    return {
        "kafka": _kafka(),
        "postgres": _postgres(),
        "registry": _registry(),
        "ui": _ui(),
        "prometheus": _prometheus(),
        "grafana": _grafana(),
        "connect": _connect(),
    }


def _server(name: str, **rest: Any) -> Service:
    return {"image": IMAGES[name], "restart": "unless-stopped", **rest}


def _kafka() -> Service:
    """Any KAFKA_ variable switches all defaults of the image off, so everything is said."""
    environment = {
        "CLUSTER_ID": f"${{KAFKA_CLUSTER_ID:-{CLUSTER_ID}}}",
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@kafka:9093",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENERS": "INTERNAL://:19092,HOST://:9092,CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"INTERNAL://{BROKER},HOST://127.0.0.1:9092",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "INTERNAL:PLAINTEXT,HOST:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_INTER_BROKER_LISTENER_NAME": "INTERNAL",
        "KAFKA_LOG_DIRS": _KAFKA_DATA,
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        **{f"KAFKA_{name}": "1" for name in _ONE},
    }
    script = "/opt/kafka/bin/kafka-broker-api-versions.sh"
    return _server(
        "kafka",
        environment=environment,
        ports=["127.0.0.1:9092:9092"],
        volumes=[f"kafka:{_KAFKA_DATA}"],
        healthcheck=check(script, "--bootstrap-server", "localhost:19092", often_s=10),
        stop_grace_period="60s",
    )


def _postgres() -> Service:
    """Postgres 18 keeps its data below the mount, in a folder of its version.

    While it makes a new one, a server answers on the socket only: the check asks by TCP.
    """
    return _server(
        "postgres",
        environment={
            "POSTGRES_USER": OWNER,
            "POSTGRES_DB": DATABASE,
            "POSTGRES_PASSWORD_FILE": f"{SECRETS}/owner_password",
            "POSTGRES_INITDB_ARGS": "--encoding=UTF8 --auth-host=scram-sha-256",
        },
        secrets=["owner_password"],
        ports=["127.0.0.1:5432:5432"],
        volumes=["postgres:/var/lib/postgresql"],
        healthcheck=check("pg_isready", "--host", "127.0.0.1", "--username", OWNER, "--dbname", DATABASE),
        shm_size="256mb",
        stop_grace_period="60s",
    )


def _registry() -> Service:
    """Keeps its ids in Kafka. Set SCHEMA_REGISTRY_URL for every process, or for none."""
    return _server(
        "registry",
        profiles=["registry", "connect"],
        environment={
            "APICURIO_STORAGE_KIND": "kafkasql",
            "APICURIO_KAFKASQL_BOOTSTRAP_SERVERS": BROKER,
        },
        ports=["127.0.0.1:8081:8080"],
        healthcheck=check("curl", "-fsS", "http://localhost:9000/health/ready", start_s=120),
        depends_on={"kafka": {"condition": "service_healthy", "restart": True}},
    )


def _ui() -> Service:
    return _server(
        "ui",
        profiles=["ui"],
        environment={"KAFKA_CLUSTERS_0_NAME": "tapedeck", "KAFKA_CLUSTERS_0_BOOTSTRAPSERVERS": BROKER},
        ports=["127.0.0.1:8080:8080"],
        healthcheck=check("wget", "-q", "-O", "/dev/null", "http://localhost:8080/actuator/health"),
        depends_on={"kafka": {"condition": "service_healthy", "restart": True}},
    )


def _prometheus() -> Service:
    return _server(
        "prometheus",
        profiles=["metrics"],
        command=["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"],
        ports=["127.0.0.1:9090:9090"],
        volumes=["./deploy/prometheus:/etc/prometheus:ro", "prometheus:/prometheus"],
        healthcheck=check("wget", "-q", "-O", "/dev/null", "http://localhost:9090/-/ready"),
    )


def _grafana() -> Service:
    return _server(
        "grafana",
        profiles=["metrics"],
        user=USER,
        environment={"GF_SECURITY_ADMIN_PASSWORD__FILE": f"{SECRETS}/grafana_password"},
        secrets=["grafana_password"],
        ports=["127.0.0.1:3000:3000"],
        volumes=[f"./{FOLDER}:{MOUNTED}:ro", "grafana:/var/lib/grafana"],
        healthcheck=check("wget", "-q", "-O", "/dev/null", "http://localhost:3000/api/health"),
        depends_on={"prometheus": {"condition": "service_healthy", "restart": True}},
    )


def _connect() -> Service:
    """A Connect worker. The connector and its converter are jars that you put into deploy/connect/plugins."""
    return _server(
        "connect",
        profiles=["connect"],
        user=USER,
        command=["/opt/kafka/bin/connect-distributed.sh", "/etc/connect/worker.properties"],
        environment={
            "PGHOST": "postgres",
            "PGPORT": "5432",
            "PGDATABASE": DATABASE,
            "PGUSER": APP,
            "APICURIO_URL": "http://registry:8080",
        },
        ports=["127.0.0.1:8083:8083"],
        secrets=["app_password"],
        volumes=["./deploy/connect:/etc/connect:ro"],
        healthcheck=check("wget", "-q", "-O", "/dev/null", "http://localhost:8083/connectors"),
        depends_on={
            "kafka": {"condition": "service_healthy", "restart": True},
            "registry": {"condition": "service_healthy", "restart": True},
            "migrate": {"condition": "service_completed_successfully"},
        },
    )
