"""Bars by a transactional producer with aborted transactions: workers and rebuild see what was committed."""

import pytest

from tapedeck.connectors import dead_letters
from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.groups import KafkaGroups
from tapedeck.connectors.kafka.scan import read_topic
from tapedeck.connectors.postgres.connection import connect
from tapedeck.connectors.postgres.database import upgrade
from tapedeck.connectors.postgres.offsets import wait_until_caught_up
from tapedeck.schemas.codec import decode
from tapedeck.tape.notebook.connection import Connection
from tests.chaos.clean import a_log, check_clean
from tests.chaos.transactions import CODECS, write
from tests.conftest import Database
from tests.support.live import KILLED, Workers, bodies, eventually

pytestmark = [pytest.mark.integration, pytest.mark.chaos]


def beats(workers: Workers) -> dict[int, dict[str, object]]:
    """The newest heartbeat per partition of the features stage."""
    return {body["partition"]: body for body in bodies(workers.cluster, "heartbeats")}  # type: ignore[misc]


def at_the_end(workers: Workers) -> bool:
    """Whether the group has committed the end of every partition of ``bars``."""
    with KafkaSource(workers.cluster) as source:
        high = {part: end for part, (_, end) in source.ends(("bars",)).items()}
    groups = KafkaGroups(workers.cluster)
    return groups.committed(f"{workers.layout.prefix}-features", high) == high


def committed() -> list[tuple[str, float]]:
    """Event id and close of each bar that was committed, each once."""
    bodies_ = [decode("bars", m.value) for m in a_log().messages("bars") if m.value is not None]
    return sorted({(body["event_id"], body["close"]) for body in bodies_})


def stored(workers: Workers, url: str) -> list[tuple[str, float]]:
    """The same as the sink has it in Postgres, once it holds everything."""
    upgrade(url, workers.layout.prefix)
    sink = workers.tape("sink", "--topic", "bars", extra={"DATABASE_URL": url})
    wait_until_caught_up(url, workers.cluster, timeout_s=60, topics=("bars",))
    sink.terminate()
    assert sink.wait(20) == 0, workers.log_of("sink", "--topic", "bars")
    with connect(url, workers.layout.prefix, role=None) as connection:
        return sorted(connection.execute("SELECT event_id, close FROM t_bars").fetchall())


@pytest.mark.long
def test_aborted_bars_are_never_seen_and_nothing_is_missed(workers: Workers, postgres: Database) -> None:
    assert write(workers.cluster, a_log().messages("bars")) > len(CODECS)
    workers.write(a_log(), ("quotes", "universe"))
    killed = workers.start(
        "features", extra={"TAPE_TEST_BATCH": "150", "TAPE_TEST_KILL": "changelog written:3"}
    )
    assert killed.wait(60) == KILLED
    worker = workers.start("features")
    check_clean(workers)

    eventually(lambda: at_the_end(workers), "the end of the log is committed", 20)
    eventually(lambda: all(beat["lag"] == 0 for beat in beats(workers).values()), "no lag is left", 20)
    told = [
        dict(letter.headers)[dead_letters.REASON] for letter in read_topic(workers.cluster, "dead_letters")
    ]
    assert told == []
    verify = workers.tape("rebuild", "features", "--verify")
    assert verify.wait(300) == 0, workers.log_of("rebuild", "features", "--verify")
    assert "EQUAL" in workers.log_of("rebuild", "features", "--verify")
    assert worker.poll() is None

    assert stored(workers, postgres.url) == committed(), "the sink"
    tapped = Connection(source=KafkaSource(workers.cluster)).tap("bars", columns=["event_id", "close"])
    assert sorted(tapped.rows()) == committed(), "the tap"
