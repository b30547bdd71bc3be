"""Whole stages in this process: rebuilt from their topics, and as live wrote them, for tests and the demo."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from tempfile import TemporaryFile

from tapedeck.streams.blocks import Source
from tapedeck.streams.changelog import Changelog
from tapedeck.streams.columnar.job import Result
from tapedeck.streams.columnar.rows import Rows
from tapedeck.streams.columnar.task import account_task, run_task, tasks_of
from tapedeck.streams.config.document import Config
from tapedeck.streams.digests import OutputDigest, of_messages, of_state
from tapedeck.streams.protocol import StageSpec
from tapedeck.streams.sessions import Calendar
from tapedeck.topics.catalogue import WATERMARK_KEY


@dataclass
class Rebuilt:
    """A stage rebuilt from its source topics: rows per output topic, and its table."""

    stage: str
    outputs: dict[str, Rows] = field(default_factory=dict)
    values: dict[bytes, bytes] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def state(self) -> str:
        """The digest of the rebuilt table."""
        return of_state(self.values)

    def digests(self) -> dict[str, str]:
        """Digest by output topic, and of the table under ``state``."""
        return {name: rows.hexdigest() for name, rows in self.outputs.items()} | {"state": self.state}


def rebuild_stage(spec: StageSpec, source: Source, config: Config, calendar: Calendar) -> Rebuilt:
    """A market stage from its source topics."""
    tasks = tasks_of([spec], source.layout, config)
    return _together(spec, [run_task(task, config, calendar, source, spool=TemporaryFile) for task in tasks])


def rebuild_account(
    spec: StageSpec, account_id: str, source: Source, config: Config, calendar: Calendar
) -> Rebuilt:
    """One account's stage from its recorded inbox: no broker, in the recorded order."""
    task = account_task(spec, account_id, source.layout)
    return _together(spec, [run_task(task, config, calendar, source, spool=TemporaryFile)])


def _together(spec: StageSpec, results: Sequence[Result]) -> Rebuilt:
    found = Rebuilt(spec.name, {name: Rows(TemporaryFile) for name in spec.outputs})
    for result in results:
        for (name, _), rows in result.outputs.items():
            found.outputs[name].absorb(rows)
        found.values.update((key, v) for (_, key), v in result.values.items() if key != WATERMARK_KEY)
        found.counts.update(result.counts)
    return found


def live_outputs(name: str, source: Source) -> OutputDigest:
    """The digest of a topic's content."""
    bounds = sorted(source.ends([name]).items())
    blocks = (block for part, ends in bounds for block in source.stream(part, *ends))
    return of_messages(name, (message for block in blocks for message in block.messages()))


def live_state(spec: StageSpec, source: Source) -> dict[bytes, bytes]:
    """The table of a stage from its changelog, without the ``~watermark`` values."""
    found = Changelog(single=spec.scale == "single")
    for part, ends in sorted(source.ends([spec.changelog]).items()):
        for block in source.stream(part, *ends):
            for place in range(len(block)):
                found.add(block.partition, block.key(place), block.value(place))
    return {key: value for (_, key), value in found.values().items() if key != WATERMARK_KEY}
