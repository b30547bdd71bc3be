"""The example package on real workers, installed from outside, one of them killed: as the sim left it."""

import os
from pathlib import Path

import pytest

from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.streams.digests import of_state
from tapedeck.streams.named import TOPOLOGY_VARIABLE
from tapedeck.streams.topology import Topology
from tapedeck.tape.rebuild.whole import live_outputs, live_state
from tests.support.example import MINUTES, NAME, played
from tests.support.live import KILLED, Workers, eventually, until_label
from tests.support.sim_tapes import CONFIG, SOURCES, small_tape

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.long]  # short: test_stage_of_ones_own
OWN = ("strength", "rsignals")


def test_its_stages_live_with_a_kill_leave_what_the_sim_left(
    example: Topology, example_site: Path, workers: Workers
) -> None:
    run = played(example, CONFIG)
    expected = run.digests()
    paths = [str(example_site), *filter(None, [os.environ.get("PYTHONPATH")])]
    told = {TOPOLOGY_VARIABLE: NAME, "PYTHONPATH": os.pathsep.join(paths)}
    workers.write(run.log, SOURCES)
    workers.start("features", disk="first", extra=told)
    dying = workers.start(
        *OWN, disk="second", extra={**told, "TAPE_TEST_KILL": "table written:6", "TAPE_TEST_BATCH": "60"}
    )
    assert dying.wait(90) == KILLED, workers.log_of(*OWN)
    workers.start(*OWN, disk="second", extra=told)
    last = small_tape().minutes[MINUTES - 1].label
    for name in ("strengths", "rsignals"):
        until_label(workers, name, last)
    specs = example.only(OWN)
    with KafkaSource(workers.cluster) as source:
        states = {spec: expected[f"{spec.name} state"] for spec in specs}
        eventually(
            lambda: {spec: of_state(live_state(spec, source)) for spec in specs} == states,
            "the state that the sim driver has", 60,
        )  # fmt: skip
        for name in (name for spec in specs for name in spec.outputs):
            assert live_outputs(name, source).hexdigest() == expected[name], name
