"""The player's openings: which optional input is named when, and what a crash leaves to be told."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from tapedeck.connectors.tapes.marks import End
from tapedeck.connectors.tapes.openings import Openings, OptionalInputs
from tapedeck.connectors.tapes.player import SOURCES, Pace, Player
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sim.log import MemoryLog, MemoryWriter
from tapedeck.streams.watermarks import Opening, Watermark, readable_punctuation
from tapedeck.topics.catalogue import Layout
from tests.unit.connectors.test_tape_player import FIRST, Crash, tape

LAYOUT = Layout(symbol_partitions=2)
PARTS = [(name, part) for name in SOURCES for part in range(LAYOUT.partitions(name))]


class Clock:
    """Time that passes where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class FusedWriter(MemoryWriter):
    """Dies after ``fuse`` openings, partition by partition."""

    def __init__(self, log: MemoryLog, fuse: int | None = None) -> None:
        super().__init__(log)
        self.fuse = fuse

    def opening(
        self, name: str, label: int, absent: Iterable[str], partitions: Sequence[int] | None = None
    ) -> None:
        for partition in range(LAYOUT.partitions(name)) if partitions is None else partitions:
            if self.fuse == 0:
                raise Crash
            self.fuse = None if self.fuse is None else self.fuse - 1
            super().opening(name, label, absent, (partition,))


def ends(log: MemoryLog) -> dict[Part, End]:
    found = dict.fromkeys(PARTS, End())
    for part in PARTS:
        for message in log.read(*part, 0):
            found[part] = found[part].then(readable_punctuation(message))
    return found


def play(log: MemoryLog, last_label: Callable[[str], int | None], clock: Clock, **how: Any) -> None:
    """Play four minutes with the optional inputs ``news`` and ``mood``."""
    optional = OptionalInputs(
        how.pop("names", ("news", "mood")),
        last_label,
        lambda: {part: end.absent for part, end in ends(log).items()},
        pause=clock.sleep,
    )
    Player(
        tape(),
        FusedWriter(log, how.pop("fuse", None)),
        Pace(None),
        optional=optional,
        monotonic=lambda: clock.now,
        **how,
    ).play(lambda: {part: end.label for part, end in ends(log).items()})


