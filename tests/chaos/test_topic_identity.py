"""Topics that are not the ones that a worker's state belongs to: it stops, and its remedy loses no record."""

import re
import signal
import subprocess
from functools import cache

import pytest
from confluent_kafka.admin import NewPartitions

from tapedeck.agents.topic_watch import REPLACED_EXIT
from tapedeck.connectors.kafka.admin import admin_of, recreate
from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.groups import KafkaGroups
from tapedeck.connectors.kafka.identity import describe_ids
from tapedeck.streams.digests import of_state
from tapedeck.streams.frame import unpack
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.rebuild.whole import live_state
from tests.chaos.clean import MINUTES, a_log, check_clean, clean_digests
from tests.chaos.test_hole_in_log import committed, delete_up_to
from tests.support.live import Workers, eventually, last_minute, until_label
from tests.support.sim_tapes import run_clean, small_tape, written

pytestmark = [pytest.mark.integration, pytest.mark.chaos]
OTHER_MINUTES = slice(200, 260)
PATIENCE_S = 150.0
"""The first rebuild may have to compile its kernels."""
START_OVER = "`tape topics --recreate features.changelog`"


def another_log() -> MemoryLog:
    """A tape of other minutes, shorter: its offsets lie below the cursors of the first one."""
    return written(small_tape(), minutes=OTHER_MINUTES, history_tail=40)


@cache
def another_state() -> str:
    """The digest of the table after a clean run over ``another_log``."""
    values = {k: v for t in run_clean(another_log()) if t.spec.name == "features" for k, v in t.disk.items()}
    return of_state(values)


def state(workers: Workers) -> str:
    return of_state(live_state(TOPOLOGY.stage("features"), KafkaSource(workers.cluster)))


def applied(workers: Workers) -> subprocess.Popen[bytes]:
    """A worker that has applied the clean tape, written now, and committed it."""
    workers.write(a_log(), ("bars",))
    process = workers.start("features")
    until_label(workers, "features", last_minute(small_tape(), MINUTES))
    log = a_log()
    sizes = {p: log.end("bars", p) for p in range(workers.layout.partitions("bars"))}
    eventually(lambda: committed(workers) == sizes, "all bars are committed", 90)
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def refused(workers: Workers, *words: str) -> str:
    """What a command, or a worker where none is named, says before it ends by itself, without success."""
    process = workers.tape(*words) if words else workers.start("features")
    name = words or ("features",)
    assert process.wait(PATIENCE_S) != 0, workers.log_of(*name)
    return workers.log_of(*name).rstrip().splitlines()[-1]


def told(workers: Workers, *words: str) -> str:
    """What a command says that succeeds, once a worker that ended by itself is out of its group."""
    groups, group = KafkaGroups(workers.cluster), f"{workers.layout.prefix}-features"
    eventually(lambda: not groups.members(group), "the group is empty", 60)
    process = workers.tape(*words)
    assert process.wait(PATIENCE_S) == 0, workers.log_of(*words)
    return workers.log_of(*words)


@pytest.mark.long
def test_a_topic_made_anew_stops_live_start_and_verify_and_its_remedy_applies_what_it_holds_once(
    workers: Workers,
) -> None:
    live = applied(workers)
    values = live_state(TOPOLOGY.stage("features"), KafkaSource(workers.cluster)).values()
    before = describe_ids(workers.cluster, ["bars"])["bars"]
    assert before is not None
    assert {unpack(value).logs[0] for value in values} == {before.topic_id}
    recreate(workers.cluster, ["bars"])
    assert live.wait(60) == REPLACED_EXIT, workers.log_of("features")
    assert re.search("bars was (recreated|deleted)|the topic was recreated", workers.log_of("features"))

    workers.write(another_log(), ("bars",))
    assert state(workers) == clean_digests()["state"]
    for line in (refused(workers), refused(workers, "rebuild", "features", "--verify", "--workers", "1")):
        assert "topic bars was recreated" in line
        assert START_OVER in line
        assert before.topic_id.hex()[:12] in line

    assert "features.changelog" in told(workers, "topics", "--recreate", "features.changelog", "--yes")
    live = workers.start("features")
    eventually(lambda: state(workers) == another_state(), "every record now in the topic is applied", 90)

    assert "has members: nothing was changed" in refused(workers, "topics", "--recreate", "bars", "--yes")
    stop(live)
    line = refused(workers, "topics", "--recreate", "bars")
    assert "add --yes if that is intended; nothing was changed" in line
    assert state(workers) == another_state()
    text = told(workers, "topics", "--recreate", "bars", "--yes")
    assert f"bars: {sum(1 for _ in another_log().messages('bars'))} records are deleted" in text
    workers.write(a_log(), ("bars",))
    workers.start("features")
    eventually(
        lambda: state(workers) == clean_digests()["state"], "every record now in the topic is applied", 30
    )


@pytest.mark.long
def test_partitions_added_and_a_topic_deleted_stop_live_start_and_verify_until_it_is_recreated(
    workers: Workers,
) -> None:
    live = applied(workers)
    wire = workers.layout.wire_name("bars")
    admin = admin_of(workers.cluster)
    admin.create_partitions([NewPartitions(wire, 6)])[wire].result(20)
    assert live.wait(60) == REPLACED_EXIT, workers.log_of("features")
    assert "does not have the layout's 4 partitions" in workers.log_of("features")
    for line in (refused(workers), refused(workers, "rebuild", "features", "--verify", "--workers", "1")):
        assert "6" in line
        assert "partitions" in line
    told(workers, "topics", "--recreate", "bars", "--yes")

    live = applied(workers)
    check_clean(workers)
    admin.delete_topics([wire])[wire].result(20)
    assert live.wait(60) == REPLACED_EXIT, workers.log_of("features")
    assert f"topic {wire} was deleted" in workers.log_of("features")
    for line in (refused(workers), refused(workers, "rebuild", "features", "--verify", "--workers", "1")):
        assert wire in line
    told(workers, "topics", "--recreate", "bars", "--yes")
    workers.write(a_log(), ("bars",))
    workers.start("features")
    check_clean(workers)


@pytest.mark.long
def test_a_changelog_made_anew_is_not_taken_for_an_empty_table_and_a_cut_topic_is_named_by_verify(
    workers: Workers,
) -> None:
    live = applied(workers)
    recreate(workers.cluster, ["features.changelog"])
    assert live.wait(60) == REPLACED_EXIT, workers.log_of("features")
    line = refused(workers)
    assert "the features stage has no state, but its group has passed offset" in line
    assert "`tape rebuild features --apply`" in line
    assert "its disk belonged to another changelog and was cleared" in workers.log_of("features")
    told(workers, "rebuild", "features", "--apply", "--workers", "1")
    live = workers.start("features")
    check_clean(workers)

    delete_up_to(workers, dict.fromkeys(range(workers.layout.partitions("bars")), 20))
    verify = workers.tape("rebuild", "features", "--verify", "--workers", "1")
    assert verify.wait(PATIENCE_S) == 1
    text = workers.log_of("rebuild", "features", "--verify", "--workers", "1")
    assert re.search(r"CUT offset/\d, key bars: it begins at offset 20", text)
    assert live.poll() is None, "what was applied may go"
