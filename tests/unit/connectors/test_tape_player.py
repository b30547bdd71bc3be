"""The player: order of play, lock-step and pace, and resuming after a crash at any point."""

from dataclasses import replace
from decimal import Decimal
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapedeck.connectors.news.items import Raw, Stamp, item_of
from tapedeck.connectors.news.records import body_of as article_body
from tapedeck.connectors.reddit.posts import Authors, post_of
from tapedeck.connectors.reddit.posts import body_of as post_body
from tapedeck.connectors.tapes.chain import SyntheticChain
from tapedeck.connectors.tapes.market import StockQuote, TapeMarket
from tapedeck.connectors.tapes.player import PLAYED, TEXTS, Pace, Player, Standing, is_over, refuse_expired
from tapedeck.connectors.tapes.tape import Body, Minute, Tape, bar_body, quote_body, universe_body
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.identity import event_id
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import xnys
from tapedeck.topics.catalogue import Layout, topic

FIRST = 1_771_338_600_000_000  # 2026-02-17 09:30 in New York
LAYOUT = Layout()
SYMBOLS = ("AMD", "BAC", "ORCL", "WMT", "PFE")

Entry = tuple[str, str | int]
Log = dict[tuple[str, int], list[Entry]]


class Crash(Exception):
    """The player's process dies."""


class ListWriter:
    """A LogWriter over lists, partition by partition; dies after ``fuse`` appended records."""

    def __init__(self, log: Log, fuse: int | None = None) -> None:
        self.log = log
        self.fuse = fuse
        self.flushed = 0
        self.order: list[str] = []

    def send(self, name: str, body: Body, headers: dict[str, bytes] | None = None) -> None:
        self.order.append(name)
        self._append(name, LAYOUT.partition(name, body), ("event", body["event_id"]))

    def watermark(self, name: str, label: int) -> None:
        self.order.append(f"~{name}")
        for partition in range(LAYOUT.partitions(name)):
            self._append(name, partition, ("watermark", label))

    def opening(self, name: str, label: int, absent: Any, partitions: Any = None) -> None:
        raise AssertionError("this pipeline has no optional inputs")

    def flush(self) -> None:
        self.flushed += 1

    def _append(self, name: str, partition: int, entry: Entry) -> None:
        if self.fuse == 0:
            raise Crash
        if self.fuse is not None:
            self.fuse -= 1
        self.log[name, partition].append(entry)


def empty_log() -> Log:
    return {(name, part): [] for name in PLAYED for part in range(LAYOUT.partitions(name))}


def last_marks(log: Log) -> dict[tuple[str, int], int | None]:
    def last(entries: list[Entry]) -> int | None:
        labels = [int(value) for kind, value in entries if kind == "watermark"]
        return labels[-1] if labels else None

    return {part: last(entries) for part, entries in log.items()}


def deduplicated(log: Log) -> Log:
    """What readers keep: each event_id once, and no watermark at or below the last."""
    kept = empty_log()
    for part, entries in log.items():
        seen: set[str | int] = set()
        highest = 0
        for kind, value in entries:
            if kind == "event" and value not in seen:
                seen.add(value)
                kept[part].append((kind, value))
            elif kind == "watermark" and int(value) > highest:
                highest = int(value)
                kept[part].append((kind, value))
    return kept


def article(minute: int) -> Body:
    given = Stamp(t=FIRST + minute * MINUTE_US)
    raw = Raw(source="alpaca", origin="test", native_id="1", title="News", published=given, updated=given)
    return article_body(item_of(raw, FIRST + 10 * MINUTE_US))


