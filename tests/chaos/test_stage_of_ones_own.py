"""The toy pipeline on real workers, one of them killed: what it leaves is what the sim driver leaves."""

import pytest

from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.streams.digests import of_state
from tapedeck.streams.topology import Topology
from tapedeck.tape.rebuild.whole import live_outputs, live_state
from tests.support.live import KILLED, Workers, eventually, until_label
from tests.support.sim_tapes import SOURCES, small_tape
from tests.support.toy_days import BEGIN, MINUTES, SCENARIOS, clean

pytestmark = [pytest.mark.integration, pytest.mark.chaos]
LISTENING = ("scores", "watchlist", "signals")


@pytest.mark.long
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_live_with_a_kill_leaves_what_the_sim_leaves(toys: Topology, workers: Workers, scenario: str) -> None:
    log, expected = clean(toys, scenario)
    document = workers.config_path.read_text()
    workers.config_path.write_text(f'topology = "tests.toy.topology:TOPOLOGY"\n{document}')
    workers.write(log, (*SOURCES, "toy_notes"))
    workers.start("moods", "features", disk="first")
    killed = {"TAPE_TEST_KILL": "table written:6", "TAPE_TEST_BATCH": "60"}
    dying = workers.start(*LISTENING, disk="second", extra=killed)
    assert dying.wait(90) == KILLED, workers.log_of(*LISTENING)
    workers.start(*LISTENING, disk="second")
    last = small_tape().minutes[BEGIN + MINUTES - 1].label
    until_label(workers, "decisions", last)
    until_label(workers, "memberships", last)
    with KafkaSource(workers.cluster) as source:
        states = {spec: expected[f"{spec.name} state"] for spec in toys.market}
        eventually(
            lambda: {spec: of_state(live_state(spec, source)) for spec in states} == states,
            "the state that the sim driver has", 60,
        )  # fmt: skip
        for spec in toys.market:
            for name in spec.outputs:
                assert live_outputs(name, source).hexdigest() == expected[name], name
