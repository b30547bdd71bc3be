"""Shells that each break one rule of the design's sections 4 and 5: the schedules must find every one."""

from typing import Any

from tapedeck.streams.merge import Item, Merge, Part
from tapedeck.streams.protocol import Message, Stage, StageSpec
from tapedeck.streams.sessions import xnys
from tapedeck.streams.shell import Effects, Shell
from tapedeck.streams.sim.crash import Fuse, Point
from tapedeck.streams.sim.task import Effect, SimTask
from tapedeck.streams.stages.scores.reasons import ScoreReason
from tapedeck.streams.stages.scores.stage import ScoresStage
from tapedeck.tape.sim.short_tape import CONFIG
from tapedeck.topics.catalogue import WATERMARK_KEY


def _sorted(order: list[Effect], *points: Point) -> list[Effect]:
    return sorted(order, key=lambda effect: points.index(effect[0]))


class OffsetsFirst(SimTask):
    """Commits the offsets before the outputs are written."""

    def _in_order(self, effects: Effects) -> list[Effect]:
        first = Point.ACK, Point.OUTPUT, Point.DEAD_LETTER, Point.CHANGELOG, Point.TABLE
        return _sorted(super()._in_order(effects), *first)


class OffsetsBeforeState(SimTask):
    """Commits the offsets after the outputs, but before the changelog."""

    def _in_order(self, effects: Effects) -> list[Effect]:
        first = Point.OUTPUT, Point.DEAD_LETTER, Point.ACK, Point.CHANGELOG, Point.TABLE
        return _sorted(super()._in_order(effects), *first)


class StateFirst(SimTask):
    """Writes the state before the outputs that it says were made."""

    def _in_order(self, effects: Effects) -> list[Effect]:
        first = Point.CHANGELOG, Point.TABLE, Point.OUTPUT, Point.DEAD_LETTER, Point.ACK
        return _sorted(super()._in_order(effects), *first)


class WatermarkFirst(SimTask):
    """Writes the ``~watermark`` value first in a batch, not last."""

    def _in_order(self, effects: Effects) -> list[Effect]:
        effects.writes.sort(key=lambda write: write.key != WATERMARK_KEY)
        return super()._in_order(effects)


class LastWriteWins(SimTask):
    """Restores the newest changelog record of a key, whoever wrote it."""

    def _wins(self, value: bytes, known: bytes | None) -> bool:
        return True


class WinnersLeft(SimTask):
    """Does not write a winner again that a late record hides."""

    def _restore(self, partition: int, message: Message, outrun: dict[tuple[int, bytes], None]) -> None:
        super()._restore(partition, message, {})


class OldDisk(SimTask):
    """Continues from its disk without reading the rest of the changelog."""

    def _recover(self, fuse: Fuse) -> None:
        if not self.disk.values:
            super()._recover(fuse)


class _ShellWithoutCursors(Shell):
    def _step_key(self, key: bytes, value: Any, *rest: Any) -> Any:
        found = super()._step_key(key, value._replace(cursors={}), *rest)
        return found._replace(cursors=value.cursors | found.cursors)


class CursorsIgnored(SimTask):
    """Applies records at or below a value's cursor again."""

    def _new_shell(self) -> Shell:
        return _ShellWithoutCursors(self.spec, self._stage, self.disk, self.home)


class _ForgetfulScores(ScoresStage):
    def refuses(self, body: dict[str, Any], newest: dict[str, Any] | None) -> ScoreReason | None:
        return super().refuses(body, None)


class NoIdentity(SimTask):
    """Treats an older record that is written again as the newest of its key."""

    def __init__(self, spec: StageSpec, stage: Stage, *rest: Any, **options: Any) -> None:
        stage = _ForgetfulScores(CONFIG, xnys()) if spec.name == "scores" else stage
        super().__init__(spec, stage, *rest, **options)


class _OpenMerge(Merge):
    def _readable(self, part: Part) -> bool:
        return True


class NoFanIn(SimTask):
    """Keeps reading a partition although others have not reached its watermark."""

    def _new_merge(self) -> Merge:
        return _OpenMerge(self.spec, self.inputs, self._shell.resume())


class _HastyMerge(Merge):
    def _joins_behind(self) -> bool:
        return False


class NoJoin(SimTask):
    """Does not wait for the joins of a minute."""

    def _new_merge(self) -> Merge:
        return _HastyMerge(self.spec, self.inputs, self._shell.resume())


class _RepeatingMerge(Merge):
    def _is_repeat(self, part: Part, label: int) -> bool:
        return False


class WatermarksAgain(SimTask):
    """Treats a watermark at or below the last one as a new one."""

    def _new_merge(self) -> Merge:
        return _RepeatingMerge(self.spec, self.inputs, self._shell.resume())


class _RunOnMerge(Merge):
    def take(self, n: int, *, stop_at_mark: bool = False) -> list[Item]:
        return super().take(n)


class BatchesRunOn(SimTask):
    """Lets the batch of a period stage continue after a watermark."""

    def _new_merge(self) -> Merge:
        return _RunOnMerge(self.spec, self.inputs, self._shell.resume())


BROKEN: tuple[type[SimTask], ...] = (
    OffsetsFirst,
    OffsetsBeforeState,
    StateFirst,
    WatermarkFirst,
    LastWriteWins,
    WinnersLeft,
    OldDisk,
    CursorsIgnored,
    NoIdentity,
    NoFanIn,
    NoJoin,
    WatermarksAgain,
    BatchesRunOn,
)
