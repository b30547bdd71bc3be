"""``why`` with a stage of one's own: it stands at its place in words that need no editing."""

import pytest

from tapedeck.schemas.codec import decode
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.topology import Topology
from tapedeck.streams.watermarks import readable_label
from tapedeck.tape.why.report import Why, why_from
from tapedeck.tape.why.way import Way
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.support.sim_tapes import CONFIG
from tests.support.toy_days import AWAY, SCENARIOS, clean, first_label

SYMBOL = "NVDA"
BAR = first_label() + 30 * MINUTE_US
"""The bar in question: the input that is absent for a while is there again."""
WHILE_AWAY = first_label() + (AWAY.start + 5) * MINUTE_US


@pytest.fixture(scope="module")
def logs(toys: Topology) -> dict[str, MemoryLog]:
    return {scenario: clean(toys, scenario)[0] for scenario in SCENARIOS}


def messages(log: MemoryLog, stopped: tuple[str, ...] = (), since: int = BAR) -> list[Message]:
    """The log; topics ``stopped`` end two minutes before the bar at ``since``."""
    found = [m for each in CATALOGUE if each.schema for m in log.messages(each.name)]
    dead = (since - 2 * MINUTE_US) // 1000
    kept = [m for m in found if m.topic not in stopped or m.timestamp < dead]
    assert all(any(m.topic == name and readable_label(m) for m in found) for name in stopped)
    return kept


def told(toys: Topology, found: list[Message], at: int = BAR) -> Why:
    return why_from(toys, MemorySource(Layout(), found), CONFIG, SYMBOL, at=at)


def ended(found: Why) -> tuple[str, str, str]:
    (outcome,) = found.outcomes
    return outcome.stage, outcome.reason, outcome.detail


def test_the_stages_stand_in_the_order_of_their_topology(toys: Topology) -> None:
    way = Way(toys)
    assert way.spine == ("bars", "features", "decisions")
    assert way.places[:12] == (
        "toy_notes", "news", "posts", "bars", "sentiment", "moods", "stories", "post_links", "features",
        "sentiment_windows", "scores", "watchlist",
    )  # fmt: skip
    assert way.waited[:5] == ("toy_notes", "bars", "sentiment", "toy_moods", "features")


def test_what_it_gave_is_shown_at_its_place(toys: Topology, logs: dict[str, MemoryLog]) -> None:
    found = told(toys, messages(logs["present"]))
    assert [each.stage for each in found.passed[:4]] == ["toy_notes", "bars", "moods", "features"]
    mood = found.passed[2].text
    assert mood.startswith(f"symbol {SYMBOL}, t 2026-") and ", n 29, mean 0." in mood
    assert mood.endswith(" at 10:53"), "the decision knew the mood of the minute before"


def test_what_was_absent_is_not_shown(toys: Topology, logs: dict[str, MemoryLog]) -> None:
    for scenario, at in (("absent all day", BAR), ("absent for a while", WHILE_AWAY)):
        log = logs[scenario]
        decided = next(
            body
            for m in log.messages("decisions")
            if m.value and (body := decode("decisions", m.value))["bar_t"] == at and body["symbol"] == SYMBOL
        )
        stages = [each.stage for each in told(toys, messages(log), at).passed]
        assert ("moods" in stages) is bool(decided["sentiment_n"])


def test_it_is_named_where_it_is_dead_and_others_wait_for_it(
    toys: Topology, logs: dict[str, MemoryLog]
) -> None:
    stopped = ("toy_moods", "scores", "watchlist", "memberships", "decisions", "signals", "revision_audit")
    stage, reason, says = ended(told(toys, messages(logs["present"], stopped)))
    assert (stage, reason) == ("moods", "STAGE_BEHIND")
    assert says.startswith("last watermark of toy_moods: ")


def test_it_is_not_blamed_for_a_minute_that_was_declared_to_be_without_it(
    toys: Topology, logs: dict[str, MemoryLog]
) -> None:
    found = told(toys, messages(logs["absent all day"], ("decisions", "signals", "revision_audit")))
    assert ended(found)[:2] == ("decisions", "STAGE_BEHIND")
