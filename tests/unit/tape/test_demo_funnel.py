"""The funnel: every unit accounted for, and red as soon as one is not."""

from collections.abc import Callable, Iterable
from functools import cache

import pytest

from tapedeck.connectors.dead_letters import dead_letter
from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.funnel import FunnelLine
from tapedeck.streams.protocol import Message
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.wire import Wire, record_wire
from tapedeck.tape.demo.report import why_none
from tapedeck.tape.funnel import funnel
from tapedeck.tape.recording import Recording, everything, of_messages
from tapedeck.topics.catalogue import Layout, topic
from tests.support.paths import CONFIG, morning, wire

MARKET = [
    "news", "posts", "bars", "sentiment", "stories", "post_links", "features", "sentiment_windows", "scores",
    "watchlist", "decisions", "signals", "mentions", "surges",
]  # fmt: skip
PER_ACCOUNT = ["proposals", "orders", "executions"]


@cache
def messages() -> tuple[Message, ...]:
    log = morning().log
    return tuple(message for name in everything(TOPOLOGY) for message in log.messages(name))


def recorded(found: Iterable[Message]) -> Recording:
    return of_messages(TOPOLOGY, Layout(), [found])


def lines(found: Iterable[Message]) -> dict[str, FunnelLine]:
    return {line.name: line for line in funnel(TOPOLOGY, recorded(found), CONFIG, xnys())}


def last_of(name: str) -> Message:
    """The last record of a topic."""
    return [m for m in messages() if m.topic == name and m.value is not None][-1]


def body_of(message: Message) -> dict[str, object]:
    schema = topic(message.topic).schema
    assert schema is not None
    return decode(schema, message.value)


def as_message(written: Wire) -> Message:
    return Message(
        written.topic, written.partition, 1_000_000, written.timestamp, written.key, written.value,
        tuple(written.headers),
    )  # fmt: skip


def test_a_clean_run_adds_up_at_every_stage_and_reaches_executions() -> None:
    found = lines(messages())
    assert list(found) == [*MARKET, *(f"{stage} {a}" for stage in PER_ACCOUNT for a in ("large", "tiny"))]
    assert all(line.balanced for line in found.values())
    assert all(line.given for line in found.values() if line.stage != "proposals")
    assert found["features"].taken == found["bars"].given
    assert found["signals"].taken == found["decisions"].given
    assert found["stories"].taken == found["news"].given > 0
    assert found["sentiment_windows"].taken == found["mentions"].taken == found["sentiment"].given > 0
    assert found["proposals large"].taken == found["signals"].given > 0
    assert found["orders large"].taken == found["proposals large"].given > 0


def test_the_reasons_are_the_ones_that_the_stages_counted() -> None:
    found = lines(messages())
    counted: dict[str, int] = {}
    for task in morning().stages:
        for reason, n in task.counts.items():
            counted[f"{task.spec.name} {reason}"] = counted.get(f"{task.spec.name} {reason}", 0) + n
    assert found["features"].reasons == {"OUTSIDE_SESSION": counted["features OUTSIDE_SESSION"]}
    assert found["decisions"].reasons == {"SAME_ACTION": counted["signals SAME_ACTION"]}
    assert found["scores"].taken == counted["scores OUT:scores"]


@pytest.mark.parametrize(
    ("lost", "red"),
    [
        ("features", "features"),
        ("scores", "scores"),
        ("memberships", "watchlist"),
        ("decisions", "decisions"),
        ("signals", "signals"),
        ("proposals", "proposals"),
        ("orders", "orders"),
        ("executions", "executions"),
    ],
)
def test_a_lost_record_turns_its_stage_red(lost: str, red: str) -> None:
    known = recorded(messages())
    gone = lost_record(known, lost)
    found = lines(m for m in messages() if m.value is None or m.topic != lost or not gone(m))
    assert [name for name, line in found.items() if not line.balanced and name.startswith(red)]


