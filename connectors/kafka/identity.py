"""Which cluster answers: asked before the first write, for two brokers on one machine are easy to mix up."""

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tapedeck.connectors.kafka.cluster import CLUSTER_ID, Cluster, accepts
from tapedeck.schemas.errors import Fatal

ANSWER_S = 5.0


def ask_cluster_id(cluster: Cluster, timeout_s: float) -> str:
    """The id of the cluster that answers. Raises KafkaException."""
    silent = {"log_level": 0, "socket.timeout.ms": max(10, int(timeout_s * 1000))}
    client = AdminClient(cluster.librdkafka("identity", **silent))
    description = client.describe_cluster(request_timeout=timeout_s).result(timeout_s + 1)
    return str(description.cluster_id)


def cluster_id_of(cluster: Cluster, timeout_s: float = ANSWER_S) -> str:
    """The id of the cluster that answers; it must be the expected one, where one is.

    Raises Fatal: nobody listens (stopped), a connection is accepted and nothing answers (frozen), or another
    cluster answers.
    """
    first = cluster.bootstrap.split(",", maxsplit=1)[0]
    remedy = "start it, or check KAFKA_BOOTSTRAP_SERVERS"
    if not any(accepts(address) for address in cluster.bootstrap.split(",")):
        raise Fatal("no Kafka broker listens there: it is stopped", value=first, remedy=remedy)
    try:
        found = ask_cluster_id(cluster, timeout_s)
    except KafkaException as error:
        if not accepts(first):
            raise Fatal(
                "the Kafka broker went away while it was asked", value=first, remedy=remedy
            ) from error
        raise Fatal(
            f"the Kafka broker accepts connections but has not answered within {timeout_s:g} s: "
            "it is frozen, overloaded or no Kafka",
            value=first,
            remedy="look at its process and log, then restart it",
        ) from error
    if cluster.expected_id and found != cluster.expected_id:
        raise Fatal(
            f"another Kafka cluster answers at {cluster.bootstrap}: "
            f"its cluster id is not {cluster.expected_id}",
            value=found,
            remedy=f"nothing was written; stop the other broker, or correct the address or {CLUSTER_ID}",
        )
    return found
