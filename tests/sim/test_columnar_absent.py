"""An input is absent for a while: sim, shell and columns leave the same outputs, openings and tables."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import pytest

from tapedeck.schemas.codec import PREFIX, decode
from tapedeck.streams.blocks import Block, MemorySource
from tapedeck.streams.columnar.job import Job, Result, Start, TaskId
from tapedeck.streams.columnar.rows import Rows
from tapedeck.streams.columnar.shell import run_in_shell
from tapedeck.streams.definition import Columnar
from tapedeck.streams.frame import OPENED, unpack
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import Join, Message, StageSpec
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.task import SimTask, drain, tasks_of
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.topology import definition_of
from tapedeck.streams.watermarks import headers_for, label_of, opening_headers, readable_punctuation
from tapedeck.streams.wire import Origin, Wire
from tapedeck.topics.catalogue import WATERMARK_KEY, topic
from tests.support.paths import CONFIG
from tests.support.sim_tapes import run_clean, small_tape, written

WINDOWS = "sentiment_windows"
SIGNALS = replace(
    TOPOLOGY.stage("signals"), joins=(Join("memberships", optional=True), Join(WINDOWS, optional=True))
)
SCORES = TOPOLOGY.stage("scores")
STAGES = (TOPOLOGY.stage("features"), SCORES, SIGNALS)
MINUTES = slice(0, 60)
Absent = Callable[[int], bool]
ALWAYS: Absent = lambda minute: True  # noqa: E731 - a table of three
NEVER: Absent = lambda minute: False  # noqa: E731
A_WHILE: Absent = lambda minute: 20 <= minute < 37  # noqa: E731
NAME = "memberships"


@cache
def clean() -> MemoryLog:
    log = written(small_tape(), minutes=MINUTES, history_tail=150)
    run_clean(log, CONFIG)
    return log


def with_openings(spec: StageSpec, absent: Absent) -> MemoryLog:
    """The inputs of ``spec``; each minute is opened, and names the memberships where they are ``absent``.

    Windows are absent all day, and so is an input that no stage has.
    """
    first = small_tape().minutes[MINUTES][0].label
    log = MemoryLog(clean().layout)
    for name in spec.inputs:
        for message in clean().messages(name):
            log.append(wire_of(message, message.headers))
            label = label_of(message.key, message.value, message.headers)
            if label is not None and name == spec.trigger:
                names = [WINDOWS, "elsewhere"]
                names += [NAME] if absent((label - first) // 60_000_000) else []
                # one partition's word is enough
                names = names if message.partition == 1 or spec.scale == "partition" else []
                log.append(wire_of(message, tuple(opening_headers(label, names))))
    return log


def wire_of(message: Message, headers: object) -> Wire:
    partition, key, value = message.partition, message.key, message.value
    assert key is not None
    return Wire(message.topic, partition, key, value, message.timestamp, list(headers))  # type: ignore[call-overload]


def of_minute(message: Message) -> int | None:
    found = readable_punctuation(message)
    return None if found is None else found.label


def sim(spec: StageSpec, log: MemoryLog) -> dict[int, SimTask]:
    tasks = tasks_of(spec, definition_of(spec).make(CONFIG, xnys(), None), log)
    drain(tasks)
    return {task.home: task for task in tasks}


def job_of(task: TaskId, log: MemoryLog, size: int, sink: Callable[[Block], None], **changed: object) -> Job:
    source = MemorySource(log.layout, [m for n in task.spec.inputs for m in log.messages(n)], size)
    origin = Origin("rebuild", "", CONFIG.digest)
    told = {"cut": None, "start": None, "progress": None} | changed
    return Job(task, source, sink=sink, origin=origin, ingest_us=0, **told)  # type: ignore[arg-type]


def columnar(job: Job) -> Result:
    definition = definition_of(job.spec)
    assert isinstance(definition.columnar, Columnar)
    return definition.columnar.run(definition.make(CONFIG, xnys(), None), job)


def in_shell(job: Job) -> Result:
    return run_in_shell(job, definition_of(job.spec).make(CONFIG, xnys(), None))


def rows_of(messages: Iterator[Message], name: str) -> str:
    rows, schema = Rows(), topic(name).schema
    assert schema is not None
    for message in messages:
        if message.value is not None:
            event_id = decode(schema, message.value)["event_id"]
            rows.add_one(message.key or b"", event_id, message.value[PREFIX.size :])
    return rows.hexdigest()


def punctuation(messages: list[Message]) -> list[tuple[int, object]]:
    return [(m.timestamp, tuple(m.headers)) for m in messages if m.key == WATERMARK_KEY]


@pytest.mark.parametrize("absent", [NEVER, ALWAYS, A_WHILE], ids=["present", "absent all day", "a while"])
@pytest.mark.parametrize("spec", STAGES, ids=lambda spec: spec.name)
def test_three_ways_leave_the_same(spec: StageSpec, absent: Absent) -> None:
    log = with_openings(spec, absent)
    inputs = log.copied()
    for home, live in sim(spec, log).items():
        task = TaskId(spec, home)
        for way, size in ((columnar, 61), (columnar, 5000), (in_shell, 500)):
            blocks: dict[Part, list[Message]] = defaultdict(list)
            result = way(job_of(task, inputs, size, lambda b, to=blocks: to[b.part].extend(b.messages())))
            assert result.values == live.disk.values, (home, way)
            for part, rows in result.outputs.items():
                theirs = log.read(*part, 0)
                assert rows.hexdigest() == rows_of(iter(theirs), part[0]), (part, way)
                assert punctuation(blocks[part]) == punctuation(theirs), (part, way)
                assert [m.value for m in blocks[part]] == [m.value for m in theirs], (part, way)
        stored = unpack(live.disk.values[home, WATERMARK_KEY]).cursors
        assert (OPENED, 0 if spec.scale == "single" else home) in stored
        absences = {name: (OPENED + spec.inputs.index(name), 0) in stored for name in spec.inputs[1:]}
        assert absences == {SIGNALS: {NAME: absent is not NEVER, WINDOWS: True}, SCORES: {WINDOWS: True}}.get(
            spec, {}
        )


def test_what_is_absent_is_not_joined() -> None:
    """The scenario is there: decisions made while the list was absent name no membership that came then."""
    digests = set()
    for absent in (NEVER, ALWAYS, A_WHILE):
        log = with_openings(SIGNALS, absent)
        sim(SIGNALS, log)
        digests.add(rows_of(log.messages("decisions"), "decisions"))
    assert len(digests) == 3


@pytest.mark.parametrize("minute", [10, 25, 36, 40])
def test_a_task_goes_on_where_it_stopped_behind_the_opening_of_a_minute(minute: int) -> None:
    log = with_openings(SIGNALS, A_WHILE)
    inputs = log.copied()
    for home, live in sim(SIGNALS, log).items():
        task = TaskId(SIGNALS, home)
        opened = small_tape().minutes[MINUTES][minute].label
        behind = [m.offset for m in inputs.read("features", home, 0) if of_minute(m) == opened][-1] + 1
        half = columnar(job_of(task, inputs, 61, lambda b: None, cut={("features", home): behind}))
        start = Start(half.values, half.applied)
        cursors = unpack(half.values[home, WATERMARK_KEY]).cursors
        assert cursors[0, home] == cursors[OPENED, home] == opened
        assert (cursors.get((OPENED + 1, 0)) == opened) == A_WHILE(minute)
        for way in (columnar, in_shell):
            rest = way(job_of(task, inputs, 61, lambda b: None, start=start))
            assert rest.values == live.disk.values
            for part, rows in rest.outputs.items():
                rows.absorb(half.outputs[part])
                assert rows.hexdigest() == rows_of(iter(log.read(*part, 0)), part[0])


def test_an_opening_of_another_minute_and_one_that_cannot_be_read_say_nothing() -> None:
    log = with_openings(SIGNALS, NEVER)
    spoiled = MemoryLog(log.layout)
    for message in (m for name in SIGNALS.inputs for m in log.messages(name)):
        spoiled.append(wire_of(message, message.headers))
        if label_of(message.key, message.value, message.headers) is not None and message.topic == "features":
            bad = [*opening_headers(0, ["memberships"]), ("tape-absent", b"no name")]
            for headers in (bad, opening_headers(60_000_000, ["memberships"])):
                spoiled.append(wire_of(message, tuple(headers)))
            spoiled.append(wire_of(message, tuple(headers_for(0))))
    whole, odd = (sim(SIGNALS, each) and each for each in (log, spoiled))
    assert rows_of(whole.messages("decisions"), "decisions") == rows_of(
        odd.messages("decisions"), "decisions"
    )
    for home in range(log.layout.partitions("features")):
        results = [
            columnar(job_of(TaskId(SIGNALS, home), each, 61, lambda b: None)) for each in (log, spoiled)
        ]
        digests = [{p: rows.hexdigest() for p, rows in each.outputs.items()} for each in results]
        assert digests[0] == digests[1]
