"""Windows of a log: exactly the records of their minutes, the history before, and clear refusals."""

from collections.abc import Iterator
from functools import cache

import pytest

from tapedeck.connectors.recorded.window import SOURCES, Window, inbox, kept, slices, stretch, window_of
from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.blocks import Block, MemorySource
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.sessions import iso_utc, xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.watermarks import Opening, readable_label, readable_punctuation
from tapedeck.tape.notebook.times import moment
from tapedeck.topics.catalogue import CATALOGUE, WATERMARK_KEY, Layout
from tests.support.paths import bodies, inbox_of, morning
from tests.support.sim_tapes import small_tape, written

FIRST = small_tape().first_live
START, END = FIRST + 60 * MINUTE_US, FIRST + 90 * MINUTE_US


def messages_of(log: MemoryLog) -> list[Message]:
    return [m for each in CATALOGUE for m in log.messages(each.name)]


class Timed(MemorySource):
    """With a time index, as a broker has it; ``read`` counts the records that were handed out."""

    def __init__(self) -> None:
        super().__init__(Layout(), messages_of(morning().log))
        self.read = 0

    def stream(self, part: Part, start: int, end: int) -> Iterator[Block]:
        for block in super().stream(part, start, end):
            self.read += len(block)
            yield block

    def offset_at(self, part: Part, time_us: int) -> int:
        later = (m.offset for m in self._parts[part] if m.timestamp * 1000 >= time_us)
        return next(later, self.ends([part[0]])[part][1])


@cache
def source() -> MemorySource:
    return MemorySource(Layout(), messages_of(morning().log))


def window(start: int = START, end: int = END, sessions_before: int = 1):
    return window_of(source(), start, end, sessions_before=sessions_before, calendar=xnys())


def test_what_is_kept_is_told_by_its_first_and_last_minute():
    log = written(small_tape(), minutes=slice(10, 20))
    found = kept(MemorySource(log.layout, messages_of(log)))
    assert found == (FIRST + 10 * MINUTE_US, FIRST + 19 * MINUTE_US)


def test_each_minute_holds_the_records_before_its_watermark_and_its_opening_in_log_order():
    labels = []
    for each in slices(source(), SOURCES, START, END):
        labels.append(each.label)
        for name in SOURCES:
            for partition in range(Layout().partitions(name)):
                mine = [m for m in each.messages if (m.topic, m.partition) == (name, partition)]
                assert [m.offset for m in mine] == sorted(m.offset for m in mine)
                assert [readable_label(m) for m in mine[:-1]] == [None] * (len(mine) - 2) + [each.label]
                last = readable_punctuation(mine[-1])
                assert isinstance(last, Opening) and last.label == each.label
    assert labels == list(range(START, END, MINUTE_US))


def test_the_minutes_together_are_the_log_without_a_loss():
    there = kept(source())
    found = [m for each in slices(source(), SOURCES, 0, there.last + MINUTE_US) for m in each.messages]
    whole = [m for name in SOURCES for m in morning().log.messages(name)]
    assert sorted(found) == sorted(whole)


def test_a_time_index_changes_nothing():
    timed = Timed()
    assert list(stretch(timed, window())) == list(stretch(source(), window()))
    assert timed.read > 0


def test_a_time_index_spares_what_lies_before():
    timed = Timed()
    assert list(slices(timed, ("features",), START, END)) == list(slices(source(), ("features",), START, END))
    assert timed.read < sum(1 for _ in morning().log.messages("features"))


def test_the_stretch_opens_with_a_watermark_everywhere_and_brings_the_session_before():
    first, *rest = stretch(source(), window())
    assert {readable_label(m) for m in first.messages} == {window().history - MINUTE_US}
    assert len(first.messages) == 15  # bars, quotes and scores by symbol, the universe, news and posts
    history = [m for each in rest if each.label < START for m in each.messages]
    bars = [decode("bars", m.value) for m in history if m.topic == "bars" and m.value is not None]
    assert sum(bar["t"] < FIRST for bar in bars) == len(small_tape().history)
    assert not any(m.topic == "quotes" and m.value is not None for m in history)
    assert any(m.topic == "quotes" and m.value is not None for each in rest for m in each.messages)


def test_the_universe_in_force_comes_with_a_window_that_begins_behind_it():
    log = written(small_tape(), minutes=slice(0, 30))
    late = Window(FIRST + 20 * MINUTE_US, FIRST + 20 * MINUTE_US, FIRST + 25 * MINUTE_US)
    first = next(stretch(MemorySource(log.layout, messages_of(log)), late))
    assert [m.key for m in first.messages if m.key != WATERMARK_KEY] == [b"universe"]


def test_chosen_symbols_keep_their_bars_and_quotes_and_every_watermark():
    chosen = frozenset({"AMD", "WMT"})
    found = [m for each in stretch(source(), window(), chosen) for m in each.messages]
    everything = [m for each in stretch(source(), window()) for m in each.messages]
    assert {m.key for m in found if m.topic in ("bars", "quotes")} == {b"AMD", b"WMT", WATERMARK_KEY}
    marks = [sum(m.key == WATERMARK_KEY for m in messages) for messages in (found, everything)]
    assert marks[0] == marks[1]


def test_an_inbox_is_whole_up_to_the_end():
    last = max(m.timestamp for m in inbox_of(morning().log, "large"))
    assert list(inbox(source(), "large", last * 1000 + 1000)) == inbox_of(morning().log, "large")
    before = list(inbox(source(), "large", START))
    assert 0 < len(before) < len(inbox_of(morning().log, "large"))
    assert bodies(morning().log, "account_inbox")


@pytest.mark.parametrize(
    "start, end, words",
    [
        (END, START, "ends before it starts"),
        (FIRST - MINUTE_US, END, "does not reach back to --from"),
        (START, FIRST + 1000 * MINUTE_US, "does not reach to --to"),
    ],
)
def test_a_window_that_is_not_there_is_refused_with_what_is(start, end, words):
    with pytest.raises(Fatal, match=words) as caught:
        window(start, end)
    if "reach" in words:
        assert f"it holds {iso_utc(FIRST)} to " in caught.value.remedy


def test_a_window_is_widened_to_whole_minutes():
    assert window(START + 1, END - 1) == window(START, END)


@pytest.mark.parametrize("sessions, day", [(0, "2026-02-17"), (1, "2026-02-13"), (2, "2026-02-12")])
def test_history_begins_at_midnight_so_many_sessions_before(sessions, day):
    assert window(sessions_before=sessions).history == moment(f"{day}T00:00-05:00", "day", lambda: None)


def test_a_log_without_watermarks_is_refused():
    with pytest.raises(Fatal, match="nothing is recorded: the partition has no watermark; got 'bars/0'"):
        kept(MemorySource(Layout(), []))
