"""Signals minute by minute, and the newest bar that was seen: what the live and the simulated share."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tapedeck.connectors.dispatch.freshness import NewestSeen
from tapedeck.connectors.dispatch.inbox import Newest
from tapedeck.connectors.dispatch.router import MinuteRouter
from tapedeck.connectors.kafka.principals import dispatcher
from tapedeck.schemas.codec import encode, load_schema
from tapedeck.schemas.errors import Fatal
from tapedeck.schemas.golden import samples_of
from tapedeck.streams.protocol import Message, StageSpec
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.topology import Topology
from tapedeck.streams.watermarks import headers_for, opening_headers
from tapedeck.tape.recreate import plan_of
from tapedeck.topics.catalogue import CATALOGUE, WATERMARK_KEY, Layout, Spread, topic

MINUTE = 60_000_000


def _signal(
    symbol: str, offset: int, partition: int = 0, value: bytes | None = None, name: str = "signals"
) -> Message:
    body: dict[str, Any] = samples_of(load_schema("signals"))[0] | {"symbol": symbol, "strategy": name}
    return Message(name, partition, offset, 0, symbol.encode(), value or encode("signals", body), ())


def _mark(minute: int, offset: int, partition: int = 0, name: str = "signals") -> Message:
    return Message(name, partition, offset, 0, WATERMARK_KEY, None, tuple(headers_for(minute * MINUTE)))


@pytest.fixture
def own() -> Iterator[Topology]:
    """The pipeline with a stage of a user's own that writes signals to one partition."""
    with CATALOGUE.scratch():
        CATALOGUE.declare(replace(topic("signals"), name="own_signals", owner="own", spread=Spread.ONE))
        spec = StageSpec(
            name="own", folder="x", trigger="features", scale="single", outputs=("own_signals",), doc="a rule"
        )
        yield Topology(spec, *TOPOLOGY)


def test_a_dispatcher_that_starts_between_a_watermark_and_its_opening_buries_nothing() -> None:
    router = MinuteRouter({"signals": 1})
    opening = _mark(1, 7)._replace(headers=tuple(opening_headers(MINUTE, ())))
    for message in (opening, _signal("A", 8), _mark(2, 9)):
        router.put(message)
    (minute,) = router.minutes()
    assert minute.label == 2 * MINUTE and not minute.dead
    assert [message.offset for message in minute.messages] == [7, 8, 9]


def test_a_minute_is_held_until_every_partition_has_ended_it() -> None:
    router = MinuteRouter({"signals": 2})
    for message in (_signal("A", 0), _mark(1, 1), _signal("B", 2), _signal("C", 0, 1)):
        router.put(message)
    assert list(router.minutes()) == []
    router.put(_mark(1, 1, 1))
    (minute,) = router.minutes()
    assert minute.label == MINUTE
    assert sorted(signal["symbol"] for signal in minute.signals) == ["A", "C"]
    assert len(minute.messages) == 4
    router.put(_mark(2, 3))
    router.put(_mark(2, 2, 1))
    (second,) = router.minutes()
    assert [signal["symbol"] for signal in second.signals] == ["B"]


def test_a_minute_of_two_topics_ends_when_both_have_ended_it_however_they_arrive(own: Topology) -> None:
    names = own.signal_topics
    assert names == ("signals", "own_signals")
    shipped = [_signal("A", 0), _mark(1, 1), _signal("B", 2), _mark(3, 3)]
    mine = [_signal("A", 0, name=names[1]), _mark(1, 1, name=names[1]), _mark(2, 2, name=names[1])]
    rest = [_signal("B", 3, name=names[1]), _mark(3, 4, name=names[1])]
    for order in ([*shipped, *mine, *rest], [*mine, *rest, *shipped], [*mine, *shipped, *rest]):
        router, found = MinuteRouter(dict.fromkeys(names, 1)), []
        for message in order:
            router.put(message)
            found += list(router.minutes())
        assert [minute.label for minute in found] == [MINUTE, 3 * MINUTE]
        told = [[(each["symbol"], each["strategy"]) for each in minute.signals] for minute in found]
        assert told == [
            [("A", "signals"), ("A", "own_signals")], [("B", "signals"), ("B", "own_signals")],
        ]  # fmt: skip
        assert sum(len(minute.messages) for minute in found) == len(order)
    waiting = MinuteRouter(dict.fromkeys(names, 1))
    for message in shipped:
        waiting.put(message)
    assert list(waiting.minutes()) == []


def test_every_tool_of_a_dispatcher_knows_the_topics_of_signals(own: Topology) -> None:
    layout = Layout()
    assert {"signals", "own_signals", "controls"} <= set(dispatcher(own, "large", layout).reads)
    assert "own_signals" not in dispatcher(TOPOLOGY, "large", layout).reads
    plan = plan_of(own, "own_signals", layout, ["large"])
    assert plan.groups[layout.group("dispatch-large")] == ("own_signals",)
    assert "own_signals_t --> dispatcher" in own.as_mermaid()


def test_a_topology_without_signals_is_refused_by_a_dispatcher() -> None:
    with pytest.raises(Fatal, match=r"no stage of this topology writes signals.*schema signals"):
        MinuteRouter({})


@pytest.mark.parametrize("changed", [{"watermarked": False}, {"key": ("symbol", "bar_t")}])
def test_signals_that_cannot_be_routed_are_refused_with_the_topic(changed: dict[str, Any]) -> None:
    with CATALOGUE.scratch():
        CATALOGUE.declare(replace(topic("signals"), name="own_signals", owner="own", **changed))
        spec = StageSpec(name="own", folder="x", trigger="features", outputs=("own_signals",), doc="a rule")
        with pytest.raises(Fatal, match=r"cannot be routed from.*got .own_signals: .*declare it with waterm"):
            Topology(*TOPOLOGY, spec)


def test_what_cannot_be_read_is_handed_on_and_the_minute_goes_on() -> None:
    router = MinuteRouter({"signals": 1})
    broken, unlabelled = _signal("A", 0, value=b"junk"), _mark(1, 1)._replace(headers=())
    for message in (broken, unlabelled, _signal("B", 2), _mark(1, 3), _mark(1, 4), _mark(2, 5)):
        router.put(message)
    first, second = router.minutes()
    assert [signal["symbol"] for signal in first.signals] == ["B"]
    assert [(message, error.reason) for message, error in first.dead] == [
        (broken, "BAD_PREFIX"), (unlabelled, "BAD_WATERMARK"),
    ]  # fmt: skip
    assert [message.offset for message in (*first.messages, *second.messages)] == [0, 1, 2, 3, 4, 5]


def test_the_newest_is_the_latest_seen_and_never_older_than_the_signals_own() -> None:
    seen = NewestSeen()
    for name, minute in (("bars", 7), ("bars", 5), ("features", 4)):
        seen.see(Message(name, 0, 0, (minute + 1) * MINUTE // 1000, b"A", b"", ()))
    seen.see(_mark(9, 1))
    assert seen.of("A", 3 * MINUTE) == Newest(7 * MINUTE, 4 * MINUTE)
    assert seen.of("A", 6 * MINUTE) == Newest(7 * MINUTE, 6 * MINUTE)
    assert seen.of("B", 6 * MINUTE) == Newest(6 * MINUTE, 6 * MINUTE)
