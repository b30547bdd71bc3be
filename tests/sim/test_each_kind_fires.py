"""Each gate, exit, order state, account state and step of a halt fires in one session and not in another.

The sessions run router, dispatcher, account stage and exchange in the simulator. What happened in each is
read from its log. ``python -m tests.support.firing`` prints the table.
"""

import re
from functools import cache

import pytest

from tapedeck.streams.stages.account.words import EXITS, GATES, ORDERS, STATES
from tests.support.cases import REPOSITORY
from tests.support.firing import table as firing
from tests.support.firing.registry import SESSIONS, played, session
from tests.support.firing.table import CANNOT, WARNINGS, Firing, Kind, fired_in, in_words, kinds
from tests.support.floor import check_rebuilt

ALL = kinds()
MAY = [kind for kind in ALL if kind not in CANNOT]


@cache
def table() -> dict[Kind, Firing]:
    return firing.table()


@pytest.mark.parametrize("kind", MAY, ids=[f"{kind.group}-{kind.name}" for kind in MAY])
def test_it_fires_in_one_session_and_in_another_it_could_have_and_does_not(kind: Kind) -> None:
    found = table()[kind]
    assert found.fired, f"no session in which {kind.name} fires: write one in tests/support/firing"
    assert found.quiet, f"no session in which {kind.name} could fire and does not"
    assert not set(found.fired) & set(found.quiet)


def test_what_cannot_happen_does_not_and_is_in_the_catalogue() -> None:
    assert set(CANNOT) <= set(ALL) and all(CANNOT.values())
    fired = [kind for kind in CANNOT if table()[kind].fired]
    assert not fired, "it happens after all: take it out of CANNOT"


def test_what_fires_is_in_the_catalogue() -> None:
    unknown_switch = {Kind("kill switch", "UNKNOWN")}  # no state of it: nobody has said one
    assert {kind for name in SESSIONS for kind in fired_in(played(name))} - unknown_switch <= set(ALL)


def test_the_catalogue_has_all_that_the_code_has_words_for() -> None:
    names = {kind.group: {each.name for each in ALL if each.group == kind.group} for kind in ALL}
    assert {str(each) for each in EXITS} == names["exit"]
    assert {str(each) for each in STATES} == names["order state"]
    assert {str(each) for each in ORDERS} == names["order reason"]
    assert {str(each) for each in GATES} - {"OK", "NOT_APPLICABLE"} <= names["gate reason"]
    assert len(names["gate"]) == 24


def test_the_warnings_are_those_of_the_documentation() -> None:
    page = (REPOSITORY / "docs" / "domain.md").read_text()
    section = page.split("### Warnings", 1)[1].split("\n## ", 1)[0]
    assert re.findall(r"^\| `([A-Z_]+)` \|", section, re.MULTILINE) == list(WARNINGS)


@pytest.mark.parametrize("name", [name for name in SESSIONS if name != "a_gate_is_broken"])
def test_a_session_is_rebuilt_from_its_inbox_alone(name: str) -> None:
    """All but one: a gate that is broken then, and is not now."""
    floor = played(name)
    if name != "the_calendar_ends_today":  # rebuilt with a calendar that goes on, it decides otherwise
        check_rebuilt(floor)
    sent = floor.sent()
    assert len(sent) == len(set(sent)), "an order twice"


def test_a_kind_that_no_session_has_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firing, "CATALOGUE", {"exit": ["NO_SUCH_RULE"], "gate": ["no_such_gate"]})
    assert firing.table() == {
        Kind("exit", "NO_SUCH_RULE"): Firing((), tuple(n for n in SESSIONS if played(n).of("positions"))),
        Kind("gate", "no_such_gate"): Firing((), ()),
    }


def test_what_fired_is_read_from_the_log_of_the_session() -> None:
    bought, refused = played("an_option_is_bought"), played("an_hour_before_the_close")
    assert Kind("order state", "FILLED") in fired_in(bought)
    assert {kind for kind in fired_in(refused) if kind.group.startswith("gate")} == {
        Kind("gate", "trading_hours"), Kind("gate reason", "AFTER_LAST_ENTRY"),
    }  # fmt: skip
    assert "| exit `MANUAL_CLOSE` | `a_person_closes_a_position`" in in_words()
    with pytest.raises(AssertionError, match="two sessions an_option_is_bought"):
        session(SESSIONS["an_option_is_bought"])
