"""``why``: the first stage that dropped a minute, its reason in words, and how far it was from passing."""

import pytest

from tapedeck.connectors.dead_letters import dead_letter
from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter, Fatal
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.signals.reasons import SignalReason
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.stages.watchlist.reasons import WatchlistReason
from tapedeck.streams.watermarks import readable_label
from tapedeck.tape.why.report import why_from
from tapedeck.tape.why.symbol_tape import time_of
from tapedeck.tape.why.words import reasons_of
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.support.paths import CONFIG, bodies, morning
from tests.support.whys import (
    SYMBOL,
    Body,
    at,
    changed,
    first,
    no_signal,
    nothing,
    of_minute,
    recorded,
    told,
    without_minute,
)


@pytest.mark.parametrize(
    "reason, fields, says",
    [
        (
            SignalReason.STRETCHED,
            {"distance_sma20": 0.031},
            "distance from the average is 0.031, limit 0.02: 0.011 too far",
        ),
        (
            SignalReason.NO_SETUP,
            {"distance_sma20": 0.007, "trend_state": -1},
            "distance from the average is 0.007, limit 0.005: 0.002 too far",
        ),
        (
            SignalReason.VOLUME_TOO_LOW,
            {"volume_ratio": 0.35},
            "volume ratio is 0.35, needs 0.5: 0.15 short",
        ),
        (SignalReason.VOLUME_UNKNOWN, {"volume_ratio": None}, ""),
        (
            SignalReason.OPTIONS_CONFIDENCE_TOO_LOW,
            {"confidence": 0.41},
            "confidence is 0.41, needs 0.5: 0.09 short",
        ),
        (
            SignalReason.STOCK_CONFIDENCE_TOO_LOW,
            {"confidence": 0.3},
            "confidence is 0.3, needs 0.4: 0.1 short",
        ),
        (SignalReason.SUSPECT_SPLIT, {}, ""),
        (SignalReason.OUTSIDE_SESSION, {}, ""),
        (SignalReason.FEED_NOT_SELECTED, {}, "the feed is iex, configured is iex"),
        (SignalReason.RULE_ERROR, {}, ""),
        (SignalReason.NO_FEATURES, {}, "unknown: sma50"),
        (SignalReason.NOT_READY, {}, "bars in the window is 12 bars, needs 50 bars: 38 bars short"),
    ],
)
def test_a_held_decision_names_its_check_and_the_distance_from_it(
    reason: SignalReason, fields: Body, says: str
) -> None:
    changes = no_signal(reason=reason.value, **fields)
    changes["features"] = of_minute("t", sma50=None, bars=12)
    assert first(told(changed(changes), at=at())) == ("decisions", reason.value, says)


def test_a_stale_bar_says_how_old_it_was() -> None:
    late = no_signal(reason="STALE_BAR", now=at() + 3 * MINUTE_US)
    says = "age of the bar is 120 s, limit 60 s: 60 s too old"
    assert first(told(changed(late), at=at())) == ("decisions", "STALE_BAR", says)


def test_a_cooldown_says_how_many_minutes_are_left() -> None:
    changes = no_signal(reason="COOLDOWN")
    changes["signals"] = lambda body: body | {"bar_t": at() - 4 * MINUTE_US}
    says = "time since the last signal is 4 min, needs 15 min: 11 min left"
    assert first(told(changed(changes), at=at())) == ("decisions", "COOLDOWN", says)


@pytest.mark.parametrize(
    "reason, stage, score, says",
    [
        (WatchlistReason.SCORE_BELOW_ENTRY, "watchlist", 0.2, "score is 0.2, needs 0.3: 0.1 short"),
        (WatchlistReason.BACKFILL_ENDED, "watchlist", 0.21, "score is 0.21, needs 0.3: 0.09 short"),
        (WatchlistReason.SCORE_BELOW_EXIT, "watchlist", 0.25, "score is 0.25, needs 0.3: 0.05 short"),
        (WatchlistReason.NO_FRESH_BAR, "watchlist", 0.4, "age of the newest bar is 900 s, limit 300 s"),
        (WatchlistReason.STALE, "watchlist", 0.4, "age of the newest bar is 900 s, limit 300 s"),
        (WatchlistReason.CAPPED, "watchlist", 0.61, "score is 0.61, needs 0.7: 0.09 short"),
        (WatchlistReason.NOT_SELECTED_CAP, "watchlist", 0.65, "score is 0.65, needs 0.7: 0.05 short"),
        (WatchlistReason.NOT_IN_UNIVERSE, "watchlist", None, "list of "),
        (WatchlistReason.UNIVERSE_REMOVED, "watchlist", None, "list of "),
        (WatchlistReason.NOT_SCORED, "scores", None, ""),
    ],
)
def test_a_symbol_off_the_list_names_the_lists_reason_and_the_score_that_it_lacked(
    reason: WatchlistReason, stage: str, score: float | None, says: str
) -> None:
    def scored(listed: Body) -> Body:
        full = [each | {"flag": "SCORED", "score": 0.7} for each in listed["members"][:1]]
        return listed | {"members": full if "CAP" in reason else []}

    changes = no_signal(reason="NOT_ON_WATCHLIST")
    off = {"on_watchlist": False, "rank": None, "flag": None, "reason": reason.value, "score": score}
    changes |= {"memberships": lambda body: body | off, "watchlist": scored}
    changes["scores"] = lambda body: body | {"as_of": body["evaluation"] - 900_000_000}
    found = first(told(changed(changes), at=at()))
    assert found[:2] == (stage, reason.value)
    assert found[2].startswith(says)