def post(minute: int) -> Body:
    at = FIRST + minute * MINUTE_US
    data = {"id": f"p{minute}", "subreddit": "stocks", "created_utc": at // 10**6, "title": "AMD"}
    return post_body(post_of({"kind": "t3", "data": data}, at, Authors("salt of this test")))


@cache
def tape(minutes: int = 4) -> Tape:
    """Five symbols, a warm-up bar each, news in two minutes, and a minute without anything."""

    def bar(symbol: str, t: int) -> Body:
        return bar_body(symbol, t, (1.0, 1.0, 1.0, 1.0), 1.0, feed="iex", origin="test")

    def quote(symbol: str, t: int) -> Body:
        found = StockQuote(
            symbol=symbol, time=t + 59_000_000, bid=Decimal(1), ask=Decimal(2), bid_size=1, ask_size=1
        )
        return quote_body(found, feed="iex", origin="test")

    labels = [FIRST + i * MINUTE_US for i in range(minutes)]
    session = xnys().session_at(FIRST)
    assert session is not None
    market = TapeMarket({}, SyntheticChain({}, session, xnys()), origin="test", restated=False)
    return Tape(
        name="test tape",
        origin="test",
        session=session.date,
        feed="iex",
        universe=universe_body(SYMBOLS, source="MANUAL", created_at=FIRST - MINUTE_US, origin="test"),
        history=tuple(bar(symbol, FIRST - 86_400_000_000) for symbol in SYMBOLS),
        minutes=tuple(
            Minute(label, (), ())
            if number == 1
            else Minute(
                label,
                tuple(bar(s, label) for s in SYMBOLS),
                tuple(quote(s, label) for s in SYMBOLS),
                (article(0), article(1)) if number == 0 else (),
                (post(number),) if number in (0, 2) else (),
            )
            for number, label in enumerate(labels)
        ),
        market=market,
    )


def play(log: Log, *, fuse: int | None = None, found: Tape | None = None, **how: Any) -> Any:
    player = Player(found or tape(), ListWriter(log, fuse), how.pop("pace", Pace(None)), **how)
    return player.play(lambda: last_marks(log))


def test_history_comes_after_the_first_watermark_and_before_the_first_live_bar() -> None:
    log = empty_log()
    played = play(log)
    assert log["universe", 0][:2] == [
        ("watermark", FIRST - MINUTE_US),
        ("event", tape().universe["event_id"]),
    ]
    history = {body["event_id"] for body in tape().history}
    for part in range(LAYOUT.partitions("bars")):
        entries = log["bars", part]
        assert entries[0] == ("watermark", FIRST - MINUTE_US)
        places = [i for i, (_, value) in enumerate(entries) if value in history]
        assert places == list(range(1, 1 + len(places)))
    assert (played.minutes, played.bars, played.quotes, played.resumed_after) == (4, 20, 15, None)


def test_every_partition_of_every_source_is_marked_every_minute_empty_ones_too() -> None:
    log = empty_log()
    play(log)
    expected = [FIRST + i * MINUTE_US for i in range(-1, 4)]
    assert set(log) == {(name, p) for name in PLAYED for p in range(LAYOUT.partitions(name))}
    for entries in log.values():
        assert [value for kind, value in entries if kind == "watermark"] == expected


def test_news_and_posts_are_written_with_their_watermark_before_the_bars_of_their_minute() -> None:
    writer = ListWriter(empty_log())
    played = Player(tape(), writer, Pace(None)).play(dict)
    marks = ["~news", "~posts"]
    assert writer.order[:5] == [*marks, "~bars", "~quotes", "~universe"]
    minutes = " ".join(writer.order[11:]).split(" ~bars ~quotes ~universe")
    shares = ["bars"] * 5 + ["quotes"] * 5
    assert [each.split() for each in minutes] == [
        ["news", "news", "posts", *marks, *shares], marks, ["posts", *marks, *shares], [*marks, *shares], []
    ]  # fmt: skip
    assert (played.news, played.posts) == (2, 2)


def test_a_tape_without_news_has_another_digest_and_marks_the_topics_all_the_same() -> None:
    bare = replace(tape(), minutes=tuple(each._replace(news=(), posts=()) for each in tape()))
    assert bare.digest() != tape().digest()
    log = empty_log()
    play(log, found=bare)
    for name in TEXTS:
        assert log[name, 0] == [("watermark", FIRST + i * MINUTE_US) for i in range(-1, 4)]


def played_without_news(minutes: int) -> Log:
    """What an earlier release left of the tape: topics of news that have no watermark."""
    log = empty_log()
    play(log, found=replace(tape(), minutes=tape().minutes[:minutes]))
    return log | {(name, 0): [] for name in TEXTS}


def test_a_stack_whose_news_has_no_watermarks_goes_on_where_its_bars_ended() -> None:
    log = played_without_news(2)
    before = len(log["bars", 0])
    played = play(log)
    assert (played.minutes, played.resumed_after, played.news, played.posts) == (2, FIRST + MINUTE_US, 0, 1)
    assert log["news", 0] == [("watermark", FIRST + i * MINUTE_US) for i in (1, 2, 3)]
    assert [value for kind, value in log["bars", 0][before:] if kind == "watermark"] == [
        FIRST + i * MINUTE_US for i in (2, 3)
    ]
    assert is_over(tape(), last_marks(played_without_news(4)))


def test_news_of_an_earlier_day_does_not_begin_the_tape_anew() -> None:
    log = played_without_news(2)
    log["news", 0] = [("watermark", FIRST - 1_000 * MINUTE_US)]
    assert play(log).resumed_after == FIRST + MINUTE_US
    assert log["news", 0][1] == ("watermark", FIRST + MINUTE_US)


def test_a_minute_whose_news_alone_was_left_out_is_played_again() -> None:
    log = empty_log()
    play(log)
    whole = [list(entries) for entries in log.values()]
    assert is_over(tape(), last_marks(log))
    del log["news", 0][-1]
    assert not is_over(tape(), last_marks(log))
    assert play(log).minutes == 1
    assert list(deduplicated(log).values()) == whole


def test_every_source_is_a_watermarked_topic_that_play_may_write() -> None:
    for name in PLAYED:
        assert topic(name).watermarked
        assert topic(name).owner in ("play", "ingest")


def test_lock_step_waits_after_each_watermark_and_nothing_is_left_unflushed() -> None:
    log = empty_log()
    events: list[tuple[str, int, int | None]] = []
    writer = ListWriter(log)
    Player(
        tape(),
        writer,
        Pace(None),
        before_minute=lambda label: events.append(("before", label, last_marks(log)["bars", 0])),
        wait_for=lambda label: events.append(("wait", label, last_marks(log)["bars", 0])),
    ).play(lambda: last_marks(log))
    expected: list[tuple[str, int, int | None]] = []
    for label in (FIRST + i * MINUTE_US for i in range(4)):
        expected += [("before", label, label - MINUTE_US), ("wait", label, label)]
    assert events == expected
    assert writer.flushed == 5


def test_a_paced_tape_ends_each_minute_on_time_and_waits_for_nobody() -> None:
    wall = [100.0]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(round(seconds, 6))
        wall[0] += seconds + 0.1

    def never(label: int) -> None:
        raise AssertionError

    play(empty_log(), pace=Pace(60.0), wait_for=never, sleep=sleep, monotonic=lambda: wall[0])
    assert slept == [1.0, 0.9, 0.9, 0.9]


TOTAL = 11 * 5 + 1 + 5 + 3 * 10 + 4  # marks, universe, history, bars and quotes, news and posts


def test_the_whole_log_has_the_expected_length() -> None:
    log = empty_log()
    play(log)
    assert sum(len(entries) for entries in log.values()) == TOTAL


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, TOTAL), min_size=1, max_size=4))
def test_crashes_anywhere_leave_the_same_log_once_repeats_are_dropped(fuses: list[int]) -> None:
    whole, log = empty_log(), empty_log()
    play(whole)
    crashes = 0
    for fuse in fuses:
        try:
            play(log, fuse=fuse)
        except Crash:
            crashes += 1
    play(log)
    assert deduplicated(log) == whole
    assert crashes > 0 or any(fuse >= TOTAL for fuse in fuses)


