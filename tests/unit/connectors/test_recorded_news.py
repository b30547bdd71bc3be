"""News in recorded windows: kept where the log has it, played again, and no trace of it where it has none."""

from dataclasses import replace
from functools import cache

from tapedeck.connectors.recorded.playable import playable
from tapedeck.connectors.recorded.window import SOURCES, marked, stretch, window_of
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import xnys
from tapedeck.tape.record.making import cut
from tests.support.sim_tapes import CONFIG, small_tape, written


@cache
def some() -> Tape:
    return replace(small_tape(), minutes=small_tape().minutes[80:100])


def source(*, without: tuple[str, ...] = ()) -> MemorySource:
    log = written(some(), history_tail=5)
    names = [name for name in ("news", "posts", *SOURCES) if name not in without]
    return MemorySource(log.layout, (message for name in names for message in log.messages(name)))


def test_a_window_has_the_news_and_posts_that_its_log_has_and_plays_them_again() -> None:
    first, last = some().minutes[0].label, some().minutes[-1].label
    window = window_of(source(), first, last + MINUTE_US, sessions_before=1, calendar=xnys())
    again = playable(cut(source(), window, CONFIG, name="some", symbols=("AMD",)), xnys())
    assert [minute.news for minute in again] == [minute.news for minute in some()]
    assert [minute.posts for minute in again] == [minute.posts for minute in some()]
    assert sum(len(minute.news) for minute in again) > 3


def test_a_log_without_news_gives_a_window_without_its_topics() -> None:
    bare = source(without=("news", "posts"))
    assert marked(bare) == SOURCES
    first, last = some().minutes[0].label, some().minutes[-1].label
    window = window_of(bare, first, last + MINUTE_US, sessions_before=1, calendar=xnys())
    assert {message.topic for each in stretch(bare, window) for message in each.messages} == {
        "bars",
        "universe",
    } | {"quotes"}
    assert not any(minute.news for minute in playable(cut(bare, window, CONFIG, name="some"), xnys()))
