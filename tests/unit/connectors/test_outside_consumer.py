"""A consumer that knows only the registry reads what this code writes, of every topic."""

import pytest
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import SerializationError

from tapedeck.connectors.registry import Registry, register
from tapedeck.schemas.codec import encode
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.support.outside import plain, reader, samples
from tests.support.registry import running

TOPICS = [each for each in CATALOGUE if each.schema is not None]


def test_it_reads_every_branch_of_every_topics_record() -> None:
    read_back = 0
    with running() as registry:
        ids = register(Registry(url=registry.url), Layout())
        read = reader(registry.url)
        for topic in TOPICS:
            for body in samples(topic.schema):
                assert plain(read(topic.name, encode(topic.schema, body, ids))) == plain(body)
                read_back += 1
    assert read_back > len(TOPICS) > 20


def test_an_id_that_the_registry_does_not_have_is_refused_and_not_guessed() -> None:
    with running() as registry:
        register(Registry(url=registry.url), Layout())
        own_id = encode("bars", samples("bars")[0])
        with pytest.raises((SchemaRegistryError, SerializationError)):
            reader(registry.url)("bars", own_id)