def test_a_crash_between_two_partitions_watermarks_rewrites_that_minute() -> None:
    log = empty_log()
    first_minute = 11 + 1 + 5 + 3 + 2 + 10 + 3  # ends after three of the bars partitions' watermarks
    with pytest.raises(Crash):
        play(log, fuse=first_minute)
    assert {last_marks(log)["bars", p] for p in range(4)} == {FIRST, FIRST - MINUTE_US}
    played = play(log)
    assert played.resumed_after == FIRST - MINUTE_US
    assert played.minutes == 4


def test_a_finished_tape_has_nothing_left_to_play() -> None:
    log = empty_log()
    play(log)
    before = {part: list(entries) for part, entries in log.items()}
    assert play(log).minutes == 0
    assert log == before


def test_a_tape_may_follow_an_earlier_one_and_never_a_later_one() -> None:
    log = empty_log()
    for entries in log.values():
        entries.append(("watermark", FIRST - 1_000 * MINUTE_US))
    assert play(log).minutes == 4
    for entries in log.values():
        entries.append(("watermark", FIRST + 1_000 * MINUTE_US))
    with pytest.raises(Fatal, match=r"later tape.*TAPE_PREFIX"):
        play(log)


def following(found: Tape, stands: Standing) -> tuple[Any, list[str]]:
    """What is written of ``found``, behind topics that hold ``stands`` and an earlier tape's watermarks."""
    log = empty_log()
    for entries in log.values():
        entries.append(("watermark", FIRST - 1_000 * MINUTE_US))
    asked: list[int] = []

    def standing(since: int) -> Standing:
        asked.append(since)
        return stands

    played = Player(found, ListWriter(log), Pace(None)).play(lambda: last_marks(log), standing)
    assert asked == [min(body["t"] for body in found.history)]
    return played, [str(value) for entries in log.values() for kind, value in entries if kind == "event"]


