"""What a clean run of the features stage leaves for a small tape, and the check against it."""

from functools import cache

from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.streams.digests import of_messages, of_state
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.rebuild.whole import live_outputs, live_state
from tests.support.live import Workers, eventually, last_minute, until_label
from tests.support.sim_tapes import run_clean, small_tape, written

MINUTES = slice(60, 180)


def a_log() -> MemoryLog:
    """The tape that the fault tests play: two hours of five symbols behind a short history."""
    return written(small_tape(), minutes=MINUTES, history_tail=150)


@cache
def clean_digests() -> dict[str, str]:
    """Digests of outputs and state after a run without faults."""
    log = a_log()
    tasks = run_clean(log)
    values = {k: v for t in tasks if t.spec.name == "features" for k, v in t.disk.items()}
    return {
        "features": of_messages("features", log.messages("features")).hexdigest(),
        "state": of_state(values),
    }


def check_clean(workers: Workers) -> None:
    """Everything arrived, and it is what a clean run leaves."""
    until_label(workers, "features", last_minute(small_tape(), MINUTES))
    source = KafkaSource(workers.cluster)
    outputs = live_outputs("features", source)
    assert not outputs.conflicts, f"one event_id with two bodies: {outputs.conflicts[:3]}"
    assert outputs.hexdigest() == clean_digests()["features"], (
        f"{len(outputs)} features are not a clean run's"
    )
    eventually(
        lambda: of_state(live_state(TOPOLOGY.stage("features"), source)) == clean_digests()["state"],
        "the state of a clean run",
        20,
    )
