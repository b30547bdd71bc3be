"""Two workers of a stage that is single: one does all of it, the other stands by and takes over."""

from pathlib import Path

import pytest

from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.rebuild.whole import live_outputs, rebuild_stage
from tests.chaos.clean import MINUTES, a_log
from tests.conftest import Broker
from tests.support.live import Workers, end_of, eventually, last_minute, until_label
from tests.support.sim_tapes import CONFIG, small_tape

pytestmark = [pytest.mark.integration, pytest.mark.chaos]
OWNS = "scores/0 starts at"


@pytest.mark.long
def test_the_second_worker_takes_no_partition_and_takes_over_when_the_first_is_killed(
    kafka: Broker, prefix: str, tmp_path: Path
) -> None:
    pair = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        pair.append(Workers(kafka.bootstrap, prefix, tmp_path / name, CONFIG))
    try:
        processes = [each.start("scores") for each in pair]
        for each in pair:
            eventually(lambda each=each: "ready: scores" in each.log_of("scores"), "both are ready")
        messages = list(a_log().messages("bars"))
        half = {m.partition: m.offset // 2 for m in messages}
        pair[0].start("features")
        pair[0].put(m for m in messages if m.offset <= half[m.partition])
        where = (pair[0].cluster,)
        eventually(lambda: end_of(*where, "scores") > 10, "the first scores")
        (owner,) = [n for n, each in enumerate(pair) if OWNS in each.log_of("scores")]
        processes[owner].kill()
        pair[0].put(m for m in messages if m.offset > half[m.partition])
        until_label(pair[0], "scores", last_minute(small_tape(), MINUTES))
        assert OWNS in pair[1 - owner].log_of("scores")
        source = KafkaSource(*where)
        rebuilt = rebuild_stage(TOPOLOGY.stage("scores"), source, CONFIG, xnys()).outputs["scores"]
        assert len(rebuilt) > 0
        assert live_outputs("scores", source).hexdigest() == rebuilt.hexdigest()
    finally:
        for each in pair:
            each.stop()
