"""The market stages over recorded topics under another configuration; their outputs are on disk."""

from collections.abc import Iterable, Iterator
from tempfile import TemporaryFile

from tapedeck.streams.columnar.job import Job, TaskId
from tapedeck.streams.columnar.shell import run_in_shell
from tapedeck.streams.columnar.task import run_task, tasks_of
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import Batch, Row, Stage, StageSpec, Step, Values
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.topology import make
from tapedeck.streams.wire import Origin
from tapedeck.tape.whatif.overlay import Chained
from tapedeck.tape.whatif.spill import Shelf

_ORIGIN = "whatif"


def run_stages(stages: Iterable[StageSpec], config: Config, calendar: Calendar, source: Chained) -> None:
    """Run ``stages`` in the topology's order; their outputs replace the recorded ones."""
    for spec in stages:
        for name in spec.outputs:
            source.replace(name)
        for task in tasks_of([spec], source.layout, config):
            origin = Origin(_ORIGIN, "", config.digest)
            run_task(task, config, calendar, source, sink=source.take, origin=origin, spool=TemporaryFile)


class PinnedList:
    """The watchlist stage with a given list before each evaluation, to run single evaluations.

    ``before``: the list by watermark. With None, the stage uses its own list, and ``seen`` keeps it.
    """

    dead_letter_reasons: frozenset[str] = frozenset()

    def __init__(self, stage: Stage, before: Shelf | None = None) -> None:
        self._stage, self._before = stage, before
        self.seen = Shelf()

    def key(self, row: Row) -> bytes:
        return self._stage.key(row)

    def step(self, key: bytes, state: bytes | None, batch: Batch) -> Step:
        return self._stage.step(key, state, batch)

    def at_watermark(self, watermark: int, part: int, values: Values) -> Step:
        if self._before is None:
            self.seen.put(watermark, values.own)
            return self._stage.at_watermark(watermark, part, values)
        return self._stage.at_watermark(watermark, part, _Pinned(self._before.get(watermark), values))


class _Pinned:
    def __init__(self, own: bytes | None, values: Values) -> None:
        self.own, self._values = own, values

    def get(self, key: bytes) -> bytes | None:
        return self._values.get(key)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        return self._values.items()


def lists_before(spec: StageSpec, config: Config, calendar: Calendar, source: Chained) -> Shelf:
    """The list before each watermark, by its label, from the recorded scores.

    ``source`` receives the places.
    """
    stage = PinnedList(make(spec, config, calendar))
    _run_list(spec, stage, source, config)
    return stage.seen


def run_pinned_list(
    spec: StageSpec, config: Config, calendar: Calendar, source: Chained, before: Shelf
) -> None:
    """Evaluate every boundary on the recorded list before it; memberships replace the recorded ones."""
    _run_list(spec, PinnedList(make(spec, config, calendar), before), source, config)


def _run_list(spec: StageSpec, stage: PinnedList, source: Chained, config: Config) -> None:
    for name in spec.outputs:
        source.replace(name)
    job = Job(
        TaskId(spec, 0),
        source,
        cut=None,
        start=None,
        sink=source.take,
        progress=None,
        origin=Origin(_ORIGIN, "", config.digest),
        ingest_us=0,
    )
    run_in_shell(job, stage)