@pytest.mark.parametrize(
    "away, stage, reason",
    [
        (("memberships", "universe"), "watchlist", "NO_UNIVERSE"),
        (("memberships", "scores"), "scores", "NO_SCORE"),
        (("memberships",), "watchlist", "NO_LIST"),
    ],
)
def test_a_symbol_that_no_list_knows_names_what_was_not_there(
    away: tuple[str, ...], stage: str, reason: str
) -> None:
    changes = no_signal(reason="NOT_ON_WATCHLIST") | dict.fromkeys(away, nothing)
    assert first(told(changed(changes), at=at()))[:2] == (stage, reason)


def test_a_minute_without_a_bar_is_told_from_one_whose_stage_is_behind() -> None:
    gone = no_signal() | {name: without_minute("t") for name in ("bars", "features")}
    gone["decisions"] = without_minute("bar_t")
    assert first(told(changed(gone), at=at()))[:2] == ("bars", "NO_BAR")
    played = [m for m in changed(gone) if not (m.topic == "bars" and m.timestamp >= at() // 1000)]
    stage, reason, says = first(told(played, at=at()))
    assert (stage, reason) == ("bars", "STAGE_BEHIND") and says.startswith("last watermark of bars: ")


@pytest.mark.parametrize(
    "stopped, stage",
    [
        (("features", "scores", "watchlist", "memberships", "decisions"), "features"),
        (("memberships", "decisions"), "watchlist"),
        (("decisions",), "decisions"),
    ],
)
def test_a_dead_stage_is_named_and_not_the_ones_that_wait_for_it(
    stopped: tuple[str, ...], stage: str
) -> None:
    dead = at() // 1000 - 120_000
    before = changed({"signals": nothing})
    kept = [m for m in before if not (m.topic in stopped and m.timestamp >= dead)]
    assert any(m.topic in stopped for m in recorded() if readable_label(m) and m.timestamp >= dead)
    assert first(told(kept, at=at()))[:2] == (stage, "STAGE_BEHIND")


def test_a_live_stage_that_gave_nothing_is_told_from_a_dead_one() -> None:
    no_feature = no_signal() | {"features": without_minute("t"), "decisions": without_minute("bar_t")}
    assert first(told(changed(no_feature), at=at()))[:2] == ("features", "NO_FEATURE")
    no_decision = no_signal() | {"decisions": lambda body: body if body["bar_t"] < at() else None}
    assert first(told(changed(no_decision), at=at()))[:2] == ("decisions", "NO_DECISION")


@pytest.mark.parametrize("reason", ["BAD_BAR", "STAGE_ERROR"])
def test_a_refused_bar_is_found_among_the_dead_letters(reason: str) -> None:
    changes = no_signal() | {"features": without_minute("t"), "decisions": without_minute("bar_t")}
    bar = next(
        m for m in recorded() if m.topic == "bars" and m.value and decode("bars", m.value)["t"] == at()
    )
    dead = dead_letter(Layout(), bar, "features", DeadLetter("a bar", reason=reason))
    letter = Message(dead.topic, dead.partition, 0, dead.timestamp, dead.key, dead.value, tuple(dead.headers))
    found = told([*changed(changes), letter], at=at())
    assert first(found)[:2] == ("features", reason)
    assert "dead_letters" in found.text()


def test_a_late_bar_is_found_in_bars_late() -> None:
    changes = no_signal() | {"features": without_minute("t"), "decisions": without_minute("bar_t")}
    bar = next(
        m for m in recorded() if m.topic == "bars" and m.value and decode("bars", m.value)["t"] == at()
    )
    assert first(told([*changed(changes), bar._replace(topic="bars.late", offset=0)], at=at()))[:2] == (
        "features",
        "LATE",
    )


def test_a_bar_behind_all_that_are_remembered_was_too_old() -> None:
    """Fifty newer bars were decided: a feature without a decision came after them."""
    changes = no_signal() | {"decisions": without_minute("bar_t")}
    assert first(told(changed(changes), at=at()))[:2] == ("decisions", "TOO_OLD")


def test_a_traded_minute_shows_every_stage_and_both_accounts() -> None:
    found = told(recorded(), at=at())
    assert [each.stage for each in found.passed] == [
        "bars", "sentiment", "features", "sentiment_windows", "scores", "watchlist", "decisions", "mentions",
        "surges",
    ]  # fmt: skip
    assert [(each.account, each.reason) for each in found.outcomes] == [
        ("large", "TRADED"),
        ("tiny", "TRADED"),
    ]
    assert "FILLED" in found.text()


def test_a_session_is_grouped_by_stage_and_reason_and_every_minute_is_in_one_group() -> None:
    log = morning().log
    whole = [m for each in CATALOGUE if each.schema for m in log.messages(each.name)]
    found = told(whole)
    market = [group for group in found.groups if group.account is None]
    assert sum(group.minutes for group in market) + found.signals == found.minutes
    reasons = [body["reason"] for body in bodies(log, "decisions") if body["symbol"] == SYMBOL]
    by_reason = {group.reason: group for group in market}
    low = by_reason["OPTIONS_CONFIDENCE_TOO_LOW"]
    assert low.minutes == reasons.count("OPTIONS_CONFIDENCE_TOO_LOW")
    closest = max(
        body["confidence"]
        for body in bodies(log, "decisions")
        if body["symbol"] == SYMBOL and body["reason"] == "OPTIONS_CONFIDENCE_TOO_LOW"
    )
    assert low.closest is not None and low.closest.value == closest
    assert "bars has ended minutes up to" in found.text(), "the morning is not a whole session"


def test_one_account_is_shown_alone_and_an_unknown_one_is_refused() -> None:
    assert {each.account for each in told(recorded(), at=at(), account="tiny").outcomes} == {"tiny"}
    with pytest.raises(Fatal, match="no such account"):
        told(recorded(), account="tinny")


def test_a_symbol_outside_the_universe_is_said_first_with_the_nearest_name() -> None:
    found = why_from(TOPOLOGY, MemorySource(Layout(), recorded()), CONFIG, "amdd")
    assert found.text().splitlines()[0].startswith("AMDD is not in the universe (version 1")
    assert "the nearest name is AMD" in found.text().splitlines()[0]


def test_another_configuration_than_the_records_own_is_said() -> None:
    other = Config(accounts=EXAMPLE_ACCOUNTS, signal=CONFIG.signal.model_copy(update={"stretch": 0.03}))
    text = told(recorded(), config=other, at=at()).text()
    assert CONFIG.digest in text and other.digest in text


def test_an_empty_tape_and_a_closed_market_are_refused_with_a_remedy() -> None:
    with pytest.raises(Fatal, match="tape play"):
        told([])
    with pytest.raises(Fatal, match="market was closed"):
        told(recorded(), at=at() + 12 * 60 * MINUTE_US)


def test_every_reason_has_words() -> None:
    for stage, each in reasons_of(TOPOLOGY):
        assert set(each.words) == set(each.enum), (stage, each.enum)


def test_a_time_is_new_yorks_on_the_newest_session_or_iso_8601() -> None:
    session = xnys().session_at(at())
    assert session is not None
    assert time_of("09:30", lambda: session) == session.open
    assert time_of("2026-02-17T14:30:00Z", lambda: session) == 1_771_338_600_000_000
    assert time_of("9:30", lambda: session) == session.open
    for wrong in ("soon", "25:00", "10:4"):
        with pytest.raises(Fatal, match="this is not a time"):
            time_of(wrong, lambda: session)
    with pytest.raises(Fatal, match=r"has no zone.*2026-02-17T14:30:00"):
        time_of("2026-02-17T14:30:00", lambda: session)


def test_the_json_form_holds_what_the_text_holds() -> None:
    document = told(recorded(), at=at()).as_dict()
    assert document["symbol"] == SYMBOL and len(document["outcomes"]) == 2
    assert {each["stage"] for each in document["outcomes"]} == {"executions"}
