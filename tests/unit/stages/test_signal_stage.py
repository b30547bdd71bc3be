"""The signals stage: one decision a bar, revisions audited, cooldown and fade over time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.groups import GapFade
from tapedeck.streams.identity import signal_id
from tapedeck.streams.protocol import MINUTE_US, Row
from tapedeck.streams.sessions import iso_utc, xnys
from tapedeck.streams.stages.signals.fold import ALLOWED_LATENESS_BARS
from tapedeck.streams.stages.signals.stage import SignalsStage
from tests.support.market_bodies import OPEN, SESSION, Table, bodies, feature_row, membership_row, minute

CONFIG = Config()
KEPT = CONFIG.bars.rollback_min + ALLOWED_LATENESS_BARS


def table(config: Config = CONFIG, *, listed: bool = True) -> Table:
    made = Table(SignalsStage(config, xnys()))
    if listed:
        made.feed([membership_row()])
    return made


def test_listed_bar_gives_a_decision_and_its_signal() -> None:
    outs = table().feed([feature_row(t=minute(30))])
    decision, signal = bodies(outs, "decisions")[0], bodies(outs, "signals")[0]
    assert [out.topic for out in outs] == ["decisions", "signals"]
    assert (decision["action"], decision["reason"]) == ("BUY_CALL", "OPTION_SWING_TRADE")
    assert decision["now"] == minute(30) and decision["as_of"] == minute(31)
    assert signal["signal_id"] == signal_id("NVDA", iso_utc(minute(30)))
    assert (signal["watchlist_rank"], signal["watchlist_flag"], signal["universe_version"]) == (
        1,
        "BACKFILL",
        3,
    )
    assert signal["factors"]["volume"] == 1.15
    assert signal["inputs"] == decision["inputs"] == [f"f-iex-NVDA-{minute(30)}-0", f"m-NVDA-{OPEN}"]
    assert decision["config_digest"] == CONFIG.digest and decision["rules_version"] == "rules-1"


def test_signal_id_is_the_domains_i1() -> None:
    assert signal_id("NVDA", iso_utc(1_771_340_640_000_000)) == "sg_19973963b7c0a9311077e46f"


def test_hold_gives_a_decision_and_no_signal() -> None:
    outs = table(listed=False).feed([feature_row()])
    assert [out.topic for out in outs] == ["decisions"]
    assert outs[0].body["reason"] == "NOT_ON_WATCHLIST"
    assert outs[0].body["watchlist_rank"] is None and outs[0].body["universe_version"] is None


def test_membership_holds_from_its_place_in_the_log() -> None:
    made = table()
    outs = made.feed(
        [
            feature_row(t=minute(1)),
            membership_row(evaluation=minute(5), listed=False),
            feature_row(t=minute(20)),
        ]
    )
    assert [body["reason"] for body in bodies(outs, "decisions")] == [
        "OPTION_SWING_TRADE",
        "NOT_ON_WATCHLIST",
    ]
    assert bodies(outs, "decisions")[1]["universe_version"] == 3


def test_older_or_repeated_membership_is_dropped() -> None:
    made = table(listed=False)
    made.feed([membership_row(evaluation=minute(5)), membership_row(evaluation=minute(5))])
    made.feed([membership_row(evaluation=minute(0), listed=False)])
    assert made.reasons() == ["DUPLICATE", "SUPERSEDED"]
    assert made.feed([feature_row(t=minute(6))])[0].body["action"] == "BUY_CALL"


def test_repeat_of_a_decided_bar_emits_nothing() -> None:
    made = table()
    made.feed([feature_row()])
    state = dict(made.values)
    assert made.feed([feature_row()]) == []
    assert made.reasons() == ["DUPLICATE"]
    assert made.values == state


def test_first_revision_seen_decides_even_when_it_is_not_zero() -> None:
    made = table()
    assert made.feed([feature_row(revision=2)])[0].body["action"] == "BUY_CALL"
    assert made.feed([feature_row(revision=1)]) == []
    assert made.reasons() == ["DUPLICATE"]


def test_revision_that_changes_the_action_is_audited_and_trades_nothing() -> None:
    made = table()
    made.feed([feature_row()])
    outs = made.feed([feature_row(revision=1, volume_ratio=0.1)])
    assert [out.topic for out in outs] == ["revision_audit"]
    audit = outs[0].body
    assert (audit["old_action"], audit["new_action"], audit["would_differ"]) == ("BUY_CALL", "HOLD", True)
    assert (audit["bar_t"], audit["revision"]) == (OPEN, 1)


def test_revision_with_the_same_action_is_only_counted() -> None:
    made = table()
    made.feed([feature_row()])
    assert made.feed([feature_row(revision=1, volume_ratio=2.01)]) == []
    assert made.reasons() == ["SAME_ACTION"]


def test_revision_is_judged_on_what_was_known_at_the_decision() -> None:
    made = table()
    made.feed([feature_row(t=minute(0))])
    made.feed([membership_row(evaluation=minute(5), listed=False)])
    # delisted since, late by now and with its own signal in the cooldown: none of it counts
    assert made.feed([feature_row(t=minute(0), now=minute(12), revision=1)]) == []
    assert made.reasons() == ["SAME_ACTION"]


def test_cooldown_counts_bar_time_between_signals() -> None:
    made = table()
    outs = made.feed([feature_row(t=minute(n)) for n in (0, 1, 14, 15, 29, 30)])
    reasons = [body["reason"] for body in bodies(outs, "decisions")]
    assert reasons == [
        "OPTION_SWING_TRADE",
        "COOLDOWN",
        "COOLDOWN",
        "OPTION_SWING_TRADE",
        "COOLDOWN",
        "OPTION_SWING_TRADE",
    ]
    assert len(bodies(outs, "signals")) == 3


def test_late_bar_is_held_as_stale() -> None:
    made = table()
    fresh, stale = minute(0) + 2 * MINUTE_US, minute(1) + 3 * MINUTE_US
    outs = made.feed([feature_row(t=minute(0), now=fresh), feature_row(t=minute(1), now=stale)])
    assert [body["reason"] for body in bodies(outs, "decisions")] == ["OPTION_SWING_TRADE", "STALE_BAR"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"ready": False}, "NOT_READY"),
        ({"suspect_split": True}, "SUSPECT_SPLIT"),
        ({"sma50": None}, "NO_FEATURES"),
        ({"feed": "sip"}, "FEED_NOT_SELECTED"),
        ({"t": SESSION.close}, "OUTSIDE_SESSION"),
    ],
)
def test_hold_reason_fires(changed: dict[str, object], reason: str) -> None:
    outs = table().feed([feature_row(**changed)])  # type: ignore[arg-type]
    assert [(out.topic, out.body["reason"]) for out in outs] == [("decisions", reason)]


def test_other_feed_does_not_use_up_the_selected_feeds_decision() -> None:
    outs = table().feed([feature_row(feed="sip"), feature_row()])
    assert [body["reason"] for body in bodies(outs, "decisions")] == [
        "FEED_NOT_SELECTED",
        "OPTION_SWING_TRADE",
    ]
    assert len({out.event_id for out in outs}) == len(outs)


def test_exception_in_the_rule_holds_that_bar_and_the_others_go_on() -> None:
    beyond = 2_000_000_000_000_000  # 2033, past the calendar's end
    outs = table().feed([feature_row(t=beyond), feature_row()])
    assert [body["reason"] for body in bodies(outs, "decisions")] == ["RULE_ERROR", "OPTION_SWING_TRADE"]


def test_gap_fade_fires_once_a_session() -> None:
    made = table(Config(gap_fade=GapFade(enabled=True)))
    gap = {"gap_pct": 0.01, "prev_move": 0.01}
    outs = made.feed([feature_row(t=minute(n), **gap) for n in (3, 4, 20)])
    decisions = bodies(outs, "decisions")
    assert [body["reason"] for body in decisions] == ["OPTION_SWING_TRADE", "COOLDOWN", "GAP_FADE"]
    again = made.feed([feature_row(t=minute(40), **gap)])
    assert again[0].body["reason"] == "OPTION_SWING_TRADE"


def test_bar_older_than_all_that_is_remembered_is_not_decided_twice() -> None:
    made = table()
    made.feed([feature_row(t=minute(n)) for n in range(KEPT + 1)])
    assert made.feed([feature_row(t=minute(0), now=minute(KEPT))]) == []
    assert made.reasons() == ["TOO_OLD"]
    assert made.feed([feature_row(t=minute(1), now=minute(KEPT))]) == []
    assert made.reasons() == ["TOO_OLD", "DUPLICATE"]


def test_state_of_another_format_is_refused() -> None:
    stage = SignalsStage(CONFIG, xnys())
    with pytest.raises(Fatal, match="format version"):
        stage.step(b"NVDA", b"\x92\x63\x80", [feature_row()])


def test_stage_takes_no_watermarks() -> None:
    with pytest.raises(Fatal, match="no period"):
        table().mark(OPEN)


FEATURES = st.builds(
    lambda n, revision, late, distance, volume: feature_row(
        t=minute(n),
        now=minute(n + late),
        revision=revision,
        distance_sma20=distance,
        volume_ratio=volume,
    ),
    st.integers(0, 60),
    st.integers(0, 2),
    st.integers(0, 3),
    st.none() | st.floats(-0.025, 0.025),
    st.none() | st.floats(0, 6),
)
MEMBERSHIPS = st.builds(
    lambda n, on: membership_row(evaluation=minute(n), listed=on), st.integers(0, 60), st.booleans()
)


@given(st.lists(FEATURES | MEMBERSHIPS, max_size=40), st.lists(st.integers(1, 7), min_size=1, max_size=40))
def test_outputs_do_not_depend_on_how_the_log_is_cut_into_batches(rows: list[Row], cuts: list[int]) -> None:
    whole, cut = table(), table()
    whole.feed(rows)
    at, turn = 0, 0
    while at < len(rows):
        size = cuts[turn % len(cuts)]
        cut.feed(rows[at : at + size])
        at, turn = at + size, turn + 1
    assert [out[1:] for out in cut.outs] == [out[1:] for out in whole.outs]
    assert cut.reasons() == whole.reasons()
    assert cut.values == whole.values


@given(st.lists(FEATURES, max_size=25))
def test_each_bar_has_one_decision_and_redelivery_adds_none(rows: list[Row]) -> None:
    made = table()
    made.feed(rows)
    decided = [body["bar_t"] for body in bodies(made.outs, "decisions")]
    assert sorted(decided) == sorted({row.body["t"] for row in rows})
    assert made.feed(rows) == []
