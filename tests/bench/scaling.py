"""Workers of a stage come and go during play: seconds in which nobody owns a partition, and time stands.

    python -m tests.bench.scaling [--only 'dynamic, 6 s']

For each kind of membership (agents/membership.py) one pipeline of 28 symbols is played at 60x. Two workers of
the features stage run: one is stopped in order and started again, one is killed and started again, two more
are added, two are taken away for good. A partition has no owner while the group's members do not name it. The
stall is the longest time without a new watermark in the stage's output, less the second that a minute takes.
At the end the outputs and the table are those of a rebuild. docs/operations.md quotes the figures.
"""

import argparse
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tapedeck.agents.membership import Membership
from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.tapes.generator import generate
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.streams.digests import of_state
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.rebuild.whole import live_outputs, live_state, rebuild_stage
from tests.bench.crew import Crew, Observer, Outage, Playing
from tests.bench.report import Row, Table, machine
from tests.bench.servers import kafka
from tests.support.live import Workers, eventually
from tests.support.sim_tapes import CONFIG

STAGE = TOPOLOGY.stage("features")
MEMBERSHIPS = {
    "dynamic, 6 s": Membership(6.0),
    "dynamic, 10 s": Membership(10.0),
    "static, 20 s": Membership(20.0, "w"),
    "static, 45 s": Membership(45.0, "w"),
    "static, 45 s, leaves": Membership(45.0, "w", leaves=True),
}
_SETTLED_S = 4.0
_PATIENCE_S = 120.0


def events(crew: Crew, membership: Membership) -> Iterator[tuple[str, int]]:
    """Does one thing after the other; yields its name and how many members the group should have then.

    Until the session time-out, the group still names a dynamic member that was killed.
    """
    crew.end(signal.SIGTERM, 2)
    crew.start(2)
    yield "stopped and started again", 2
    crew.end(signal.SIGKILL, 2)
    crew.start(2)
    time.sleep(0.0 if membership.instance else membership.session_timeout_s + _SETTLED_S)
    yield "killed and started again", 2
    crew.start(3, 4)
    yield "2 -> 4", 4
    crew.end(signal.SIGTERM, 3, 4)
    yield "4 -> 2 for good", 2


def measure(bootstrap: str, kind: str, membership: Membership, tape: Tape) -> Table:
    """One pipeline. Raises AssertionError where a change is not over in time, or a digest differs."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="tapedeck-scaling-") as folder:
        workers = Workers(bootstrap, f"scale{uuid.uuid4().hex[:8]}", Path(folder), CONFIG)
        cluster, crew = workers.cluster, Crew(workers, "features", membership=membership)
        try:
            crew.start(1, 2)
            with Playing(cluster, tape) as playing, Observer(cluster, "features") as observer:
                wait(observer, 2, kind)
                for name, members in events(crew, membership):
                    found = wait(observer, members, f"{kind}: {name}")
                    rows.append(Row(name, found.stalled, "s", note=f"{found.unowned:.1f} s without an owner"))
                    print(f"{kind}: {name}: {found.stalled:.1f} s, {rows[-1].note}", flush=True)
                playing.end()
            rows.append(Row("features", agreed(cluster, "features"), "records", "as a rebuild's", met=True))
        finally:
            workers.stop()
    return Table(f"watermarks stand, {kind}", tuple(rows))


def wait(observer: Observer, members: int, what: str) -> Outage:
    """Until ``members`` own everything and time goes on; what was seen since the wait before."""
    eventually(lambda: observer.settled(members), what, _PATIENCE_S)
    time.sleep(_SETTLED_S)
    found = observer.outage()
    observer.begin()
    return found


def agreed(cluster: Cluster, stage: str) -> int:
    """The stage's outputs and table equal a rebuild of what was played; how many records of its first."""
    spec, source = TOPOLOGY.stage(stage), KafkaSource(cluster)

    def equal() -> bool:
        rebuilt = rebuild_stage(spec, source, CONFIG, xnys())
        digests = rebuilt.digests()
        return rebuilt.state == of_state(live_state(spec, source)) and all(
            digests[name] == live_outputs(name, source).hexdigest() for name in spec.outputs
        )

    eventually(equal, f"the digests of a rebuild of {stage}", _PATIENCE_S)
    outputs = live_outputs(spec.outputs[0], source)
    assert len(outputs) and not outputs.conflicts
    return len(outputs)


def whole_day() -> Tape:
    """A synthetic session behind a short history."""
    tape = generate(7)
    return replace(tape, history=tape.history[-60 * len(tape.symbols) :])


def main(words: Sequence[str] | None = None) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scaling", description=__doc__)
    parser.add_argument("--only", choices=MEMBERSHIPS)
    told = parser.parse_args(words)
    chosen = {told.only: MEMBERSHIPS[told.only]} if told.only else MEMBERSHIPS
    tape = whole_day()
    print(machine(), flush=True)
    with kafka() as bootstrap:
        tables = [measure(bootstrap, kind, each, tape) for kind, each in chosen.items()]
    print("\n\n".join(map(str, tables)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
