"""Metrics from what a process counts anyway: the counts of its heartbeats."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from tapedeck.streams import metrics
from tapedeck.streams.metrics import Metric, Sample

MICROS = 1_000_000
STATE_NOW = "NOW_"
_REPEATS = ("DUPLICATE", "REREAD")
_OUT = "OUT:"
Beat = Mapping[str, Any]


def build_samples(about: Mapping[str, object]) -> Iterator[Sample]:
    """What runs, and since when. ``about``: what a heartbeat says beside progress."""
    labels = tuple(str(about.get(name, "")) for name in metrics.BUILD.labels)
    yield Sample(metrics.BUILD, 1, labels)
    started = about.get("started_at")
    if isinstance(started, int):
        yield Sample(metrics.STARTED, started / MICROS)


def beat_samples(body: Beat, now: int) -> Iterator[Sample]:
    """What every heartbeat tells. ``now``: UTC micros. Unknown values have no sample."""
    stage, part = body["stage"], str(body["partition"])
    yield Sample(metrics.BEAT, max(0, now - body["at"]) / MICROS, (stage, part))
    if body["last_watermark"] is not None:
        yield Sample(metrics.WATERMARK, body["last_watermark"] / MICROS, (stage, part))
    outcomes = {"IN": 0, **{name: n for name, n in body["counts"].items() if _is_outcome(name)}}
    for outcome, count in outcomes.items():
        yield Sample(metrics.RECORDS, count, (stage, part, outcome))


def lag_sample(stage: str, lag: int | None) -> Iterator[Sample]:
    """The lag, if it is known: unknown is not 0."""
    if lag is not None:
        yield Sample(metrics.LAG, lag, (stage,))


def repeats_sample(stage: str, counts: Mapping[str, int]) -> Sample:
    """What came again, 0 included."""
    return Sample(metrics.REPEATS, sum(counts.get(name, 0) for name in _REPEATS), (stage,))


def dead_samples(stage: str, by_reason: Mapping[str, int]) -> Iterator[Sample]:
    """Dead letters by reason; 0 of none where there are none, so that a first one is an increase."""
    for reason, count in {"NONE": 0, **by_reason}.items():
        yield Sample(metrics.DEAD, count, (stage, reason))


def feed_samples(stage: str, counts: Mapping[str, int]) -> Iterator[Sample]:
    """The present states of an edge's sources, with their seconds."""
    for name, seconds in counts.items():
        if name.startswith(STATE_NOW):
            yield Sample(metrics.FEED_AGE, seconds, (stage, stage, name.removeprefix(STATE_NOW)))
        elif ":" in name and not name.startswith((_OUT, "BY:")):
            state, _, source = name.partition(":")
            yield Sample(metrics.FEED_AGE, seconds, (stage, source, state))


def delay_samples(stage: str, marks: Mapping[int, int | None], source: int | None) -> Iterator[Sample]:
    """Exact delay: the source's last ended minute minus that of each partition in ``marks``, UTC micros."""
    if source is None:
        return
    yield Sample(metrics.SOURCE_WATERMARK, source / MICROS, (stage,))
    for part, mark in marks.items():
        if mark is not None:
            yield Sample(metrics.DELAY, max(0, source - mark) / MICROS, (stage, str(part)))


def tallied(metric: Metric, stage: str, found: Mapping[tuple[str, ...], int]) -> Iterator[Sample]:
    """Counts by the labels after the stage."""
    for labels, count in found.items():
        yield Sample(metric, count, (stage, *labels))


def outside(samples: Collection[Sample]) -> set[str]:
    """The names among ``samples`` that are not in the catalogue."""
    return {each.metric.name for each in samples} - metrics.BY_NAME.keys()


def _is_outcome(name: str) -> bool:
    return not name.startswith((STATE_NOW, "STATE_", "BY:")) and (name.startswith(_OUT) or ":" not in name)
