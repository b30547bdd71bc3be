"""The scorer's order, loop and records over a log in memory: with crashes, repeats and other engines."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tapedeck.connectors.scoring.order import MOST_WAITING, SILENT_S, Item, Mark, Order, Position
from tapedeck.connectors.scoring.records import TRIES, judged
from tapedeck.connectors.scoring.simulated import SimScorer
from tapedeck.connectors.sentiment.scorer import Mattered, Model, Score, ScoreFailed, Scorer, scored
from tapedeck.schemas.codec import decode
from tapedeck.streams.config.document import Config
from tapedeck.streams.identity import event_id
from tapedeck.streams.sim.crash import Crash, Fuse
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.watermarks import readable_label
from tapedeck.streams.wire import Wire
from tapedeck.topics.catalogue import Layout, topic
from tests.support.linked import at, linked, mark_of, wire_of

LAYOUT = Layout(symbol_partitions=3)
SYMBOLS = ("AMD", "BAC", "MSFT", "NVDA", "XOM")
CONFIG = Config()


class Fake:
    """Scores by the length of a text; the first ``failures`` calls for a text with "bad" in it fail."""

    def __init__(self, digest: str = "aa", failures: int = 0) -> None:
        self.model = Model("light", "fake", digest)
        self.calls: list[list[str]] = []
        self.failures = failures

    def score(self, texts: Sequence[str]) -> list[Score]:
        self.calls.append(list(texts))
        if any("bad" in text for text in texts) and self.failures:
            self.failures -= len(texts) == 1
            raise ScoreFailed("it does not work")
        return [scored(0.5 + len(text) % 7 / 100, 0.1, self.model, 0.05) for text in texts]

    def mattered(self, text: str, count: int) -> list[Mattered]:
        return []


def log_of(*wires: Wire) -> MemoryLog:
    log = MemoryLog(LAYOUT)
    for wire in wires:
        log.append(wire)
    return log


def bodies(log: MemoryLog, name: str = "sentiment") -> list[dict[str, Any]]:
    return [decode("sentiment", each.value) for each in log.messages(name) if each.value is not None]


def labels(log: MemoryLog, partition: int) -> list[int | None]:
    messages = log.read("sentiment", partition, 0)
    return [readable_label(message) for message in messages if message.value is None]


def news(body: dict[str, Any]) -> Wire:
    return wire_of("links", body, LAYOUT)


def post(body: dict[str, Any]) -> Wire:
    return wire_of("post_links", body, LAYOUT)


# What becomes of an item


def test_an_item_gives_a_record_a_symbol_and_is_scored_once() -> None:
    engine = Fake()
    item = linked(1, "NVDA", "AMD", dropped=["XOM"], text="Profit rose")
    log = log_of(mark_of("links", -1), news(item), mark_of("links", 0))
    SimScorer(log, CONFIG, engine=lambda: engine).work()
    assert engine.calls == [["Profit rose"]]
    found = {body["symbol"]: body for body in bodies(log)}
    assert {symbol: body["reason"] for symbol, body in found.items()} == {
        "NVDA": "SCORED", "AMD": "SCORED", "XOM": "RETRACTED",
    }  # fmt: skip
    scored_one, retracted = found["NVDA"], found["XOM"]
    natural = [scored_one[name] for name in topic("sentiment").natural_key]
    assert scored_one["event_id"] == event_id(
        "sentiment", natural, config_digest=CONFIG.digest, inputs=[item["event_id"]]
    )
    assert scored_one["inputs"] == [item["event_id"]] and scored_one["link_confidence"] == 0.9
    assert (scored_one["model_digest"], scored_one["engine"], scored_one["label"]) == (
        "aa",
        "light",
        "POSITIVE",
    )
    assert scored_one["story"] == item["story"] and scored_one["event_time"] == item["event_time"]
    assert retracted["score"] is retracted["label"] is retracted["link_confidence"] is None
    assert retracted["model_digest"] == ""


def test_an_empty_text_has_no_score_and_a_list_gives_only_what_it_retracts() -> None:
    engine = Fake()
    log = log_of(
        mark_of("links", -1),
        news(linked(1, "NVDA", text="  ")),
        news(linked(2, *SYMBOLS, list_post=True, dropped=["DE"])),
        news(linked(3)),
        mark_of("links", 0),
    )
    scorer = SimScorer(log, CONFIG, engine=lambda: engine)
    scorer.work()
    found = {(body["symbol"], body["reason"], body["score"]) for body in bodies(log)}
    assert found == {("NVDA", "EMPTY_TEXT", None), ("DE", "RETRACTED", None)}
    assert scorer.counts == {
        "IN": 3, "EMPTY_TEXT": 1, "LIST_POST": 1, "NO_SYMBOL": 1, "RETRACTED": 1, "OUT:sentiment": 2,
    }  # fmt: skip
    assert engine.calls == []


def test_a_text_that_fails_three_times_is_a_dead_letter_and_never_neutral() -> None:
    engine = Fake(failures=100)
    item = news(linked(1, "NVDA", dropped=["XOM"], text="a bad one"))
    log = log_of(mark_of("links", -1), item, news(linked(2, "AMD")), mark_of("links", 0))
    scorer = SimScorer(log, CONFIG, engine=lambda: engine)
    scorer.work()
    assert sum(call == ["a bad one"] for call in engine.calls) == TRIES
    assert {(body["symbol"], body["reason"]) for body in bodies(log)} == {
        ("XOM", "RETRACTED"), ("AMD", "SCORED"),
    }  # fmt: skip
    (dead,) = log.messages("dead_letters")
    assert dead.value == item.value and dict(dead.headers)["tape-error-reason"] == b"SCORE_FAILED"
    assert scorer.counts["SCORE_FAILED"] == 1
    assert labels(log, 0)[-1] == at(0)  # it holds nothing up


def test_a_text_that_fails_twice_is_scored() -> None:
    engine, pauses = Fake(failures=2), Counter[str]()
    told = judged(lambda: engine, ["fine", "a bad one"], 8, lambda: pauses.update("p"))
    assert [outcome.reason for outcome in told] == ["SCORED", "SCORED"]
    assert pauses["p"] == 2


def test_calls_hold_texts_of_similar_length_up_to_the_most() -> None:
    engine = Fake()
    told = judged(lambda: engine, ["ccc", "a", "dddd", "bb", "eeeee"], 2)
    assert engine.calls == [["a", "bb"], ["ccc", "dddd"], ["eeeee"]]
    assert [each.score.p_pos for each in told if each.score] == [0.53, 0.51, 0.54, 0.52, 0.55]


def test_what_cannot_be_read_is_a_dead_letter_and_the_next_is_scored() -> None:
    spoilt = news(linked(1, "NVDA"))._replace(value=b"no Avro")
    log = log_of(mark_of("links", -1), spoilt, news(linked(2, "AMD")), mark_of("links", 0))
    SimScorer(log, CONFIG, engine=Fake).work()
    (dead,) = log.messages("dead_letters")
    assert dead.value == b"no Avro"
    assert [body["symbol"] for body in bodies(log)] == ["AMD"]


def test_without_items_nothing_is_read_or_written() -> None:
    log = MemoryLog(LAYOUT)

    def none() -> Scorer:
        raise AssertionError("no engine is needed")

    assert not SimScorer(log, CONFIG, engine=none).work()
    assert list(log.messages("sentiment")) == []


# In which order


class Fed:
    """An order that is given messages by hand, at times by hand."""

    def __init__(self, marked: int | None = None, **labels: int | None) -> None:
        named = {"links": None, "post_links": None} | labels
        self.order = Order({name: Position(0, label) for name, label in named.items()}, marked, {})
        self._log = MemoryLog(LAYOUT)

    def put(self, *wires: Wire) -> "Fed":
        for wire in wires:
            self.order.put(self._log.append(wire))
        return self

    def at(self, now: float, most: int = 100) -> list[object]:
        """The numbers of the items and the minutes of the watermarks that are due."""
        told: list[object] = []
        for step in self.order.turn(now, most):
            if isinstance(step, Item):
                told.append(int(step.body["native_id"].removeprefix("item-")))
            elif isinstance(step, Mark):
                told.append(f"mark {(step.label - at(0)) // 60_000_000}")
        return told


def test_a_minute_ends_when_both_inputs_have_ended_it_and_what_follows_waits() -> None:
    fed = Fed(at(-1), links=at(-1), post_links=at(-1))
    fed.put(news(linked(1, "AMD")), mark_of("links", 0), news(linked(2, "AMD")))
    assert fed.at(0.0) == [1]
    fed.put(post(linked(3, "AMD")), mark_of("post_links", 0), post(linked(4, "AMD")))
    assert fed.at(1.0) == [3, "mark 0", 2, 4]
    fed.put(mark_of("post_links", 1), post(linked(5, "AMD")))
    assert fed.at(60.0) == []
    fed.put(mark_of("links", 1))
    assert fed.at(61.0) == ["mark 1", 5]


def test_posts_that_are_silent_are_left_behind_until_they_move_again() -> None:
    fed = Fed(at(-1), links=at(-1), post_links=at(-1)).put(mark_of("links", 0))
    assert fed.at(100.0) == []
    assert fed.at(100.0 + SILENT_S - 0.1) == []
    assert fed.at(100.0 + SILENT_S) == ["mark 0"]
    fed.put(mark_of("links", 1), post(linked(1, "AMD")), mark_of("links", 2))
    assert fed.at(110.0) == [1, "mark 1", "mark 2"]
    fed.put(mark_of("post_links", 0), mark_of("links", 3))
    assert fed.at(111.0) == []
    fed.put(mark_of("post_links", 1), mark_of("post_links", 2), mark_of("post_links", 3))
    assert fed.at(112.0) == ["mark 3"]


def test_news_is_waited_for_however_long_once_it_had_a_watermark() -> None:
    fed = Fed(at(-1), links=at(-1), post_links=at(-1)).put(mark_of("post_links", 0))
    assert fed.at(0.0) == fed.at(1e6) == []
    assert Fed(at(-1), post_links=at(-1)).put(mark_of("post_links", 0)).at(0.0) == []
    never = Fed(at(-1), post_links=at(-1)).put(mark_of("post_links", 0))
    assert never.at(0.0) == [] and never.at(SILENT_S) == ["mark 0"]


def test_a_topic_begins_with_the_first_watermark_or_with_the_minute_before_the_first_record() -> None:
    fed = Fed().put(mark_of("links", -1), news(linked(1, "AMD")))
    assert fed.at(0.0) == [] and fed.at(SILENT_S) == ["mark -1", 1]
    cut = Fed().put(news(linked(1, "AMD")))
    assert cut.at(0.0) == cut.at(SILENT_S) == []
    cut.put(mark_of("links", 3))
    assert cut.at(2 * SILENT_S) == ["mark 2", 1]


def test_a_turn_has_the_most_items_and_reading_stops_while_many_wait() -> None:
    fed = Fed(at(-1), links=at(-1), post_links=at(-1))
    assert fed.order.hungry == ["links", "post_links"]
    fed.put(*(news(linked(number, "AMD")) for number in range(MOST_WAITING)))
    assert fed.order.hungry == ["post_links"]
    assert fed.at(0.0, most=3) == [0, 1, 2]
    assert fed.order.hungry == ["links", "post_links"]


def test_posts_that_wait_for_their_turn_are_not_silent() -> None:
    fed = Fed(at(-1), links=at(-1), post_links=at(-1)).put(mark_of("links", 0))
    fed.put(post(linked(1, "AMD")), post(linked(2, "AMD")), mark_of("post_links", 0))
    assert fed.at(0.0, most=1) == [1]
    assert fed.at(50.0, most=1) == [2]
    assert fed.at(99.0, most=1) == ["mark 0"]


# Crashes

END = 9


@st.composite
def days(draw: st.DrawFn) -> list[Wire]:
    """Both inputs in some interleaving, each in order, with repeats as a stage that crashed makes them."""
    sides: dict[str, list[Wire]] = {"links": [], "post_links": []}
    number = 0
    for name, side in sides.items():
        side.append(mark_of(name, -1))
        for minute in range(draw(st.integers(1, 4))):
            for _ in range(draw(st.integers(0, 3))):
                number += 1
                some = draw(st.lists(st.sampled_from(SYMBOLS), max_size=4, unique=True))
                cut = draw(st.integers(0, len(some)))
                side.append(
                    wire_of(
                        name,
                        linked(
                            number, *some[:cut], dropped=some[cut:], minute=minute,
                            text=draw(st.sampled_from(["", "up", "down a lot"])),
                            list_post=draw(st.integers(0, 4)) == 0,
                        ),
                        LAYOUT,
                    )
                )  # fmt: skip
                if draw(st.integers(0, 3)) == 0:
                    side.extend(side[-draw(st.integers(1, 3)) :])
            side.append(mark_of(name, minute))
    wires = [sides["links"].pop(0)]
    while any(sides.values()):
        name = draw(st.sampled_from([name for name, side in sides.items() if side]))
        count = draw(st.integers(1, 3))
        wires += sides[name][:count]
        sides[name] = sides[name][count:]
    return [*wires, mark_of("post_links", END), mark_of("links", END)]


def run_with_crashes(wires: list[Wire], data: st.DataObject) -> tuple[MemoryLog, int]:
    """The log at the end, and how often the scorer died. Each start may have another engine."""
    log, crashes, digests = MemoryLog(LAYOUT), 0, iter(range(1000))
    scorer = SimScorer(
        log, CONFIG, engine=lambda: Fake(f"{next(digests):02x}"), most=data.draw(st.integers(1, 4))
    )
    for wire in wires:
        log.append(wire)
        if data.draw(st.integers(0, 2)):
            continue
        scorer.fuse = Fuse(data.draw(st.integers(0, 12)))
        try:
            scorer.work()
        except Crash:
            crashes += 1
            scorer.restart()
    scorer.fuse = Fuse()
    scorer.work()
    return log, crashes


@settings(max_examples=100)
@given(days(), st.data())
def test_whatever_crashes_each_version_and_symbol_is_there_once_and_no_watermark_is_ahead(
    wires: list[Wire], data: st.DataObject
) -> None:
    log, _ = run_with_crashes(wires, data)
    assert_each_once(log)
    assert_watermarks_hold(log)


def test_a_crash_before_any_effect_repeats_nothing_that_can_be_seen() -> None:
    items = [linked(n, *SYMBOLS[n % 3 :], dropped=SYMBOLS[: n % 3], minute=n // 3) for n in range(9)]
    crashes = 0
    for steps in range(1000):
        log, digests = MemoryLog(LAYOUT), iter(range(100))
        scorer = SimScorer(log, CONFIG, engine=lambda d=digests: Fake(f"{next(d):02x}"), most=2)  # type: ignore[misc]
        for name in ("links", "post_links"):
            log.append(mark_of(name, -1))
        for minute in (0, 1, 2):
            for item in items[3 * minute : 3 * minute + 3]:
                log.append(news(item) if minute else post(item))
            log.append(mark_of("post_links", minute))
            log.append(mark_of("links", minute))
        log.append(mark_of("post_links", END))
        log.append(mark_of("links", END))
        scorer.fuse = Fuse(steps)
        try:
            scorer.work()
        except Crash:
            crashes += 1
            scorer.restart()
            scorer.work()
        else:
            break
        assert_each_once(log)
        assert_watermarks_hold(log)
    assert crashes > 45 + 3 * 5  # each record, each watermark, and commits


def assert_each_once(log: MemoryLog) -> None:
    expected = set()
    for name in ("links", "post_links"):
        for message in log.messages(name):
            if message.value is not None:
                body = decode("links", message.value)
                linked_to = () if body["list_post"] else [link["symbol"] for link in body["links"]]
                expected |= {(body["event_id"], symbol) for symbol in (*linked_to, *body["dropped"])}
    assert sorted((body["inputs"][0], body["symbol"]) for body in bodies(log)) == sorted(expected)


def assert_watermarks_hold(log: MemoryLog) -> None:
    """They rise, and an article stands in the minute in which it was linked."""
    minute_of = minutes(log.messages("links"))
    for partition in range(3):
        told = labels(log, partition)
        assert (told[0], told[-1]) == (at(-1), at(END)) and told == sorted(set(told))  # type: ignore[type-var]
        here = -(2**62)
        for message in log.read("sentiment", partition, 0):
            if (label := readable_label(message)) is not None:
                here = label
            elif (said := minute_of.get(decode("sentiment", message.value)["inputs"][0])) is not None:
                assert here == said


def minutes(messages: Any) -> dict[str, int]:
    """The minute of each item: the last watermark before it."""
    found: dict[str, int] = {}
    here = 0
    for message in messages:
        if (label := readable_label(message)) is not None:
            here = label
        elif message.value is not None:
            found.setdefault(decode("links", message.value)["event_id"], here)
    return found