def lost_record(known: Recording, lost: str) -> Callable[[Message], bool]:
    """Which records of the topic vanish: one, or all of one order where an order has several."""
    if lost == "orders":
        order = body_of(last_of("orders"))["client_order_id"]
        return lambda message: body_of(message)["client_order_id"] == order
    if lost == "memberships":
        off = next(b["event_id"] for b in known.bodies("memberships") if not b["on_watchlist"])
        return lambda message: body_of(message)["event_id"] == off
    gone = body_of(last_of(lost))["event_id"]
    return lambda message: body_of(message)["event_id"] == gone


def test_a_bar_that_comes_twice_is_counted_once_and_said_to_be_a_duplicate() -> None:
    again = last_of("bars")._replace(offset=1_000_000)
    found = lines([*messages(), again])
    assert found["bars"].reasons == {"DUPLICATE": 1}
    assert found["bars"].balanced and found["features"].balanced


@pytest.mark.parametrize(
    ("name", "line"), [("features", "decisions"), ("decisions", "signals"), ("signals", "proposals tiny")]
)
def test_an_output_that_a_crash_repeated_is_a_duplicate_of_the_next_stage(name: str, line: str) -> None:
    found = lines([*messages(), last_of(name)._replace(offset=1_000_000)])
    assert found[line].reasons["DUPLICATE"] == 1
    assert all(each.balanced for each in found.values())


def test_a_record_that_cannot_be_decoded_is_said_to_be_unreadable() -> None:
    broken = last_of("bars")._replace(offset=1_000_000, value=b"\x00nonsense")
    found = lines([*messages(), broken])
    assert found["bars"].reasons == {"UNREADABLE": 1}
    assert all(line.balanced for line in found.values())


def test_bars_without_a_feature_are_late_refused_or_unexplained() -> None:
    late, refused, lost = [m for m in messages() if m.topic == "features" and m.value is not None][-3:]
    bars = {str(body_of(m)["event_id"]): m for m in messages() if m.topic == "bars" and m.value is not None}

    def bar_of(feature: Message) -> Message:
        inputs = body_of(feature)["inputs"]
        assert isinstance(inputs, list)
        return bars[inputs[0]]

    kept = [m for m in messages() if m not in (late, refused, lost)]
    error = DeadLetter("negative volume", reason="BAD_BAR")
    told = as_message(dead_letter(Layout(), bar_of(refused), "features", error))
    found = lines([*kept, bar_of(late)._replace(topic="bars.late"), told])["features"]
    assert found.reasons["LATE"] == 1 and found.reasons["BAD_BAR"] == 1
    assert found.unexplained == 1


def test_an_older_revision_that_comes_late_is_a_duplicate_bar() -> None:
    bar = next(m for m in messages() if m.topic == "bars" and m.value and body_of(m)["revision"] == 1)
    first = {**body_of(bar), "revision": 0, "event_id": "0" * 32}
    message = as_message(record_wire("bars", bar.key or b"", first, Layout(), []))
    found = lines([*messages(), message])
    assert found["features"].reasons["DUPLICATE_BAR"] == 1 and found["features"].balanced


def test_no_universe_is_the_reason_for_an_empty_watchlist() -> None:
    gone = ("universe", "watchlist", "memberships")
    found = lines(m for m in messages() if m.topic not in gone)["watchlist"]
    assert found.balanced and set(found.reasons) == {"NO_UNIVERSE"}
    words = why_none(found)
    assert words is not None and words.startswith("watchlist: none of") and "NO_UNIVERSE" in words


def test_a_stage_that_nothing_reached_says_so() -> None:
    found = lines(m for m in messages() if m.topic in ("bars", "universe"))
    assert not found["features"].balanced, "bars of the session vanished"
    words = why_none(found["signals"])
    assert words == "signals: none, because nothing reached this stage"


def test_an_empty_log_adds_up_to_nothing() -> None:
    assert all((line.taken, line.given, line.balanced) == (0, 0, True) for line in lines(()).values())


def test_recordings_hold_what_the_memory_log_holds() -> None:
    known = recorded(messages())
    log = morning().log
    assert known["bars"].records == sum(m.value is not None for m in log.messages("bars"))
    assert {wire(m).key for m in log.messages("features.changelog")} >= set(known.tables["features"])
