"""``whatif`` over a recording with news: a bar is decided alone on the windows that its decision met."""

import random
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.watermarks import Opening, opening_headers, readable_punctuation
from tapedeck.streams.wire import Wire
from tapedeck.tape.explain.lookup import Lookup
from tapedeck.tape.whatif.changes import Between
from tapedeck.tape.whatif.diff import Part
from tapedeck.tape.whatif.market import Market
from tapedeck.tape.whatif.outcomes import DecisionOutcome
from tapedeck.tape.whatif.tables import Key
from tapedeck.topics.catalogue import Layout
from tests.support.paths import CONFIG, bodies
from tests.support.sentiment import score
from tests.support.sim_tapes import run_clean, small_tape, written
from tests.support.whatifs import changed, diff_of, names, recorded

MINUTES = slice(0, 90)
AWAY = range(40, 62)
"""The minutes in which the windows are declared absent, and are read later."""


@cache
def recording() -> MemoryLog:
    tape, rng = small_tape(), random.Random(11)
    labels = [each.label for each in tape.minutes[MINUTES]]
    whole, log = written(tape, minutes=MINUTES, history_tail=150), MemoryLog(Layout())
    for name in ("bars", "quotes", "universe"):
        for message in whole.messages(name):
            headers = list(message.headers)
            found = readable_punctuation(message)
            if isinstance(found, Opening):
                is_away = (found.label - labels[0]) // MINUTE_US in AWAY
                headers = opening_headers(found.label, ["sentiment_windows"] if is_away else [])
            key, value = message.key, message.value
            assert key is not None
            log.append(Wire(name, message.partition, key, value, message.timestamp, headers))
    writer = log.writer()
    for turn, label in enumerate([labels[0] - MINUTE_US, *labels]):
        for symbol in rng.sample(tape.symbols, 2):
            at, mood = label + rng.randrange(MINUTE_US), round(rng.uniform(-1, 1), 3)
            told = score(symbol, f"{symbol}-{turn}", at=at, score=mood, confidence=rng.choice([0.7, 0.9]))
            writer.send("sentiment", told)
        writer.watermark("sentiment", label)
    run_clean(log, CONFIG)
    return log


def source() -> MemorySource:
    return MemorySource(Layout(), recorded(recording()))


def test_the_recording_has_decisions_with_news_and_signals_that_it_changed() -> None:
    moods = Counter(min(body["sentiment_n"], 1) for body in bodies(recording(), "decisions"))
    assert moods[0] > 20 and moods[1] > 100
    factors = {body["factors"]["sentiment"] for body in bodies(recording(), "decisions")} - {None}
    assert min(factors) < 1.0 < max(factors)


def test_unchanged_configuration_finds_no_difference() -> None:
    found = diff_of(source(), CONFIG)
    assert found.differences == () and found.compared[Part.DECISION] > 200


def test_a_day_of_joined_windows_is_read_once_however_many_bars_are_decided(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, between = Counter[tuple[Any, ...]](), Lookup.between

    def counted(self: Lookup, *where: Any) -> Iterator[Message]:
        read[id(self), *where] += 1
        return between(self, *where)

    monkeypatch.setattr(Lookup, "between", counted)
    market = Market(TOPOLOGY, source(), Between(CONFIG, CONFIG), xnys())
    rows = bodies(recording(), "decisions")
    for body in rows:
        market.decide_alone(Key(body["feed"], body["symbol"], body["bar_t"]), frozenset())
    assert set(read.values()) == {1} and 0 < len(read) < len(rows) / 10


def test_each_bar_decided_alone_is_what_was_recorded() -> None:
    market = Market(TOPOLOGY, source(), Between(CONFIG, CONFIG), xnys())
    listed = Counter[bool]()
    for body in bodies(recording(), "decisions"):
        alone = market.decide_alone(Key(body["feed"], body["symbol"], body["bar_t"]), frozenset())
        assert alone == DecisionOutcome(**{name: body[name] for name in DecisionOutcome._fields})
        listed[body["sentiment_n"] > 0 and body["confidence"] > 0] += 1
    assert listed[True] > 20


@pytest.mark.parametrize(
    "group", [{"min_item_confidence": 0.8}, {"full_count": 1}], ids=lambda group: next(iter(group))
)
def test_difference_that_news_makes_is_put_down_to_its_parameter(group: dict[str, float]) -> None:
    found = diff_of(source(), changed(signal=group))
    decisions = [each for each in found.differences if each.part is Part.DECISION]
    assert decisions and names(decisions) == {f"signal.{name}" for name in group}
