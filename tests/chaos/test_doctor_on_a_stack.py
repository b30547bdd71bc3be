"""`tape doctor` on a real stack: green while a tape plays, and each break is named in its first line."""

import re
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tapedeck.tape.local.purge import purge
from tests.chaos import breaks
from tests.chaos.breaks import Break
from tests.chaos.stack import GREEN, Desk, say, short_tape
from tests.conftest import Broker

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.long]


class Case(NamedTuple):
    """What is broken, and which check names it in which words."""

    broken: Break
    check: str
    words: str


CASES: dict[str, Case] = {
    "another cluster": Case(breaks.another_cluster, "cluster", "another cluster answers at"),
    "exchange frozen": Case(breaks.mute_exchange, "exchange", "does not answer: ReadTimeout"),
    "old tables": Case(breaks.old_tables, "store", "is at revision 0001, this release needs"),
    "universe mismatch": Case(breaks.smaller_universe, "universe", "the watchlist has symbols outside"),
    "Postgres frozen": Case(breaks.frozen("postgres"), "store", "Postgres does not answer"),
    "data of another broker": Case(breaks.other_data, "data", "was written by Kafka 3.9.1"),
    "certificate expired": Case(breaks.expired_certificate, "certificates", "expired 3 d ago"),
    "paused": Case(breaks.paused, "controls", "openings of all are stopped, REDUCING by ada: a drill"),
    "retention too short": Case(
        breaks.short_retention, "topics", "topic quotes: retention.ms is 315360000000"
    ),
    "dead letters": Case(breaks.unreadable(3), "dead_letters", "3 dead letters"),
    "dead letters filling": Case(breaks.unreadable(60), "dead_letters", "60 dead letters"),
    "broker frozen": Case(breaks.mute_broker, "broker", "it is frozen"),
    "worker killed": Case(breaks.dead("features"), "stack", "process features"),
    "sink killed": Case(breaks.dead("sink"), "stack", "process sink"),
    "dispatcher killed": Case(breaks.dead("dispatch-large"), "stack", "process dispatch-large"),
    "exchange killed": Case(breaks.dead("exchange"), "stack", "process exchange"),
    "worker frozen": Case(breaks.frozen("features"), "heartbeats", "features has been silent"),
    "scorer frozen": Case(breaks.frozen("scorer"), "heartbeats", "scorer has been silent"),
    "sink frozen": Case(breaks.frozen("sink"), "heartbeats", "sink has been silent"),
    "dispatcher frozen": Case(breaks.frozen("dispatch-large"), "heartbeats", "dispatch-large has been"),
    # a process that was restarted three times is told of for two minutes: each of these has its own
    "config mix": Case(breaks.another_document("news"), "configs", "surges runs configuration"),
    "version mix": Case(breaks.another_version("scorer"), "versions", "scorer runs code version 9.9.9"),
    "clock skew": Case(breaks.clock_ahead("decide"), "clocks", "s ahead of this machine's"),
    "wrong account": Case(breaks.wrong_account, "accounts", "tiny reach broker account PAPER-LARGE"),
}
LOOKS_S = (2.0, 6.0)
"""When it is looked at in the play, seconds after its beginning."""


@pytest.fixture(scope="module")
def started(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The stack; ``kafka`` has filled the cache. Its database is removed at the end."""
    folder = tmp_path_factory.mktemp("doctor") / "stack"
    with pytest.MonkeyPatch.context() as patch:
        for name in (
            "KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "TAPE_HOME", "TAPE_CONFIG", "TAPE_PREFIX",
            "TAPE_ALERT_WEBHOOK", "TAPE_ALERT_EMAIL",
        ):  # fmt: skip
            patch.delenv(name, raising=False)
        desk = Desk(folder)
        try:
            desk.start()
            yield desk
        finally:
            desk.stack.stop()
            purge(folder)


@pytest.fixture(scope="module")
def headlines(started: Desk) -> list[str]:
    """The doctor's first lines before a play, in it, and after it."""
    found = [started.until_green()]
    tape, began = short_tape(), time.monotonic()
    due = iter(LOOKS_S)
    wanted = next(due)

    def meanwhile() -> None:
        nonlocal wanted
        started.stack.watch()
        if time.monotonic() - began > wanted:
            wanted = next(due, float("inf"))
            found.append(started.until_green(30))  # on a machine that is too busy, an answer may be late

    started.play(tape, meanwhile)
    return [*found, started.until_green()]


@pytest.fixture
def desk(started: Desk, headlines: list[str]) -> Desk:
    """The stack, after the play."""
    assert headlines
    return started


def test_a_healthy_stack_is_green_at_the_start_of_a_play_in_it_and_after_it(headlines: list[str]) -> None:
    assert len(headlines) >= 3, "it looked before, during and after the play"
    assert all(line.startswith(GREEN) for line in headlines), headlines


@pytest.mark.parametrize("name", CASES)
def test_what_is_broken_is_what_the_first_line_names(desk: Desk, kafka: Broker, name: str) -> None:
    case, began = CASES[name], time.monotonic()
    with case.broken(desk, kafka) as told:
        line = desk.until_named(case.check, case.words, told)
        named = time.monotonic() - began
    desk.until_green()
    say(f"{name}: {line} [named in {named:.0f} s, green again in {time.monotonic() - began - named:.0f} s]")


def test_a_sink_that_waits_for_a_lock_is_named_and_how_far_it_is_behind(desk: Desk, kafka: Broker) -> None:
    """The loop that writes also beats: the sink is silent, and the check of it says the rest."""
    with breaks.stalled_sink(desk, kafka):
        say(desk.until_named("heartbeats", "sink has been silent"))
        told = [each["what"] for each in desk.doctor()["findings"] if each["check"] == "sink"]
        say(str(told))
        assert any(re.fullmatch(r"the sink stands still, \d{5} records behind", each) for each in told), told
    desk.until_green()


def test_a_topic_that_changed_went_and_came_again_is_named_each_time_until_what_it_says_is_done(
    desk: Desk,
) -> None:
    """The last one: what reads the topic ends by itself, and is told of for two minutes after that."""
    name = breaks.QUIET_TOPIC
    breaks.more_partitions(desk)
    say(desk.until_named("topics", f"topic {name}: the number of partitions is 5, expected 4"))
    breaks.no_topic(desk)
    say(desk.until_named("topics", f"topic {name}: the topic is missing"))
    breaks.topic_made_anew(desk)
    say(desk.until_named("store", f"topic {name} was made anew: Postgres has read the one before"))
    breaks.adopted(desk)
    desk.until_green(300)
