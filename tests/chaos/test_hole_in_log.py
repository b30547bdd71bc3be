"""Records that the log lost while a worker was down: recorded with their range, counted, and it goes on."""

import signal

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from tapedeck.connectors import dead_letters
from tapedeck.connectors.kafka.scan import ends_of, new_consumer, read_topic
from tests.chaos.clean import MINUTES, a_log
from tests.support.live import Workers, bodies, eventually, last_minute, until_label
from tests.support.sim_tapes import small_tape

pytestmark = [pytest.mark.integration, pytest.mark.chaos]


def committed(workers: Workers) -> dict[int, int]:
    """The committed offset of the features group per partition of ``bars``."""
    consumer = new_consumer(workers.cluster, **{"group.id": f"{workers.layout.prefix}-features"})
    try:
        wire = workers.layout.wire_name("bars")
        asked = [TopicPartition(wire, partition) for partition in range(workers.layout.partitions("bars"))]
        return {found.partition: found.offset for found in consumer.committed(asked, timeout=10)}
    finally:
        consumer.close()


def lowest(workers: Workers) -> dict[int, int]:
    """The first offset that the log still has per partition of ``bars``."""
    found = ends_of(workers.cluster, ("bars",))
    return {partition: low for (_, partition), (low, _) in found.items()}


def delete_up_to(workers: Workers, offsets: dict[int, int]) -> None:
    """Let the broker forget records of ``bars``, as retention does."""
    wire = workers.layout.wire_name("bars")
    asked = [TopicPartition(wire, partition, offset) for partition, offset in offsets.items()]
    admin = AdminClient({"bootstrap.servers": workers.cluster.bootstrap})  # held until it has answered
    for answer in admin.delete_records(asked).values():
        answer.result(30)


def letters(workers: Workers) -> list[dict[str, bytes]]:
    """The headers of every dead letter."""
    found = read_topic(workers.cluster, dead_letters.TOPIC)
    return [dict(message.headers) for message in found]


def test_records_that_retention_took_are_a_dead_letter_with_their_range_and_the_stage_goes_on(
    workers: Workers,
) -> None:
    log = a_log()
    messages = list(log.messages("bars"))
    sizes = {p: sum(m.partition == p for m in messages) for p in range(workers.layout.partitions("bars"))}
    half = {partition: size // 2 for partition, size in sizes.items()}
    workers.put(m for m in messages if m.offset < half[m.partition])
    first = workers.start("features")
    eventually(lambda: committed(workers) == half, "the first half is committed")
    first.send_signal(signal.SIGTERM)
    assert first.wait(15) == 0
    workers.put(m for m in messages if m.offset >= half[m.partition])
    gone = {partition: offset + 7 + partition for partition, offset in half.items()}
    delete_up_to(workers, gone)
    assert lowest(workers) == gone

    second = workers.start("features")
    until_label(workers, "features", last_minute(small_tape(), MINUTES))
    found = {
        int(letter[dead_letters.SOURCE_PARTITION]): letter
        for letter in letters(workers)
        if letter[dead_letters.REASON] == b"RETENTION"
    }
    assert set(found) == set(half)
    for partition, letter in found.items():
        assert int(letter[dead_letters.SOURCE_OFFSET]) == half[partition]
        text = letter[dead_letters.ERROR_MESSAGE].decode()
        assert text.startswith(f"offsets {half[partition]} to {gone[partition] - 1} of bars/{partition} are ")
        assert "rebuild from a copy of the topic" in text
    lost = sum(gone.values()) - sum(half.values())
    eventually(lambda: _counted(workers, "RETENTION") == lost, "the loss is counted in the heartbeats")
    assert second.poll() is None


def _counted(workers: Workers, reason: str) -> int:
    newest = {body["partition"]: body["counts"] for body in bodies(workers.cluster, "heartbeats")}
    return sum(counts.get(reason, 0) for counts in newest.values())
