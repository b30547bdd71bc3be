"""A trigger that is thousands of records ahead of its join is held back, and loses nothing by it."""

import pytest

from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.streams.digests import of_messages
from tapedeck.tape.rebuild.whole import live_outputs
from tests.support.live import Workers, eventually, last_minute, until_label
from tests.support.sim_tapes import run_clean, small_tape, written

pytestmark = [pytest.mark.integration, pytest.mark.chaos]
MINUTES = slice(60, 180)


@pytest.mark.long
def test_features_wait_for_memberships_without_a_record_lost(workers: Workers) -> None:
    log = written(small_tape(), minutes=MINUTES, history_tail=150)
    run_clean(log)
    workers.write(log, ("features",))
    workers.start("signals", extra={"TAPE_TEST_HOLD": "40"})
    eventually(lambda: "signals pauses features" in workers.log_of("signals"), "the trigger is held back")
    workers.write(log, ("memberships",))
    until_label(workers, "decisions", last_minute(small_tape(), MINUTES))
    source = KafkaSource(workers.cluster)
    for name in ("decisions", "signals", "revision_audit"):
        assert live_outputs(name, source).hexdigest() == of_messages(name, log.messages(name)).hexdigest()
