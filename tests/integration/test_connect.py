"""Kafka Connect's JDBC sink and the native sink store the same rows, table by table."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from psycopg import conninfo, sql
from sqlalchemy import DateTime

from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.postgres import connect as jdbc
from tapedeck.connectors.postgres.database import downgrade, upgrade
from tapedeck.connectors.postgres.tables import table_of
from tapedeck.connectors.registry import Registry, use_registry
from tapedeck.schemas import codec
from tapedeck.schemas.codec import encode
from tapedeck.streams.watermarks import headers_for
from tapedeck.streams.wire import Origin, Wire
from tapedeck.tape.local.places import free_port
from tapedeck.topics.catalogue import WATERMARK_KEY, Layout
from tests.conftest import Broker, Database
from tests.support import java
from tests.support.audit import T0, Pipeline, eventually
from tests.support.outside import samples

pytestmark = [pytest.mark.integration, pytest.mark.long]
NAMES = tuple(each.name for each in jdbc.topics())


@pytest.fixture
def pipeline(kafka: Broker, postgres: Database, prefix: str, tmp_path: Path) -> Iterator[Pipeline]:
    """Records of every topic with Apicurio's ids, and a Connect worker that can reach all three servers."""
    layout = Layout(prefix, symbol_partitions=2, account_partitions=1)
    ensure(Cluster(kafka.bootstrap, layout))
    upgrade(postgres.url, prefix)
    with ExitStack() as stack:
        stack.callback(downgrade, postgres.url, prefix)
        stack.callback(codec.use_ids, None)
        url = stack.enter_context(java.registry(tmp_path / "apicurio"))
        use_registry(Registry(url=f"{url}/apis/ccompat/v7"), prefix)
        made = Pipeline(kafka.bootstrap, postgres.url, layout, NAMES)
        _write(made)
        made.connect = stack.enter_context(_worker(made, url, tmp_path / "connect"))
        yield made


def _write(pipeline: Pipeline) -> None:
    writer = KafkaLogWriter(pipeline.cluster, Origin("test", "9.9.9", "cafe"), linger_ms=5)
    wires = []
    for topic in jdbc.topics():
        for n, sample in enumerate(samples(topic.schema)):
            body = _storable(sample) | {"event_id": f"{topic.name}-{n}"}
            place = pipeline.layout.partition(topic.name, body)
            value = encode(topic.schema, body)
            wires += [Wire(topic.name, place, topic.record_key(body), value, T0 // 1000, [])] * 2
        wires.append(Wire(topic.name, 0, WATERMARK_KEY, None, T0 // 1000, headers_for(T0)))
    writer.write(wires)
    writer.close()


def _storable(body: dict[str, Any]) -> dict[str, Any]:
    """Times that Postgres and Java have, with microseconds."""
    return {
        name: T0 + 123_456
        if isinstance(value, int) and not isinstance(value, bool) and value > 2**40
        else value
        for name, value in body.items()
    }


def _worker(pipeline: Pipeline, registry: str, folder: Path) -> Any:
    worker, sink = java.connect()
    java.plugin(sink, folder / "plugins" / "jdbc")
    port = free_port()
    settings = {
        "bootstrap.servers": pipeline.bootstrap,
        "listeners": f"http://127.0.0.1:{port}",
        "plugin.path": str(folder / "plugins"),
        "plugin.discovery": "only_scan",
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.storage.StringConverter",
        "offset.storage.file.filename": str(folder / "offsets"),
        "config.providers": "env",
        "config.providers.env.class": "org.apache.kafka.common.config.provider.EnvVarConfigProvider",
    }
    properties = folder / "worker.properties"
    properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    at = conninfo.conninfo_to_dict(pipeline.url)
    env = {
        "PGHOST": str(at["host"]), "PGPORT": str(at.get("port", 5432)), "PGDATABASE": str(at["dbname"]),
        "PGUSER": str(at["user"]), "PGPASSWORD": str(at.get("password", "")), "APICURIO_URL": registry,
    }  # fmt: skip
    classes = ["-cp", f"{worker}/*", "org.apache.kafka.connect.cli.ConnectStandalone", str(properties)]
    return _running(java.serving(classes, f"http://127.0.0.1:{port}/connectors", folder, env), port)


class _running:
    def __init__(self, server: Any, port: int) -> None:
        self._server, self._port = server, port

    def __enter__(self) -> str:
        self._server.__enter__()
        return f"http://127.0.0.1:{self._port}"

    def __exit__(self, *error: Any) -> None:
        self._server.__exit__(*error)


def test_the_connectors_tables_equal_the_native_sinks(pipeline: Pipeline) -> None:
    pipeline.drain(120)
    with psycopg.connect(pipeline.url, autocommit=True) as connection:
        connection.execute(jdbc.tables().encode())
    wanted = jdbc.connector(pipeline.layout, password="${env:PGPASSWORD}")
    answer = requests.put(f"{pipeline.connect}/connectors/{jdbc.CONNECTOR}/config", json=wanted, timeout=60)
    assert answer.ok, answer.text
    eventually("the connector has stored everything", lambda: _is_done(pipeline), 120)
    time.sleep(1)
    compared = 0
    for topic in jdbc.topics():
        ours, theirs = _rows(pipeline, topic, pipeline.layout.prefix), _rows(pipeline, topic, jdbc.SCHEMA)
        assert theirs == ours, topic.name
        assert len(ours) == len(samples(topic.schema))
        compared += 1
    assert compared == len(NAMES) > 20


def _is_done(pipeline: Pipeline) -> bool:
    state = requests.get(f"{pipeline.connect}/connectors/{jdbc.CONNECTOR}/status", timeout=30).json()
    failed = [each["trace"][:4000] for each in state.get("tasks", ()) if each["state"] == "FAILED"]
    assert not failed, json.dumps(failed, indent=1).replace("\\n", "\n").replace("\\t", " ")
    return all(len(_rows(pipeline, each, jdbc.SCHEMA)) == len(samples(each.schema)) for each in jdbc.topics())


def _rows(pipeline: Pipeline, topic: Any, schema: str) -> list[tuple[Any, ...]]:
    """The rows but their offsets: of two records with one event_id the native sink keeps the first."""
    columns = [each for each in jdbc.columns(topic) if each.name != "first_offset"]
    native = {each.name: each.type for each in table_of(topic).columns}
    as_micros = "(extract(epoch FROM {}) * 1000000)::bigint::text"
    texts = [
        as_micros if schema != jdbc.SCHEMA and isinstance(native[each.name], DateTime) else "{}::text"
        for each in columns
    ]
    query = sql.SQL("SELECT {} FROM {} ORDER BY event_id").format(
        sql.SQL(", ").join(
            sql.SQL(text).format(sql.Identifier(each.name)) for text, each in zip(texts, columns, strict=True)
        ),
        sql.Identifier(schema, table_of(topic).name),
    )
    return pipeline.query(query.as_string())
