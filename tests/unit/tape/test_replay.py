"""A replay's accounts are shadows, what was sent is an alarm, and decisions are compared by what they say."""

from collections import Counter

import pytest

from tapedeck.connectors.config_file import load
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.recorded.window import Window
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.config.accounts import EMBEDDED, Mode
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import example_account
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.tape.replay import shadow
from tapedeck.tape.replay.compare import Decision, Summary, decisions
from tapedeck.tape.replay.prefix import purge
from tapedeck.tape.replay.shadow import demand_nothing_sent, shadowed
from tapedeck.topics.catalogue import Layout
from tests.support.paths import CONFIG, ORDERED_AT, bodies, morning
from tests.support.sim_tapes import small_tape

START = small_tape().first_live
WINDOW = Window(START, START, START + 160 * MINUTE_US)
ONE = Decision(START, "AMD", "HOLD", "NO_RULE")
OTHER = ONE._replace(action="BUY_CALL")


def test_every_account_is_a_shadow_at_the_replays_own_exchange(tmp_path):
    real = Config(accounts=(example_account("large", "large", "http://127.0.0.1:8765"), *CONFIG.accounts[1:]))
    derived = shadowed(real)
    (tmp_path / "tape.toml").write_text(derived.to_toml())
    for config in (derived, load(tmp_path / "tape.toml")):
        assert {(each.mode, each.base_url) for each in config.accounts} == {(Mode.SHADOW, EMBEDDED)}
        assert [each.account_id for each in config.accounts] == ["large", "tiny"]
        assert config.digest == derived.digest != real.digest
    assert shadowed(real).signal == real.signal


def order(state: str) -> dict[str, object]:
    return {"client_order_id": "o1", "account_id": "large", "state": state}


def test_orders_that_stay_are_no_alarm_and_one_that_leaves_is():
    demand_nothing_sent([order("INTENT"), order("NOT_SENT")], 0, None)
    sent = bodies(morning().log, "orders")
    assert {"SUBMITTED", "FILLED"} & {each["state"] for each in sent}
    with pytest.raises(Fatal, match=r"order .* was sent"):
        demand_nothing_sent(sent, 0, None)


def test_an_execution_or_a_request_to_the_exchange_is_an_alarm(monkeypatch):
    with pytest.raises(Fatal, match="more than quotes; got '1 executions'"):
        demand_nothing_sent([], 1, None)
    monkeypatch.setattr(shadow, "_asked", lambda url: {"submit": 2})
    with pytest.raises(Fatal, match=r"got \{'submit': 2\}"):
        demand_nothing_sent([], 0, "http://127.0.0.1:1")


def test_an_exchange_that_is_away_is_no_proof():
    with pytest.raises(Fatal, match="the paper exchange does not answer"):
        demand_nothing_sent([], 0, "http://127.0.0.1:9")


def test_decisions_are_those_of_the_windows_minutes():
    source = MemorySource(Layout(), morning().log.messages("decisions"))
    middle = START + 100 * MINUTE_US
    before, after = (
        decisions(source, Window(START, *span)) for span in ((START, middle), (middle, WINDOW.end))
    )
    assert not before & after
    assert len(before | after) == len(bodies(morning().log, "decisions"))
    assert {each.bar_t for each in after if each.action != "HOLD"} >= {ORDERED_AT * MINUTE_US + START}
    assert min(each.bar_t for each in after) > middle - 20 * MINUTE_US


def summary(replayed, recorded) -> Summary:
    verdicts = Counter({"SHADOWED": 2, "REFUSED": 1})
    return Summary(WINDOW, 160, 1, verdicts, frozenset(replayed), frozenset(recorded))


def test_a_summary_says_equal_different_or_that_there_is_nothing_to_compare():
    assert "EQUAL: all 1 recorded decisions" in str(summary([ONE], [ONE]))
    assert "shadow proposals: 1 REFUSED, 2 SHADOWED" in str(summary([ONE], [ONE]))
    different = summary([OTHER], [ONE])
    assert not different.agrees
    assert "DIFFERENT: 1 only recorded, 1 only replayed" in str(different)
    assert "recorded AMD 2026-02-17T14:25:00Z HOLD NO_RULE" in str(different)
    assert "replayed AMD 2026-02-17T14:25:00Z BUY_CALL NO_RULE" in str(different)
    for nothing in (summary([ONE], []), summary([], [])):
        assert not nothing.agrees, "a comparison with nothing proves nothing"
        assert "NOT COMPARED" in str(nothing) and "EQUAL" not in str(nothing)


def test_topics_without_a_prefix_are_never_removed():
    with pytest.raises(Fatal, match="only a prefix can be removed"):
        purge(Cluster("127.0.0.1:1"), "")
