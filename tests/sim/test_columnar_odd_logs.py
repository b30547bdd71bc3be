"""The columnar folds give what the shell gives on logs that are not as they should be."""

import random
from collections.abc import Iterator
from functools import cache

import pytest

from tapedeck.schemas.codec import PREFIX, encode
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.columnar.job import Job, Result, TaskId
from tapedeck.streams.columnar.shell import run_in_shell
from tapedeck.streams.columnar.task import run_task, tasks_of
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.topology import definition_of, make
from tapedeck.streams.watermarks import headers_for
from tapedeck.streams.wire import Origin
from tapedeck.topics.catalogue import WATERMARK_KEY, Layout
from tests.support.paths import CONFIG
from tests.support.sim_tapes import run_clean, small_tape, written

COLUMNAR = [spec for spec in TOPOLOGY if definition_of(spec).columnar is not None]
NAMES = ("bars", "features", "memberships")
SEEDS = 12
ODDITIES = (
    "revision", "inserted late", "far too late", "bad price", "off the minute", "outside the session",
    "beyond the calendar", "other feed", "repeat", "cut short", "unknown schema", "no value",
    "no label", "watermark again", "before the first watermark", "ends early",
)  # fmt: skip


@cache
def clean() -> MemoryLog:
    log = written(small_tape(), minutes=slice(0, 60), history_tail=150)
    run_clean(log, CONFIG)
    return log


class OddLog:
    """A copy of the clean log with oddities put in, by seed; ``put_in`` counts them by name."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self.put_in = dict.fromkeys(ODDITIES, 0)
        self.messages = [
            message
            for name in NAMES
            for partition in range(Layout().partitions(name))
            for message in self._spoiled((name, partition))
        ]

    def _spoiled(self, part: Part) -> Iterator[Message]:
        found = list(clean().read(*part, 0))
        if self._rng.random() < 0.2:
            found = found[: self._rng.randrange(len(found) // 2, len(found))]
            self._count("ends early")
        records = [m for m in found if m.value is not None]
        if records and self._rng.random() < 0.3:
            found.insert(0, self._rng.choice(records))
            self._count("before the first watermark")
        offset = 0
        for message in found:
            for each in self._around(message):
                offset += self._rng.randint(1, 2)  # a log may have holes
                yield each._replace(offset=offset)

    def _around(self, message: Message) -> list[Message]:
        if self._rng.random() > 0.12:
            return [message]
        if message.value is None:
            label = headers_for(self._rng.choice([0, message.timestamp * 1000 - 2 * MINUTE_US]))
            if self._rng.random() < 0.5:
                self._count("no label")
                return [message, message._replace(headers=(("tape-watermark", b"soon"),))]
            self._count("watermark again")
            return [message, message._replace(headers=tuple(label))]
        odd = self._damaged(message) if self._rng.random() < 0.3 else self._another(message)
        return [message, odd] if self._rng.random() < 0.7 else [odd, message]

    def _damaged(self, message: Message) -> Message:
        value = message.value or b""
        what = self._rng.choice(["cut short", "unknown schema", "no value"])
        self._count(what)
        if what == "cut short":
            return message._replace(value=value[: self._rng.randrange(len(value))])
        if what == "unknown schema":
            return message._replace(value=PREFIX.pack(0, 4242) + value[PREFIX.size :])
        return message._replace(value=None, headers=())

    def _another(self, message: Message) -> Message:
        from tapedeck.schemas.codec import decode

        body = decode(message.topic, message.value)
        if message.topic == "memberships":
            self._count("repeat")
            body["event_time"] += self._rng.choice([0, -300 * 10**6])
            return message._replace(value=encode(message.topic, body))
        what = self._rng.choice([*ODDITIES[:9]])
        self._count(what)
        if what == "revision":
            body["revision"] += self._rng.randint(1, 3)
            body["close"] = body.get("high", body["close"])
        elif what in ("inserted late", "far too late"):
            body["t"] -= MINUTE_US * self._rng.randint(1, 12 if what == "inserted late" else 60)
        elif what == "bad price":
            body["close"] = -1.0
        elif what == "off the minute":
            body["t"] += 1
        elif what == "outside the session":
            body["t"] -= 14 * 60 * MINUTE_US
        elif what == "beyond the calendar":
            body["t"] += self._rng.choice([-1, 1]) * 80 * 366 * 24 * 60 * MINUTE_US
        elif what == "other feed":
            body["feed"] = "sip"
        if message.topic == "features":
            body["ready"] = self._rng.random() < 0.9
            body["as_of"] = body["t"] + MINUTE_US
            body["event_time"] = body["as_of"]
        return message._replace(value=encode(message.topic, body))

    def _count(self, what: str) -> None:
        self.put_in[what] += 1


def in_shell(task: TaskId, source: MemorySource) -> Result:
    stage = make(task.spec, CONFIG, xnys())
    origin = Origin("rebuild", "", CONFIG.digest)
    job = Job(task, source, cut=None, start=None, sink=None, progress=None, origin=origin, ingest_us=0)
    return run_in_shell(job, stage)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_columns_and_shell_agree_on_an_odd_log(seed: int) -> None:
    messages = OddLog(seed).messages
    for task in tasks_of(COLUMNAR, Layout(), CONFIG):
        source = MemorySource(Layout(), messages, size=random.Random(seed).choice([37, 500, 5000]))
        ours, theirs = run_task(task, CONFIG, xnys(), source), in_shell(task, source)
        for part, rows in theirs.outputs.items():
            assert list(rows.differences(ours.outputs[part])) == [], (task, part)
            assert ours.outputs[part].hexdigest() == rows.hexdigest()
        assert ours.values.keys() == theirs.values.keys(), task
        assert ours.values == theirs.values, task
        assert ours.watermark == theirs.watermark, task
        # what is read again does no harm, what is not read would
        assert all(ours.applied[part] <= offset for part, offset in theirs.applied.items()), task


def test_every_oddity_is_put_in_by_some_seed() -> None:
    logs = [OddLog(seed) for seed in range(SEEDS)]
    assert all(any(log.put_in[what] for log in logs) for what in ODDITIES)
    assert WATERMARK_KEY in {message.key for log in logs for message in log.messages}
