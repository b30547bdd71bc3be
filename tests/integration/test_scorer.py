"""`tape scorer` on a broker: killed between score and commit, and the twin that waited takes over."""

import time
from collections import Counter
from pathlib import Path

import pytest

from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.kafka.scan import read_topic
from tapedeck.connectors.postgres.database import upgrade
from tapedeck.connectors.scoring.order import SILENT_S
from tapedeck.streams.config.document import Config
from tapedeck.streams.wire import Origin, Wire
from tapedeck.tape.status.lines import StageLine, lags, stages
from tests.conftest import Broker, Database
from tests.support.linked import at, linked, mark_of, wire_of
from tests.support.live import KILLED, Workers, bodies, eventually, last_label

pytestmark = pytest.mark.integration

SYMBOLS = ("AMD", "BAC", "MSFT", "NVDA", "XOM")


@pytest.mark.long
def test_a_killed_scorer_repeats_nothing_and_its_twin_goes_on_without_posts(
    kafka: Broker, postgres: Database, prefix: str, tmp_path: Path
) -> None:
    workers = Workers(kafka.bootstrap, prefix, tmp_path, Config())
    upgrade(postgres.url, prefix)
    try:
        _scenario(workers, postgres)
    finally:
        workers.stop()


def _scenario(workers: Workers, postgres: Database) -> None:
    cluster, layout = workers.cluster, workers.layout
    url = {"DATABASE_URL": postgres.url}
    killed = workers.scorer("killed", extra=url | {"TAPE_TEST_KILL": "commit"})
    eventually(lambda: any(line.stage == "scorer" for line in stages(cluster)), "a beat")
    twin = workers.scorer("twin", extra=url)
    eventually(lambda: "another process does this work" in workers.log_of("twin"), "the twin waits")

    items = [
        linked(n, *SYMBOLS[: n % 5], dropped=SYMBOLS[5 - n % 2 :], text=f"Profit rose {n}") for n in range(40)
    ]
    fails = wire_of("links", linked(99, "NVDA", text="This fails"), layout)
    post = linked(100, "AMD", scope="SOCIAL", text="to the moon", minute=1)
    with KafkaLogWriter(cluster, Origin("test", "test", "")) as writer:

        def put(*wires: Wire) -> None:
            writer.write(wires)
            writer.flush()

        put(mark_of("post_links", -1), mark_of("post_links", 0), mark_of("links", -1))
        put(*(wire_of("links", item, layout) for item in items[:20]), mark_of("links", 0))
        assert killed.wait(30) == KILLED
        written = Counter(str(body["event_id"]) for body in bodies(cluster, "sentiment"))
        assert written, "it was to die after it wrote"

        # posts are silent from here on
        put(*(wire_of("links", item, layout) for item in items[20:]), fails, mark_of("links", 1))
        eventually(lambda: last_label(cluster, "sentiment") == at(1), "the watermark without posts", 40)
        put(wire_of("post_links", post, layout), mark_of("post_links", 1), mark_of("post_links", 2))
        began = time.monotonic()
        put(mark_of("links", 2))
        eventually(lambda: last_label(cluster, "sentiment") == at(2), "the next watermark", SILENT_S)
        print(f"links to sentiment within {time.monotonic() - began:.3f} s, looked at each 0.1 s")

    found = bodies(cluster, "sentiment")
    expected = {(item["event_id"], link["symbol"]) for item in items for link in item["links"]}
    expected |= {(item["event_id"], symbol) for item in items for symbol in item["dropped"]}
    expected.add((post["event_id"], "AMD"))
    assert sorted((str(body["inputs"][0]), str(body["symbol"])) for body in found) == sorted(expected)  # type: ignore[index]
    assert len({body["event_id"] for body in found}) == len(found)
    (dead,) = read_topic(cluster, "dead_letters")
    assert dead.value == fails.value and dict(dead.headers)["tape-error-reason"] == b"SCORE_FAILED"

    eventually(lambda: _line(workers).watermark == at(2), "a beat that tells it")
    line = _line(workers)
    assert line.reasons["SCORE_FAILED"] == 1 and line.given["sentiment"] == len(found) - sum(written.values())
    assert any(name.startswith("BY:light:") for name in line.reasons)
    eventually(lambda: all(each.lag == 0 for each in lags(cluster)), "everything is committed")
    assert {each.topic for each in lags(cluster)} == {"links", "post_links"}
    twin.terminate()
    assert twin.wait(10) == 0


def _line(workers: Workers) -> StageLine:
    (line,) = (each for each in stages(workers.cluster) if each.stage == "scorer")
    return line
