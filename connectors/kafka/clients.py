"""librdkafka's clients of a cluster. Clients made here receive a password that was replaced."""

from typing import TypeVar

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.renewal import follow


class _Consumer(Consumer):
    """A consumer that can be weakly referenced."""


class _Producer(Producer):
    """A producer that can be weakly referenced."""


_Client = TypeVar("_Client", _Consumer, _Producer, AdminClient)


def consumer_client(cluster: Cluster, role: str, **settings: object) -> Consumer:
    """A consumer. ``role`` tells in the broker's logs what it is for."""
    return _followed(_Consumer(cluster.librdkafka(role, **settings)), cluster)


def producer_client(cluster: Cluster, role: str, **settings: object) -> Producer:
    """A producer. ``role`` as for ``consumer_client``."""
    return _followed(_Producer(cluster.librdkafka(role, **settings)), cluster)


def admin_client(cluster: Cluster, role: str, **settings: object) -> AdminClient:
    """An admin client. ``role`` as for ``consumer_client``."""
    return _followed(AdminClient(cluster.librdkafka(role, **settings)), cluster)


def _followed(client: _Client, cluster: Cluster) -> _Client:
    security = cluster.security
    follow(client, security.password, lambda told, text: told.set_sasl_credentials(security.username, text))
    return client
