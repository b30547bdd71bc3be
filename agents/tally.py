"""What is counted for metrics alone: decisions, orders, exits, positions, gates, and warnings of accounts."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from tapedeck.agents.writing import Writing
from tapedeck.streams import measured, metrics
from tapedeck.streams.metrics import Buckets, Metric, Sample
from tapedeck.streams.protocol import StageSpec
from tapedeck.streams.shell import Effects, Forward

_PROPOSALS, _ACCOUNTS = "proposals", "accounts"
_BY_FIELD: dict[str, tuple[Metric, str]] = {
    "decisions": (metrics.DECISIONS, "reason"),
    "orders": (metrics.ORDERS, "state"),
    "exits": (metrics.EXITS, "chosen"),
    "positions": (metrics.POSITIONS, "state"),
}
"""Topics whose records are counted by one field."""
_BESIDE = {_PROPOSALS: metrics.GATES, _ACCOUNTS: metrics.WARNINGS}


class Tally:
    """Counts the outputs of one stage, if they are of the kinds that are counted."""

    def __init__(self, spec: StageSpec) -> None:
        metric_of = {**{name: metric for name, (metric, _) in _BY_FIELD.items()}, **_BESIDE}
        self._names = frozenset(metric_of).intersection(spec.outputs)
        self.counts: dict[Metric, Counter[tuple[str, ...]]] = {
            metric: Counter() for name, metric in metric_of.items() if name in self._names
        }

    def add(self, done: Iterable[Effects]) -> None:
        """Count the outputs of a batch."""
        if not self._names:
            return
        for effects in done:
            for each in effects.outputs:
                if isinstance(each, Forward) or (name := each.out.topic) not in self._names:
                    continue
                body = each.out.body
                if name in _BY_FIELD:
                    metric, field = _BY_FIELD[name]
                    self.counts[metric][(str(body[field]),)] += 1
                elif name == _PROPOSALS:
                    self._gates(body["gates"])
                else:
                    kinds = self.counts[metrics.WARNINGS] = Counter()
                    kinds.update((str(text).partition(":")[0],) for text in body["warnings"])

    def _gates(self, gates: Iterable[dict[str, object]]) -> None:
        met = self.counts[metrics.GATES]
        for gate in gates:
            verdict = "passed" if gate["passed"] else "failed" if gate["applies"] else "not_asked"
            met[str(gate["gate"]), verdict] += 1

    def samples(self, stage: str) -> Iterator[Sample]:
        """The counts as metrics of ``stage``; 0 of none where nothing was counted yet."""
        for metric, found in self.counts.items():
            none = {("NONE",) * (len(metric.labels) - 1): 0}
            yield from measured.tallied(metric, stage, {**none, **found})


class Figures:
    """A runner's figures: batch seconds, generations begun, dead letters, and the tally of its outputs."""

    def __init__(self, spec: StageSpec, writing: Writing) -> None:
        self._writing = writing
        self.generations = 0
        self.seconds = Buckets()
        self.tally = Tally(spec)

    def add(self, seconds: float, done: Sequence[Effects]) -> None:
        """Count one batch that took so long."""
        self.seconds.observe(seconds)
        self.tally.add(done)

    def samples(self, stage: str) -> Iterator[Sample]:
        """The figures as metrics of ``stage``, as heartbeats name it."""
        yield Sample(metrics.BATCH, self.seconds, (stage,))
        yield Sample(metrics.REBALANCES, self.generations, (stage,))
        yield from measured.dead_samples(stage, dict(self._writing.dead_letters))
        yield from self.tally.samples(stage)
