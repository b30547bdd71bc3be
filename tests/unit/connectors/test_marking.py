"""Bars whose producer writes no watermarks: which minutes are over, and what a copy with watermarks is."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from tapedeck.connectors.tapes.marking import GRACE_S, Marker, copy_with_marks
from tapedeck.connectors.tapes.player import SOURCES, Pace, Player
from tapedeck.connectors.tapes.tape import bar_body
from tapedeck.schemas.codec import encode
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.digests import of_messages
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.watermarks import headers_for, readable_label
from tapedeck.topics.catalogue import WATERMARK_KEY, Layout
from tests.support.sim_tapes import NONE_THERE, run_clean, small_tape

T0 = 1_771_341_840_000_000
PARTS = [(name, partition) for name in SOURCES for partition in range(Layout().partitions(name))]


def bar(minute: int, partition: int = 0) -> Message:
    body = bar_body("AMD", T0 + minute * MINUTE_US, (1, 2, 1, 2), 5, feed="iex", origin="test")
    return Message("bars", partition, 0, 0, b"AMD", encode("bars", body), ())


class Fixture:
    """A marker with a clock; ``labels`` are the minutes written so far, counted from T0."""

    def __init__(self, last: dict[tuple[str, int], int | None] | None = None) -> None:
        self.now, self.wrote, self.then = 1000.0, list[Message](), list[int]()
        known = last or dict.fromkeys(PARTS)
        self.marker = Marker(known, self._write, monotonic=lambda: self.now, then=self.then.append)

    def _write(self, marks: Iterable[Message]) -> None:
        self.wrote += marks

    @property
    def labels(self) -> list[int]:
        found = [readable_label(m) for m in self.wrote if (m.topic, m.partition) == ("bars", 0)]
        return [(label - T0) // MINUTE_US for label in found if label is not None]

    def after(self, seconds: float) -> "Fixture":
        self.now += seconds
        self.marker.mark()
        return self


def test_the_first_bar_opens_the_log_and_a_later_minute_ends_the_one_before_after_the_grace() -> None:
    it = Fixture()
    it.marker.see(bar(0))
    assert it.labels == [-1]
    assert sorted({(m.topic, m.partition) for m in it.wrote}) == sorted(PARTS)
    it.after(30)
    it.marker.see(bar(1, partition=3))
    assert it.after(GRACE_S - 0.1).labels == [-1]
    assert it.after(0.2).labels == [-1, 0]
    assert it.then == [T0 - MINUTE_US, T0], "each is told once, after it is written"


def test_the_last_minute_ends_when_nothing_came_for_a_minute_and_the_grace() -> None:
    it = Fixture()
    it.marker.see(bar(0))
    assert it.after(60 + GRACE_S - 0.1).labels == [-1]
    assert it.after(0.2).labels == [-1, 0]
    it.after(500)
    assert it.labels == [-1, 0], "a minute is marked once"


def test_minutes_without_a_bar_are_marked_too_and_a_night_is_one_step() -> None:
    it = Fixture()
    it.marker.see(bar(0))
    it.marker.see(bar(3))
    assert it.after(GRACE_S).labels == [-1, 0, 1, 2]
    it.marker.see(bar(1000))
    assert it.after(GRACE_S).labels == [-1, 0, 1, 2, 3, 999]


def test_a_new_start_goes_on_behind_the_lowest_mark_and_never_repeats_one() -> None:
    last: dict[tuple[str, int], int | None] = dict.fromkeys(PARTS, T0)
    last["bars", 0] = T0 + MINUTE_US
    it = Fixture(last)
    for minute in (1, 2):
        it.marker.see(bar(minute))
    it.after(GRACE_S)
    assert it.labels == []
    others = [(m.topic, m.partition, readable_label(m)) for m in it.wrote]
    assert sorted(others) == sorted((*part, T0 + MINUTE_US) for part in PARTS if part != ("bars", 0))


def test_a_second_writer_is_refused_and_its_own_marks_are_not_taken_for_one() -> None:
    it = Fixture()
    it.marker.see(bar(0))
    for mark in list(it.wrote):
        it.marker.see(mark)
    label = T0 + 5 * MINUTE_US
    foreign = Message("bars", 1, 9, 0, WATERMARK_KEY, None, tuple(headers_for(label)))
    with pytest.raises(Fatal, match="another process writes watermarks"):
        it.marker.see(foreign)


def test_a_copy_of_bars_without_watermarks_by_another_partitioner_gives_the_digests_of_the_play() -> None:
    chosen = small_tape().minutes[60:180]
    # nothing in such a log tells when a late bar came; of a session before, a copy marks the minutes too
    minutes = tuple(
        m._replace(bars=tuple(b for b in m.bars if b["t"] == m.label or b["revision"])) for m in chosen
    )
    played = MemoryLog(Layout())
    cut = replace(small_tape(), history=(), minutes=minutes)
    player = Player(cut, played.writer(), Pace(None), optional=NONE_THERE)
    player.play(lambda: dict.fromkeys(PARTS))
    run_clean(played)
    strangers = [
        m._replace(partition=(m.partition + 1) % 4, headers=(), key=None)
        for name in SOURCES for m in played.messages(name) if m.key != WATERMARK_KEY
    ]  # fmt: skip
    broken = Message("bars", 0, 10**6, 0, b"AMD", b"none", ())
    copy = MemoryLog(Layout())
    copied = copy_with_marks([*strangers, broken], copy.writer(), absent=TOPOLOGY.optional)
    assert (copied.records, copied.unreadable) == (len(strangers), 1)
    for name in SOURCES:
        kept = [(m.partition, m.value or b"") for m in played.messages(name) if m.key != WATERMARK_KEY]
        there = [(m.partition, m.value or b"") for m in copy.messages(name) if m.key != WATERMARK_KEY]
        assert sorted(there) == sorted(kept)
    run_clean(copy)
    for name in ("features", "scores", "decisions", "signals"):
        expected = of_messages(name, played.messages(name)).hexdigest()
        assert name == "signals" or any(m.value is not None for m in copy.messages(name)), name
        assert of_messages(name, copy.messages(name)).hexdigest() == expected, name
