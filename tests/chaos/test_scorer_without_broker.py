"""A broker that is frozen or stopped while the scorer scores: it waits, and each score is there once."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tapedeck.connectors.kafka.identity import cluster_id_of
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.wire import Origin, Wire
from tapedeck.tape.local.kafka import EmbeddedKafka
from tapedeck.tape.status.lines import lags
from tests.chaos.scorer_words import WROTE
from tests.chaos.test_broker_away import come_back
from tests.support.linked import at, linked, mark_of, wire_of
from tests.support.live import Workers, bodies, eventually, last_label

pytestmark = [pytest.mark.integration, pytest.mark.chaos]

AWAY_S = 6.0
MINUTES, ITEMS = 4, 300
"""More than a call of the engine takes, so that there are several writes."""


@pytest.mark.long
@pytest.mark.parametrize("fault", ["frozen", "stopped"])
def test_a_scorer_waits_for_a_broker_that_is_away_and_scores_each_item_once(
    broker: EmbeddedKafka, tmp_path: Path, fault: str
) -> None:
    workers = Workers(broker.bootstrap, "away", tmp_path, Config())
    try:
        scorer = workers.scorer("scorer", extra={"TAPE_TEST_SCORE_S": "0.01", "DATABASE_URL": ""})
        items = [
            linked(n, "AMD", *("NVDA",) * (n % 2), text=f"Profit rose {n}", minute=n // ITEMS)
            for n in range(MINUTES * ITEMS)
        ]
        put(workers, items)
        eventually(lambda: WROTE in workers.log_of("scorer"), "the first scores")
        if fault == "stopped":
            broker.stop()
        else:
            broker.freeze()
        with pytest.raises(Fatal, match=fault):
            cluster_id_of(broker.cluster, 1.0)
        time.sleep(AWAY_S)
        assert scorer.poll() is None, "it waits"
        written = workers.log_of("scorer").count(WROTE)
        if fault == "stopped":
            broker = come_back(broker)
        else:
            broker.thaw()
        eventually(lambda: last_label(workers.cluster, "sentiment") == at(MINUTES - 1), "all minutes", 90)
        assert workers.log_of("scorer").count(WROTE) > written, "it was away in the middle of the work"
        found = bodies(workers.cluster, "sentiment")
        scored = Counter((str(body["inputs"][0]), str(body["symbol"])) for body in found)  # type: ignore[index]
        wanted = {(str(item["event_id"]), link["symbol"]) for item in items for link in item["links"]}
        assert set(scored) == wanted and set(scored.values()) == {1}
        assert len({body["event_id"] for body in found}) == len(found)
        eventually(lambda: all(each.lag == 0 for each in lags(workers.cluster)), "everything is committed")
        assert not bodies(workers.cluster, "dead_letters")
        assert scorer.poll() is None, "the same process goes on"
        scorer.terminate()
        assert scorer.wait(10) == 0
    finally:
        workers.stop()
        broker.kill()


def put(workers: Workers, items: list[dict[str, Any]]) -> None:
    """All items and the watermarks of both inputs, minute by minute."""
    cluster, layout = workers.cluster, workers.layout
    wires: list[Wire] = [mark_of(name, -1) for name in ("links", "post_links")]
    for minute in range(MINUTES):
        here = items[minute * ITEMS : (minute + 1) * ITEMS]
        wires += [wire_of("links", item, layout) for item in here]
        wires += [mark_of(name, minute) for name in ("links", "post_links")]
    with KafkaLogWriter(cluster, Origin("test", "test", "")) as writer:
        writer.write(wires)
        writer.flush()
