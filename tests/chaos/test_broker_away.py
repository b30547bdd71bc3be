"""A broker that is stopped or frozen while the features worker and the sink run: they wait and go on."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapedeck.agents.membership import DYNAMIC
from tapedeck.connectors.kafka.identity import cluster_id_of
from tapedeck.connectors.postgres.counts import Rows, distinct_events, rows_per_table
from tapedeck.connectors.postgres.database import downgrade
from tapedeck.connectors.postgres.offsets import wait_until_caught_up
from tapedeck.schemas.errors import Fatal
from tapedeck.tape.local.kafka import EmbeddedKafka
from tapedeck.tape.local.places import cache_dir
from tests.chaos.clean import a_log, check_clean
from tests.conftest import Database
from tests.support.live import Workers, end_of, eventually
from tests.support.sim_tapes import CONFIG

pytestmark = [pytest.mark.integration, pytest.mark.chaos]
WAITS = {
    "features": "has not acknowledged for 5 s; waiting for it, nothing is lost",
    "sink": "has not acknowledged since the last heartbeat: the sink waits for it",
}


@pytest.fixture
def workers(broker: EmbeddedKafka, postgres: Database, prefix: str, tmp_path: Path) -> Iterator[Workers]:
    started = Workers(broker.bootstrap, prefix, tmp_path, CONFIG)
    yield started
    started.stop()
    downgrade(postgres.url, prefix)


def come_back(broker: EmbeddedKafka) -> EmbeddedKafka:
    """A stopped broker started again, on its own port and data."""
    again = EmbeddedKafka(broker.folder, cache_dir(), port=int(broker.bootstrap.rsplit(":", 1)[1]))
    again.start()
    return again


@pytest.mark.long
@pytest.mark.parametrize("fault", ["frozen", "stopped"])
def test_worker_and_sink_wait_for_a_broker_that_is_away_and_lose_nothing(
    broker: EmbeddedKafka, workers: Workers, postgres: Database, fault: str
) -> None:
    features = workers.start("features", extra={"TAPE_TEST_BATCH": "50"})
    sink = workers.tape("sink", extra={"DATABASE_URL": postgres.url})
    workers.write(a_log())
    eventually(lambda: end_of(workers.cluster, "features") > 50, "the first features")
    began = time.monotonic()
    if fault == "stopped":
        broker.stop()
    else:
        broker.freeze()
    with pytest.raises(Fatal, match=fault):
        cluster_id_of(broker.cluster, 1.0)
    for name, line in WAITS.items():
        eventually(lambda name=name, line=line: line in workers.log_of(name), f"{name} says that it waits")
    time.sleep(max(0.0, began + DYNAMIC.session_timeout_s + 1 - time.monotonic()))
    if fault == "stopped":
        broker = come_back(broker)
    else:
        broker.thaw()
    try:
        check_clean(workers)
        assert (features.poll(), sink.poll()) == (None, None)
        where = (postgres.url, workers.cluster)
        wait_until_caught_up(*where, timeout_s=60)
        rows = rows_per_table(postgres.url, workers.cluster)
        assert rows == {
            name: Rows(found.events, 0) for name, found in distinct_events(workers.cluster).items()
        }
        assert rows["features"].now > 500 and rows["dead_letters"].now == 0
        assert "acknowledges again" in workers.log_of("features")
        for process in (features, sink):
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
    finally:
        broker.kill()
