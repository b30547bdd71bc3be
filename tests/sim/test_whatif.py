"""``whatif`` over recorded runs: what one changed parameter does, what follows from it, and what adds up."""

import random
from typing import Any

import pytest

from tapedeck.schemas.codec import decode, encode
from tapedeck.schemas.errors import ConfigInvalid, Fatal
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.tape.whatif.causes import causes_of
from tapedeck.tape.whatif.changes import Between, changes_between
from tapedeck.tape.whatif.diff import Part, Standing
from tapedeck.tape.whatif.outcomes import DecisionOutcome, Kind
from tapedeck.tape.whatif.text import as_text
from tapedeck.topics.catalogue import Layout
from tests.support.cases import few
from tests.support.paths import CONFIG, bodies, copied, morning
from tests.support.sim_tapes import run_clean
from tests.support.whatifs import SOURCES, changed, day, diff_of, hours, names, recorded


def decided(log: MemoryLog) -> dict[tuple[str, int], DecisionOutcome]:
    fields = ("action", "strategy", "reason", "confidence", "direction")
    rows = bodies(log, "decisions")
    return {(b["symbol"], b["bar_t"]): DecisionOutcome(*(b[name] for name in fields)) for b in reversed(rows)}


def test_an_unchanged_configuration_decides_everything_again_and_finds_no_difference() -> None:
    found = diff_of(day(), CONFIG)
    assert found.changes == () and found.differences == () and found.unpriced == ()
    assert found.compared[Part.DECISION] > 9_000 and found.compared[Part.PROPOSAL] == 24
    text = as_text(found, rows=5)
    assert "NO DIFFERENCE" in text and "no parameter differs" in text


MARKET = {
    "a signal's threshold": {"signal": {"swing_min": 0.3}},
    "a cooldown": {"signal": {"cooldown_min": 1}},
    "the watchlist's entry": {"watchlist": {"enter": 0.4}},
    "the watchlist's cap": {"watchlist": {"cap": 1}},
    "a feature's window": {"feature": {"sma_short": 10}},
    "the roll-back": {"bars": {"rollback_min": 1}},
    "the gap fade": {"gap_fade": {"enabled": True}},
}


@pytest.mark.parametrize("case", few(MARKET, 1))
def test_one_market_parameter_gives_only_differences_that_name_it_and_their_consequences(case: str) -> None:
    config = changed(**MARKET[case])
    (parameter,) = (change.path for change in changes_between(CONFIG, config))
    source = hours() if case == "a cooldown" else day()
    found = diff_of(source, config)
    assert found.of(Part.DECISION, Standing.DIRECT), "the change did something"
    assert names(list(found.differences)) == {parameter}
    assert {each.causes for each in found.differences if each.standing is Standing.DIRECT} == {(parameter,)}
    assert not any(each.standing is Standing.UNEXPLAINED for each in found.differences)


@pytest.mark.long
def test_an_added_signal_starts_a_cooldown_and_what_that_holds_back_is_its_consequence() -> None:
    found = diff_of(day(), changed(signal={"swing_min": 0.3}))
    after = [each for each in found.of(Part.DECISION, Standing.CONSEQUENCE)]
    assert after
    for each in after:
        assert isinstance(each.now, DecisionOutcome) and each.now.reason == "COOLDOWN"
        follows = each.follows
        assert follows is not None and follows.kind is Kind.ADDED and follows.symbol == each.symbol
        assert 0 < each.at - follows.at < 15 * MINUTE_US
    lost = [each for each in after if each.kind is Kind.REMOVED]
    assert lost, "a recorded signal fell into the cooldown of an added one"
    proposals = found.of(Part.PROPOSAL)
    gone = [each for each in proposals if each.follows is not None and each.follows.part is Part.DECISION]
    assert {each.follows for each in gone} == set(lost), "its proposals go with it"
    assert {each.now for each in gone} == {None}
    others = [each for each in proposals if each not in gone]
    assert {each.follows for each in others} < set(gone), "the account has room for what it refused"
    assert {each.now is None for each in others} == {False}


@pytest.mark.long
def test_a_longer_cooldown_beside_a_lower_threshold_is_named_where_it_is_needed() -> None:
    found = diff_of(day(), changed(signal={"swing_min": 0.3, "cooldown_min": 60}))
    later = []
    for each in found.of(Part.DECISION, Standing.CONSEQUENCE):
        assert each.follows is not None
        needed = each.at - each.follows.at >= 15 * MINUTE_US
        assert ("signal.cooldown_min" in each.parameters) == needed
        later.append(needed)
    assert any(later) and not all(later)
    causes = set()
    for each in found.of(Part.DECISION, Standing.DIRECT):
        assert isinstance(each.now, DecisionOutcome)
        causes.add((each.now.reason == "COOLDOWN", each.causes))
    assert causes == {
        (False, ("signal.swing_min",)),
        (True, ("signal.swing_min",)),
        (True, ("signal.swing_min + signal.cooldown_min",)),
    }, "a bar that the threshold lets in and only the longer cooldown holds back takes both"


