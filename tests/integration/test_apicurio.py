"""Registry mode against Apicurio: its ids are on the wire, and outside consumers read every topic."""

import json
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.kafka.scan import ends_of, read_parts
from tapedeck.connectors.registry import Registry, register, use_registry
from tapedeck.schemas import codec
from tapedeck.schemas.codec import decode, encode
from tapedeck.streams.wire import Origin, Wire
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.conftest import Broker
from tests.support import java
from tests.support.audit import T0
from tests.support.outside import plain, reader, samples

pytestmark = [pytest.mark.integration, pytest.mark.long]
TOPICS = [each for each in CATALOGUE if each.schema is not None]


@pytest.fixture(scope="module")
def confluent_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with java.registry(tmp_path_factory.mktemp("apicurio")) as url:
        yield f"{url}/apis/ccompat/v7"


@pytest.fixture
def written(kafka: Broker, confluent_api: str, prefix: str) -> Iterator[Cluster]:
    """A cluster where every topic has records with Apicurio's ids."""
    cluster = Cluster(kafka.bootstrap, Layout(prefix, 2, 1))
    ensure(cluster)
    use_registry(Registry(url=confluent_api), prefix)
    writer = KafkaLogWriter(cluster, Origin("test", "test", ""), linger_ms=5)
    writer.write(
        Wire(
            each.name,
            cluster.layout.partition(each.name, body),
            each.record_key(body),
            encode(each.schema, body),
            T0 // 1000,
            [],
        )
        for each in TOPICS
        for body in samples(each.schema)
    )
    writer.close()
    yield cluster
    codec.use_ids(None)


def test_registering_twice_gives_the_same_ids_and_every_version_has_one(confluent_api: str) -> None:
    ids = register(Registry(url=confluent_api), Layout("twice"))
    assert ids == register(Registry(url=confluent_api), Layout("twice"))
    assert len(ids.to_log) > len(ids.to_wire) > 20


def test_an_outside_consumer_reads_every_topic(written: Cluster, confluent_api: str) -> None:
    read, seen = reader(confluent_api), dict[str, int]()
    names = [each.name for each in TOPICS]
    for chunk in read_parts(written, ends_of(written, names)):
        for message in chunk:
            schema = CATALOGUE[message.topic].schema
            assert plain(read(message.topic, message.value)) == plain(decode(schema, message.value))
            seen[message.topic] = seen.get(message.topic, 0) + 1
    assert list(seen) and set(seen) == set(names)


def test_kcat_reads_every_topic(written: Cluster, confluent_api: str) -> None:
    kcat = shutil.which("kcat")
    if kcat is None:
        pytest.skip("there is no kcat here")
    version = subprocess.run([kcat, "-V"], capture_output=True, text=True, check=True)
    decoded = "avro" in f"{version.stdout}{version.stderr}".lower()
    how = ["-s", "value=avro", "-r", confluent_api] if decoded else ["-f", '{"bytes": %S}\n']
    for each in TOPICS:
        asked = [kcat, "-b", written.bootstrap, "-C", "-e", "-q", *how]
        printed = subprocess.run(
            [*asked, "-t", written.layout.wire_name(each.name)], capture_output=True, text=True, check=True
        )
        bodies = [json.loads(line) for line in printed.stdout.splitlines()]
        assert len(bodies) == len(samples(each.schema)), each.name
