"""Messages that a fetch took and nobody was given: none is skipped, and none is waited for, for ever."""

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.kafka.scan import read_topic
from tapedeck.schemas.codec import decode
from tapedeck.streams.wire import Origin
from tests.chaos.clean import a_log, check_clean
from tests.chaos.test_hole_in_log import committed, delete_up_to
from tests.support.live import Workers, end_of, eventually

pytestmark = [pytest.mark.integration, pytest.mark.chaos]


def forget_offsets(workers: Workers, stage: str) -> None:
    """Delete the group of a stage whose worker is dead, once the broker has noticed that."""
    admin = AdminClient({"bootstrap.servers": workers.cluster.bootstrap})
    group = workers.layout.group(stage)

    def deleted() -> bool:
        try:
            admin.delete_consumer_groups([group])[group].result(10)
        except KafkaException as error:
            assert error.args[0].name() == "NON_EMPTY_GROUP", error
            return False
        return True

    eventually(deleted, "the group is deleted", 30)


@pytest.mark.long
def test_what_a_fetch_takes_behind_the_recovery_is_not_lost_where_no_offset_is_committed(
    workers: Workers,
) -> None:
    """The first records of a partition come while a fetch is under way that nobody wants any more."""
    messages = list(a_log().messages("bars"))
    half = {p: sum(m.partition == p for m in messages) // 2 for p in range(workers.layout.partitions("bars"))}
    workers.put(m for m in messages if m.offset < half[m.partition])
    first = workers.start("features", disk="one")
    eventually(lambda: end_of(workers.cluster, "features") > 0, "the group has a coordinator")
    eventually(lambda: committed(workers) == half, "the first half is committed")
    first.kill()
    forget_offsets(workers, "features")
    delete_up_to(workers, half)

    second = workers.start("features", disk="two", extra={"TAPE_TEST_LINGER": "4"})
    rest = sorted((m for m in messages if m.offset >= half[m.partition]), key=lambda m: -m.partition)
    writer = KafkaLogWriter(workers.cluster, Origin("test", "test", ""))
    eventually(lambda: "lingering" in workers.log_of("features"), "the recovery has ended")
    writer.write_messages(rest[:20])
    writer.flush()
    assert "ready" not in workers.log_of("features").partition("lingering")[2]
    writer.write_messages(rest[20:])
    writer.close()
    check_clean(workers)
    assert second.poll() is None, workers.log_of("features")


def test_a_partition_whose_messages_never_arrive_is_fetched_again_within_seconds(workers: Workers) -> None:
    worker = workers.start("features", extra={"TAPE_TEST_LOSE": "2:50"})
    workers.write(a_log())
    again = "features got nothing from bars/2 although offset 50 exists: fetching it again"
    eventually(lambda: again in workers.log_of("features"), "the loss is seen", 30)
    check_clean(workers)
    assert worker.poll() is None, workers.log_of("features")
    eventually(lambda: _sought_back(workers) == 1, "the heartbeats count it")


def _sought_back(workers: Workers) -> int:
    counts = [
        decode("heartbeats", message.value)["counts"]
        for message in read_topic(workers.cluster, "heartbeats")
        if message.key == b"features|2"
    ]
    return int(counts[-1].get("SOUGHT_BACK", 0)) if counts else 0
