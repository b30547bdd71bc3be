"""The features stage as the rebuild driver runs it, in one process: our entrant in the rebuild race.

    python -m tests.bench.our_features

It first rebuilds the start of each partition, so that everything is loaded, then the whole tape. The digest
is taken in both groups, because a rebuild always has it.
"""

import time
from tempfile import TemporaryFile

from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.bulk.writer import BulkWriter
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.streams.columnar.job import Sink
from tapedeck.streams.columnar.rows import Rows
from tapedeck.streams.columnar.task import run_task, tasks_of
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.topics.catalogue import Layout, topic
from tests.bench.peer import Told, rules, tell

STAGE = "features"
_WARM_RECORDS = 100


def rebuilt(source: KafkaSource, *, sink: Sink | None = None, most: int | None = None) -> str:
    """The digest of the stage's outputs over ``most`` records of each partition, or over all of them."""
    config, calendar = rules()
    cut = None if most is None else {("bars", part): most for part in range(source.layout.partitions("bars"))}
    found = Rows()
    for task in tasks_of([TOPOLOGY.stage(STAGE)], source.layout, config):
        result = run_task(task, config, calendar, source, cut=cut, sink=sink, spool=TemporaryFile)
        for part, rows in sorted(result.outputs.items()):
            if part[0] == topic(STAGE).name:
                found.absorb(rows)
    return found.hexdigest()


def main() -> None:
    """Warm up, tell, rebuild, tell; then wait to be measured."""
    told = Told.from_environment()
    source = KafkaSource(Cluster(told.bootstrap, Layout(told.bars.removesuffix(".bars"))))
    if not told.output:
        rebuilt(source, most=_WARM_RECORDS)
        tell("mark", "-")
        tell("done", rebuilt(source))
    else:
        with BulkWriter(Cluster(told.bootstrap, Layout(told.output.removesuffix(f".{STAGE}")))) as writer:
            rebuilt(source, most=_WARM_RECORDS, sink=writer.write)
            writer.flush()
            tell("mark", "-")
            digest = rebuilt(source, sink=writer.write)
            writer.flush()
            tell("done", digest)
    time.sleep(3600)


if __name__ == "__main__":
    main()
