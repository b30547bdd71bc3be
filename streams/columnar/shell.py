"""Any stage through the shell, record by record: for topics much smaller than the bars."""

from collections.abc import Iterator

from tapedeck.streams.blocks import Block
from tapedeck.streams.columnar.job import Job, Result
from tapedeck.streams.merge import Merge, Part
from tapedeck.streams.protocol import Stage
from tapedeck.streams.shell import Shell
from tapedeck.streams.sim.task import MemoryStore

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
        self._shell = Shell(job.spec, stage, self._store, task.home, job.ids)
        parts: dict[str, list[int]] = {name: [] for name in job.spec.inputs}
        for name, partition in job.inputs:
            parts[name].append(partition)
        self._merge = Merge(job.spec, parts, self._shell.resume())

    def run(self) -> Result:
        """Read the inputs side by side, so that none waits long for another, and process what is ready."""
        streams: dict[Part, Iterator[Block]] = {part: self._job.stream(part) for part in self._job.inputs}
        while streams:
            waiting = min(streams, key=self._merge.held)
            block = next(streams[waiting], None)
            if block is None:
                del streams[waiting]
                continue
            for message in block.bare_messages() if self._job.sink is None else block.messages():
                if self._only_key is None or message.key == self._only_key:
                    self._merge.put(message)
                else:
                    self._job.result.applied[block.part] = message.offset + 1
            self._work()
        self._job.flush()
        self._job.result.values = self._store.values
        return self._job.result

    def _work(self) -> None:
        while items := self._merge.take(_BATCH, stop_at_mark=self._job.spec.period is not None):
            effects = self._shell.apply(items)
            self._job.perform(effects)
            for write in effects.writes:
                self._store.put(write.partition, write.key, write.value)
            for message in effects.acks:
                self._job.result.applied[message.topic, message.partition] = message.offset + 1
