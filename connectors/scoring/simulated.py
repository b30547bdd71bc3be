"""The scorer over a log in memory: without Kafka, threads or a clock. It may die at any effect."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from tapedeck.connectors.scoring.loop import STAGE, End, Partition, ScoringLoop
from tapedeck.connectors.scoring.order import INPUTS, SILENT_S, Position
from tapedeck.connectors.scoring.records import TOPIC
from tapedeck.connectors.sentiment.engines import scorer_of
from tapedeck.connectors.sentiment.scorer import Scorer
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import Message
from tapedeck.streams.sim.crash import Fuse, Point
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.wire import Origin, Wire
from tapedeck.topics.catalogue import Layout

_MOST, _CHUNK = 256, 500


class SimScorer:
    """The scorer of ``log``. ``work`` does everything that can be done now, and what it waits for is silent
    then. Where ``fuse`` burns through it raises Crash: ``restart``, and ``work`` again.

    ``engine`` makes the engine, by default that of the configuration.
    """

    def __init__(
        self, log: MemoryLog, config: Config, *, engine: Callable[[], Scorer] | None = None, most: int = _MOST
    ) -> None:
        self.fuse = Fuse()
        self._log, self._digest, self._most = log, config.digest, most
        self.engine = engine or (lambda: scorer_of(config.sentiment))
        self._made: Scorer | None = None
        self._now_s = 0.0
        self._committed: dict[str, Position | None] = dict.fromkeys(INPUTS)
        self._loop: ScoringLoop | None = None

    @property
    def counts(self) -> Counter[str]:
        """Items by reason since the last start."""
        return self._loop.counts if self._loop else Counter()

    def restart(self) -> None:
        """Come back after a crash: what was in memory is gone."""
        self._loop = self._made = None

    def work(self) -> bool:
        """Start if need be, and do what is due until nothing is left; whether anything was done.

        Nothing is done before the inputs have anything.
        """
        if self._loop is None:
            if not any(self._log.end(name, 0) for name in INPUTS):
                return False
            port = _MemoryPort(self._log, self._committed, lambda: self.fuse)
            origin = Origin(STAGE, "sim", self._digest)
            self._loop = ScoringLoop(port, self._engine, origin, most=self._most, now_us=lambda: 0)
        done, moved = False, True
        while True:
            again = self._loop.step(self._now_s, 0.0)
            if not again and not moved:
                return done
            if not again:
                # Whoever writes the inputs is done: what an input is still waited for will not come.
                self._now_s += SILENT_S
            done |= again
            moved = again

    def _engine(self) -> Scorer:
        if self._made is None:
            self._made = self.engine()
        return self._made


class _MemoryPort:
    """The loop's port onto a MemoryLog; ``committed`` outlives a crash."""

    def __init__(
        self, log: MemoryLog, committed: dict[str, Position | None], fuse: Callable[[], Fuse]
    ) -> None:
        self._log, self._committed, self._fuse = log, committed, fuse
        self.layout: Layout = log.layout
        self._at: dict[str, int] = {}

    def committed(self) -> Mapping[str, Position | None]:
        return dict(self._committed)

    def first(self, name: str) -> int:
        kept = self._log.read(name, 0, 0, 1)
        return kept[0].offset if kept else 0

    def ends(self, back: Mapping[Partition, int]) -> Mapping[Partition, End]:
        found = {}
        for part, count in back.items():
            end = self._log.end(TOPIC, part)
            found[part] = End(self._log.read(TOPIC, part, max(0, end - count)), count >= end)
        return found

    def begin(self, offsets: Mapping[str, int]) -> None:
        self._at = dict(offsets)

    def read(self, names: Sequence[str], timeout_s: float) -> Sequence[Message]:
        del timeout_s
        found: list[Message] = []
        for name in names:
            found += self._log.read(name, 0, self._at[name], _CHUNK)
        self._at |= {message.topic: message.offset + 1 for message in found}
        return found

    def write(self, wires: Sequence[Wire]) -> None:
        for wire in wires:
            self._fuse().burn(Point.OUTPUT)
            self._log.append(wire)

    def commit(self, positions: Mapping[str, Position]) -> None:
        self._fuse().burn(Point.ACK)
        self._committed.update(positions)