def said(log: MemoryLog, part: Part) -> list[tuple[int, tuple[str, ...]]]:
    """(minute, names) of each opening that counts: the first where its minute is the last watermark."""
    found: dict[int, tuple[str, ...]] = {}
    at = -1
    for message in log.read(*part, 0):
        mark = readable_punctuation(message)
        if isinstance(mark, Watermark):
            at = max(at, mark.label)
        elif isinstance(mark, Opening) and mark.label == at:
            found.setdefault((at - FIRST) // MINUTE_US, mark.absent)
    return list(found.items())


def test_a_pipeline_without_optional_inputs_gets_no_openings() -> None:
    with_none, plain = MemoryLog(LAYOUT), MemoryLog(LAYOUT)
    play(with_none, lambda name: None, Clock(), names=())
    Player(tape(), plain.writer(), Pace(None)).play(dict)
    assert [with_none.read(*part, 0) for part in PARTS] == [plain.read(*part, 0) for part in PARTS]


def test_inputs_that_keep_up_are_never_named_and_nobody_waits() -> None:
    log, clock = MemoryLog(LAYOUT), Clock()
    play(log, lambda name: FIRST + 9 * MINUTE_US, clock)
    for part in PARTS:
        assert said(log, part) == [(minute, ()) for minute in range(-1, 4)]
    assert clock.now == 100.0


def test_the_opening_stands_right_behind_its_watermark_in_every_partition() -> None:
    log = MemoryLog(LAYOUT)
    play(log, lambda name: None, Clock())
    for part in PARTS:
        found = [readable_punctuation(message) for message in log.read(*part, 0)]
        places = [place for place, each in enumerate(found) if isinstance(each, Watermark)]
        assert len(places) == 5
        for place in places:
            mark, opening = found[place], found[place + 1]
            assert isinstance(opening, Opening)
            assert mark is not None
            assert opening.label == mark.label


def test_a_silent_input_is_waited_for_once_and_named_from_then_on() -> None:
    log, clock = MemoryLog(LAYOUT), Clock()
    play(log, lambda name: None if name == "news" else FIRST + 9 * MINUTE_US, clock)
    assert said(log, ("bars", 0)) == [(minute, ("news",)) for minute in range(-1, 4)]
    assert clock.now == 130.0


def test_an_input_that_moves_again_is_waited_for_again() -> None:
    log, clock = MemoryLog(LAYOUT), Clock()

    def last_label(name: str) -> int | None:
        """Silent for 40 s, then a minute each ten seconds up to minute 1, then silent again."""
        if name == "mood":
            return FIRST + 9 * MINUTE_US
        steps = int((clock.now - 140) // 10)
        return None if steps < 0 else FIRST + min(steps - 1, 1) * MINUTE_US

    play(log, last_label, clock, before_minute=lambda label: clock.sleep(12))
    told = dict(said(log, ("quotes", 1)))
    assert told == {-1: ("news",), 0: (), 1: (), 2: ("news",), 3: ("news",)}


@pytest.mark.parametrize("fuse", range(1, 3 * len(PARTS)))
def test_after_a_crash_between_two_partitions_all_are_told_the_same(fuse: int) -> None:
    log, clock = MemoryLog(LAYOUT), Clock()
    with pytest.raises(Crash):
        play(log, lambda name: None, clock, fuse=fuse)
    there = FIRST + 9 * MINUTE_US
    play(log, lambda name: there, Clock())
    told = [said(log, part) for part in PARTS]
    assert all(each == told[0] for each in told)
    assert [minute for minute, _ in told[0]] == [-1, 0, 1, 2, 3]
    named = [minute for minute, names in told[0] if names]
    assert named == [minute for minute in range(-1, 4) if (minute + 1) * len(PARTS) < fuse]


def test_a_watermark_that_only_some_partitions_have_is_opened_before_the_minute_is_written_again() -> None:
    log = MemoryLog(LAYOUT)
    writer, clock = FusedWriter(log), Clock()
    writer.watermark("bars", FIRST)
    inputs = OptionalInputs(("news",), lambda name: None, pause=clock.sleep)
    openings = Openings(inputs, SOURCES, writer, monotonic=lambda: clock.now)
    openings.complete({part: end.label for part, end in ends(log).items()})
    assert {part: end.absent for part, end in ends(log).items()} == {
        part: ("news",) if part[0] == "bars" else None for part in PARTS
    }


@pytest.mark.parametrize(
    ("at_start", "waited"), [(None, 0.0), (FIRST - 3 * MINUTE_US, 0.0), (FIRST - MINUTE_US, 30.0)]
)
def test_an_input_far_behind_at_the_start_is_not_waited_for_until_it_moves(
    at_start: int | None, waited: float
) -> None:
    clock, log = Clock(), MemoryLog(LAYOUT)
    labels = {"news": at_start}
    inputs = OptionalInputs(("news",), labels.__getitem__, pause=clock.sleep)
    since = FIRST - 2 * MINUTE_US
    openings = Openings(inputs, SOURCES, log.writer(), monotonic=lambda: clock.now, since=since)
    began = clock.now
    openings.open(FIRST)
    assert clock.now - began == pytest.approx(waited, abs=1.0)
    labels["news"] = FIRST
    openings.open(FIRST)
    labels["news"] = FIRST + MINUTE_US
    openings.open(FIRST + MINUTE_US)
    assert openings.absent == ()
    began = clock.now
    openings.open(FIRST + 2 * MINUTE_US)
    assert clock.now - began == pytest.approx(30.0, abs=1.0), "it moved, so it is waited for again"
