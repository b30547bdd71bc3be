"""Why a position was not closed, over the day: before an exit its rule lacks something, at it nothing."""

from functools import cache

import pytest

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.tape.desk.held import WhyHeld, why_held
from tapedeck.topics.catalogue import CATALOGUE
from tests.support.paths import CONFIG, bodies, whole_day


@cache
def day() -> MemorySource:
    log = whole_day().log
    return MemorySource(log.layout, [m for each in CATALOGUE if each.schema for m in log.messages(each.name)])


def looked(symbol: str, at: int | None, account: str | None = None) -> WhyHeld:
    return why_held(day(), CONFIG, symbol, at=at, account=account)


def test_before_an_exit_its_rule_lacks_something_and_at_it_the_close_is_under_way() -> None:
    exits = {(each["account_id"], each["chosen"]): each for each in bodies(whole_day().log, "exits")}
    assert len(exits) > 2
    for each in exits.values():
        account, at = each["account_id"], each["event_time"]
        (before,) = looked(each["position_id"], at - 1, account).positions
        (after,) = looked(each["position_id"], at, account).positions
        lacked = {rule.rule.value: rule for rule in before.rules}.get(each["chosen"])
        assert lacked is None or (not lacked.fires and lacked.text()), each
        fired = [rule.rule.value for rule in after.rules if rule.fires]
        assert each["chosen"] in fired
        assert after.close is not None
        assert after.close.rule == each["chosen"]
        assert before.close is None


def test_an_underlying_an_instrument_and_an_id_find_the_position_and_what_is_not_held_is_said() -> None:
    first = bodies(whole_day().log, "positions")[0]
    account, at = first["account_id"], first["event_time"] + 5 * MINUTE_US
    for name in (first["underlying"], first["instrument"], first["position_id"], first["underlying"].lower()):
        (held,) = looked(name, at, account).positions
        assert held.position == first["position_id"]
    found = looked(first["underlying"], at, account)
    assert found.positions[0].account == account
    assert f"id {first['position_id']}" in found.text()
    assert "STOP" in found.text()
    (told,) = found.as_dict()["positions"]
    assert {rule["rule"] for rule in told["rules"]} == {rule.rule.value for rule in found.positions[0].rules}
    nothing = looked(first["underlying"], None)
    assert nothing.positions == (), "the day ends flat"
    assert nothing.text().startswith(f"no account held anything of {first['underlying']}")


def test_an_inbox_without_a_record_and_an_unknown_account_are_refused_with_a_remedy() -> None:
    with pytest.raises(Fatal, match="no account's inbox has a record until then"):
        looked("AMD", 0)
    with pytest.raises(Fatal, match="nobody"):
        looked("AMD", None, "nobody")