@pytest.mark.long
def test_a_difference_that_takes_two_parameters_names_both_and_one_that_takes_either_names_each() -> None:
    found = diff_of(day(), changed(signal={"day_min": 0.36, "day_min_volume": 1.5, "max_bar_age_s": 61}))
    causes = {each.causes for each in found.of(Part.DECISION, Standing.DIRECT)}
    assert ("signal.day_min + signal.day_min_volume",) in causes
    assert not any("max_bar_age_s" in name for each in causes for name in each)

    outcomes = {frozenset(): 0, frozenset("a"): 1, frozenset("b"): 1, frozenset("ab"): 1}
    assert causes_of("ab", 1, outcomes.__getitem__) == ("a", "b")
    assert causes_of("ab", 2, outcomes.__getitem__) == ()
    assert causes_of("ab", 0, lambda units: 0) == (), "what the recording itself gives has no cause"


def test_parameters_that_are_valid_only_together_are_one() -> None:
    config = changed(watchlist={"weight_setup": 0.30, "weight_vol": 0.15, "enter": 0.5})
    assert list(Between(CONFIG, config).units) == [
        "watchlist.enter",
        "watchlist.weight_setup + watchlist.weight_vol",
    ]
    steps = changed(signal={"volume_steps": (0.5, 1.0), "volume_factors": (0.3, 1.0)})
    assert list(Between(CONFIG, steps).units) == ["signal.volume_steps + signal.volume_factors"]


POOL: tuple[tuple[str, str, tuple[Any, ...]], ...] = (
    ("signal", "swing_min", (0.3, 0.4, 0.6)),
    ("signal", "stock_min", (0.1, 0.2, 0.9)),
    ("signal", "cooldown_min", (1, 5, 90)),
    ("signal", "at_band", (0.001, 0.01)),
    ("signal", "max_vol_ratio", (0.9, 2.0)),
    ("gap_fade", "enabled", (True,)),
    ("watchlist", "enter", (0.35, 0.45)),
    ("watchlist", "backfill_to", (1, 3)),
    ("watchlist", "retention_min", (5, 90)),
    ("watchlist", "period_s", (60, 600)),
    ("feature", "sma_short", (5, 12)),
    ("feature", "volume_window", (5, 40)),
    ("feature", "ready_bars", (20, 100)),
    ("bars", "rollback_min", (1, 4)),
)


@pytest.mark.parametrize("seed", few(range(8), 1))
def test_the_recorded_decisions_and_the_diff_are_what_a_run_under_the_change_decides(seed: int) -> None:
    """The oracle is the sim driver over the same bars: it knows nothing of what was recorded."""
    rng = random.Random(seed)
    groups: dict[str, dict[str, Any]] = {}
    for group, name, values in rng.sample(POOL, rng.randint(1, 3)):
        groups.setdefault(group, {})[name] = rng.choice(values)
    config = changed(**groups)
    found = diff_of(hours(), config)
    before = decided(morning().log)
    log = copied(morning().log, *SOURCES)
    run_clean(log, config)
    after = decided(log)
    applied: dict[tuple[str, int], Any] = dict(before)
    for each in found.of(Part.DECISION):
        key = each.symbol, each.at - MINUTE_US
        assert applied.pop(key, None) == each.was != each.now
        if each.now is not None:
            applied[key] = each.now
    assert applied == after, f"seed {seed}: {groups}"
    assert not [each for each in found.differences if each.standing is Standing.UNEXPLAINED], groups
    assert {part for name in names(list(found.differences)) for part in name.split(" + ")} <= {
        f"{group}.{name}" for group, content in groups.items() for name in content
    }


@pytest.mark.long
def test_a_window_shows_only_what_closed_in_it_and_a_consequence_names_a_cause_before_it() -> None:
    config = changed(signal={"swing_min": 0.3})
    whole = diff_of(day(), config)
    held = next(each for each in whole.differences if each.kind is Kind.REMOVED)
    since, until = held.at, held.at + MINUTE_US
    found = diff_of(day(), config, since=since, until=until)
    assert all(since <= each.at < until for each in found.differences)
    mine = next(
        each for each in found.differences if each.part is Part.DECISION and each.symbol == held.symbol
    )
    assert mine == held and mine.follows is not None and mine.follows.at < since
    assert mine.parameters == ("signal.swing_min",)
    assert found.compared[Part.DECISION] == 28


