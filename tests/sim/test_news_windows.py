"""Sentiment windows reach the stages that join them: sim, shell and columns leave the same, news or not.

The windows are there all day, come late, or stop and come back; they are of random minutes, some twice and
some older than the one before.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache

import pytest

from tapedeck.schemas.codec import decode
from tapedeck.streams.columnar.job import Result, TaskId
from tapedeck.streams.identity import event_id
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import MINUTE_US, Message, StageSpec
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.watermarks import label_of, opening_headers
from tests.sim.test_columnar_absent import columnar, in_shell, job_of, punctuation, rows_of, sim, wire_of
from tests.support.paths import CONFIG
from tests.support.sim_tapes import run_clean, small_tape, written

NAME = "sentiment_windows"
STAGES = tuple(spec for spec in TOPOLOGY.market if NAME in spec.inputs)
MINUTES = slice(0, 60)
Absent = Callable[[int], bool]
ALWAYS: Absent = lambda minute: True  # noqa: E731 - a table of three
NEVER: Absent = lambda minute: False  # noqa: E731
A_WHILE: Absent = lambda minute: 20 <= minute < 37  # noqa: E731


@cache
def clean() -> MemoryLog:
    log = written(small_tape(), minutes=MINUTES, history_tail=150)
    run_clean(log, CONFIG)
    return log


def window(symbol: str, t: int, rng: random.Random) -> dict[str, object]:
    n = rng.choice((0, 1, 3, 8))
    avg = round(rng.uniform(-1, 1), 6) if n else 0.0
    newest = t - rng.randrange(20) * MINUTE_US if n else None
    identity = event_id(NAME, (symbol, t), inputs=[str(avg)])
    body: dict[str, object] = {
        "event_id": identity, "event_time": t, "config_digest": CONFIG.digest, "rules_version": "rules-1",
        "inputs": [], "symbol": symbol, "t": t,
    }  # fmt: skip
    for minutes in (30, 60):
        body |= {f"n_{minutes}": n, f"avg_{minutes}": avg, f"newest_at_{minutes}": newest}
        body |= {f"pos_{minutes}": n, f"neg_{minutes}": 0, f"neu_{minutes}": 0}
    return body


def joined(spec: StageSpec, absent: Absent) -> MemoryLog:
    """The inputs of ``spec``, opened minute by minute, with windows where they are not ``absent``."""
    rng, tape = random.Random(7), small_tape()
    labels = [minute.label for minute in tape.minutes[MINUTES]]
    log = MemoryLog(clean().layout)
    for name in (each for each in spec.inputs if each != NAME):
        for message in clean().messages(name):
            log.append(wire_of(message, message.headers))
            label = label_of(message.key, message.value, message.headers)
            if label is not None and name == spec.trigger:
                names = [NAME] if absent((label - labels[0]) // MINUTE_US) else []
                log.append(wire_of(message, tuple(opening_headers(label, names))))
    writer = log.writer()
    written_before: list[dict[str, object]] = []
    for number, label in enumerate([labels[0] - MINUTE_US, *labels], start=-1):
        if absent(number):
            continue
        for symbol in rng.sample(tape.symbols, 2):
            written_before.append(window(symbol, label + MINUTE_US, rng))
            writer.send(NAME, written_before[-1])
            if rng.random() < 0.3:
                writer.send(NAME, rng.choice(written_before))
        writer.watermark(NAME, label)
    return log


@pytest.mark.parametrize("absent", [NEVER, ALWAYS, A_WHILE], ids=["news", "no news", "news stops"])
@pytest.mark.parametrize("spec", STAGES, ids=lambda spec: spec.name)
def test_three_ways_leave_the_same(spec: StageSpec, absent: Absent) -> None:
    log = joined(spec, absent)
    inputs = log.copied()
    for home, live in sim(spec, log).items():
        task = TaskId(spec, home)
        for way, size in ((columnar, 61), (columnar, 5000), (in_shell, 500)):
            blocks: dict[Part, list[Message]] = defaultdict(list)
            result: Result = way(
                job_of(task, inputs, size, lambda b, to=blocks: to[b.part].extend(b.messages()))
            )
            assert result.values == live.disk.values, (home, way)
            for part, rows in result.outputs.items():
                theirs = log.read(*part, 0)
                assert rows.hexdigest() == rows_of(iter(theirs), part[0]), (part, way)
                assert punctuation(blocks[part]) == punctuation(theirs), (part, way)
                assert [m.value for m in blocks[part]] == [m.value for m in theirs], (part, way)


def told(log: MemoryLog, name: str) -> Iterator[dict[str, object]]:
    return (decode(name, m.value) for m in log.messages(name) if m.value is not None)


@pytest.mark.parametrize("spec", STAGES, ids=lambda spec: spec.name)
def test_what_is_written_knows_the_windows_only_where_there_are_any(spec: StageSpec) -> None:
    found = {}
    for absent in (NEVER, ALWAYS, A_WHILE):
        log = joined(spec, absent)
        sim(spec, log)
        found[absent] = [body["sentiment_n"] for body in told(log, spec.outputs[0])]
    assert set(found[ALWAYS]) == {0}
    assert set(found[NEVER]) == {0, 1, 3, 8} and found[NEVER] != found[A_WHILE]


@pytest.mark.parametrize("spec", STAGES, ids=lambda spec: spec.name)
def test_without_news_a_stage_leaves_what_it_left_before_there_was_any(spec: StageSpec) -> None:
    log = joined(spec, ALWAYS)
    tasks = sim(spec, log)
    for name in spec.outputs:
        assert rows_of(log.messages(name), name) == rows_of(clean().messages(name), name)
    alone = {key: value for task in tasks.values() for key, value in task.disk.values.items()}
    assert alone and not any(b"window" in value for value in alone.values())