def test_a_warm_up_that_stands_is_not_written_again_and_that_of_a_new_symbol_is() -> None:
    newest = {("iex", body["symbol"]): (body["t"], 0) for body in tape().history}
    newest["iex", "PFE"] = (tape().history[0]["t"] - MINUTE_US, 0)
    del newest["iex", "WMT"]
    played, written = following(tape(), Standing(newest, None))
    history = [body for body in tape().history if body["event_id"] in written]
    assert [body["symbol"] for body in history] == [s for s in SYMBOLS if s in ("WMT", "PFE")]
    assert played.bars == 2 + 15


def test_of_a_symbol_that_stands_in_part_the_rest_and_its_revisions_are_written() -> None:
    (first, *_), t = tape().history, tape().history[0]["t"]

    def bar(minute: int, revision: int = 0) -> Body:
        at = t + minute * MINUTE_US
        return bar_body(SYMBOLS[0], at, (1.0,) * 4, 1.0, feed=first["feed"], origin="test", revision=revision)

    history = [bar(0), bar(1), bar(1, 1), bar(2)]
    whole = replace(tape(), history=tuple(history))
    stands = Standing({("iex", SYMBOLS[0]): (t + MINUTE_US, 0)}, None)
    _, written = following(whole, stands)
    assert [body["event_id"] in written for body in history] == [False, False, True, True]


def test_an_unchanged_universe_is_not_written_again_and_a_changed_one_takes_the_next_version() -> None:
    stands = tape().universe | {"version": 4, "event_id": "e4", "created_at": 1, "event_time": 1}
    _, written = following(tape(), Standing({}, stands))
    assert not {tape().universe["event_id"], event_id("universe", (5,))} & set(written)
    fewer = stands | {"members": stands["members"][:-1]}
    _, written = following(tape(), Standing({}, fewer))
    assert event_id("universe", (5,)) in written
    assert tape().universe["event_id"] not in written


@pytest.mark.parametrize(("text", "speed"), [("1x", 1.0), ("60x", 60.0), ("0.5x", 0.5), ("max", None)])
def test_a_pace_is_read(text: str, speed: float | None) -> None:
    assert Pace.parse(text).speed == speed


@pytest.mark.parametrize("text", ["", "60", "x", "0x", "-1x", "nanx", "infx", "fast"])
def test_a_bad_pace_is_refused(text: str) -> None:
    with pytest.raises(Fatal, match="not a speed"):
        Pace.parse(text)


def test_a_tape_older_than_a_topics_retention_is_refused() -> None:
    day_ms = 86_400_000
    now = FIRST + 30 * day_ms * 1_000
    refuse_expired(tape(), lambda name: -1, now)
    refuse_expired(tape(), lambda name: 40 * day_ms, now)
    with pytest.raises(Fatal, match=r"quotes, retention 2 days.*TAPE_PREFIX"):
        refuse_expired(tape(), lambda name: 2 * day_ms if name == "quotes" else -1, now)
