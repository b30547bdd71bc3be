"""Any stage in bulk through the shell, record by record: for topics that are small beside the bars."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from schemas.codec import PREFIX, encode
from streams.blocks import Block
from streams.bulk.job import Job, Result
from streams.bulk.rows import WIDTH, row_of
from streams.contract import Message, Stage
from streams.merge import Merge, Part
from streams.shell import Effects, Forward, Shell
from streams.sim.task import MemoryStore
from streams.wire import Wires
from topics.catalogue import topic

_BATCH = 20_000


def run_in_shell(job: Job, stage: Stage) -> Result:
    """Run ``stage`` over the job's inputs."""
    return _ShellRun(job, stage).run()


class _ShellRun:
    def __init__(self, job: Job, stage: Stage) -> None:
        self._job, task = job, job.task
        self._only_key = task.account_id.encode() if task.account_id is not None else None
        self._store = MemoryStore()
        self._store.values.update(job.start.values)
        self._shell = Shell(job.spec, stage, self._store, task.home)
        parts: dict[str, list[int]] = {name: [] for name in job.spec.inputs}
        for name, partition in job.inputs:
            parts[name].append(partition)
        self._merge = Merge(job.spec, parts, self._shell.labels())
        self._wires = Wires(job.spec, job.layout, job.origin, task.home)

    def run(self) -> Result:
        """Read the inputs side by side, so that none waits long for another, and do what is ready."""
        streams: dict[Part, Iterator[Block]] = {part: self._job.stream(part) for part in self._job.inputs}
        while streams:
            waiting = min(streams, key=self._merge.held)
            block = next(streams[waiting], None)
            if block is None:
                del streams[waiting]
                continue
            for message in block.messages():
                if self._only_key is None or message.key == self._only_key:
                    self._merge.put(message)
                else:
                    self._job.result.applied[block.part] = message.offset + 1
            self._work()
        self._job.result.values = self._store.values
        return self._job.result

    def _work(self) -> None:
        while items := self._merge.take(_BATCH, stop_at_mark=self._job.spec.period is not None):
            effects = self._shell.apply(items)
            self._digest(effects)
            if self._job.sink is not None:
                self._write(effects)
            for write in effects.writes:
                self._store.put(write.partition, write.key, write.value)
            for message in effects.acks:
                self._job.result.applied[message.topic, message.partition] = message.offset + 1
            self._job.result.counts.update(effects.counts)
            self._job.result.watermark = effects.watermark or self._job.result.watermark

    def _digest(self, effects: Effects) -> None:
        """The outputs as rows of their topic partition."""
        rows: dict[Part, list[bytes]] = defaultdict(list)
        for each in effects.outputs:
            if isinstance(each, Forward):
                continue
            out = each.out
            schema = topic(out.topic).schema
            assert schema is not None
            part = out.topic, self._job.layout.partition(out.topic, out.body)
            body = encode(schema, out.body)[PREFIX.size :]
            rows[part].append(row_of(out.record_key, out.event_id, body))
        for part, mine in rows.items():
            joined = np.frombuffer(b"".join(mine), dtype=np.uint8).reshape(-1, WIDTH)
            self._job.result.outputs[part].add(joined)

    def _write(self, effects: Effects) -> None:
        """The outputs as records, watermarks between, for the sink."""
        written: dict[Part, list[Message]] = defaultdict(list)
        for wire in self._wires.of(effects, self._job.ingest_us):
            mine = written[wire.topic, wire.partition]
            mine.append(
                Message(
                    wire.topic, wire.partition, len(mine), wire.timestamp, wire.key, wire.value, wire.headers
                )
            )
        for mine in written.values():
            self._job.append(Block.of(mine))