def test_a_recording_that_is_written_while_it_is_read_is_compared_up_to_its_last_whole_minute() -> None:
    """The bars are ahead of the decisions, and one symbol of the newest minute is not decided yet."""
    messages = recorded(morning().log)
    ends = {m.partition: m.offset for m in messages if m.topic == "decisions"}

    def is_written(message: Message) -> bool:
        behind = 40 + 11 * message.partition
        return message.topic != "decisions" or message.offset < ends[message.partition] - behind

    source = MemorySource(Layout(), filter(is_written, messages))
    found = diff_of(source, CONFIG)
    assert found.differences == () and found.until < diff_of(hours(), CONFIG).until
    assert found.compared[Part.DECISION] > 300


def other_run(before: int, digest: str = "0123456789abcdef") -> MemorySource:
    """The morning with the decisions up to ``before`` made under another configuration."""

    def maybe(message: Message) -> Message:
        if message.topic != "decisions" or message.value is None:
            return message
        body = decode("decisions", message.value)
        if body["event_time"] >= before:
            return message
        return message._replace(value=encode("decisions", body | {"config_digest": digest}))

    return MemorySource(Layout(), map(maybe, recorded(morning().log)))


def test_a_recording_of_another_configuration_is_refused_with_both_digests() -> None:
    later = diff_of(hours(), CONFIG).until - 60 * MINUTE_US
    source = other_run(later)
    with pytest.raises(ConfigInvalid, match=r"0123456789abcdef.*--base") as caught:
        diff_of(source, CONFIG)
    assert CONFIG.digest in str(caught.value)
    found = diff_of(source, CONFIG, since=later)
    assert found.differences == () and any("0123456789abcdef" in note for note in found.notes)


def test_windows_that_are_empty_or_not_kept_and_accounts_that_are_not_there_are_refused() -> None:
    whole = diff_of(hours(), CONFIG)
    with pytest.raises(Fatal, match="the window is empty"):
        diff_of(hours(), CONFIG, since=whole.until, until=whole.since)
    with pytest.raises(Fatal, match=r"no decision of the window is kept.*are kept from 2026-02-13"):
        diff_of(hours(), CONFIG, since=whole.until + MINUTE_US)
    with pytest.raises(Fatal, match=r"no decision of the window is kept.*are kept from 2026-02-13"):
        diff_of(hours(), CONFIG, until=whole.since - MINUTE_US)
    with pytest.raises(Fatal, match="no decision is kept here"):
        diff_of(MemorySource(Layout(), []), CONFIG)
    with pytest.raises(ConfigInvalid, match=r"no such account.*known: large, tiny"):
        diff_of(hours(), CONFIG, account="huge")
    with pytest.raises(ConfigInvalid, match="identifies the account"):
        diff_of(hours(), changed("tiny", limits={"broker_account_id": "PAPER-OTHER"}))


def test_a_window_that_begins_before_what_is_kept_says_what_is_kept() -> None:
    whole = diff_of(hours(), CONFIG)
    kept_from = (whole.until - 60 * MINUTE_US) // 1000
    cut = [m for m in recorded(morning().log) if m.topic != "decisions" or m.timestamp >= kept_from]
    source = MemorySource(Layout(), cut)
    with pytest.raises(Fatal, match=r"begins before what is kept.*are kept from"):
        diff_of(source, CONFIG, since=whole.since)
    found = diff_of(source, CONFIG)
    assert any("decisions is no longer kept" in note for note in found.notes)


def test_a_recording_that_was_tampered_with_is_unexplained_and_not_blamed_on_a_parameter() -> None:
    target = next(b for b in bodies(morning().log, "decisions") if b["reason"] == "NOT_ON_WATCHLIST")

    def maybe(message: Message) -> Message:
        if message.topic != "decisions" or message.value is None:
            return message
        body = decode("decisions", message.value)
        if body["event_id"] != target["event_id"]:
            return message
        return message._replace(value=encode("decisions", body | {"reason": "STRETCHED"}))

    source = MemorySource(Layout(), map(maybe, recorded(morning().log)))
    for config in (CONFIG, changed(gap_fade={"enabled": True})):
        odd = [d for d in diff_of(source, config).differences if d.standing is Standing.UNEXPLAINED]
        assert [(each.symbol, each.parameters) for each in odd] == [(target["symbol"], ())]
    assert "1 UNEXPLAINED" in as_text(diff_of(source, CONFIG), rows=5)
