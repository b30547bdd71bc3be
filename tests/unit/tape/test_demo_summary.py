"""The verdict of a demo: what makes it fail, what it writes down and what it prints."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from tapedeck.connectors.dead_letters import dead_letter
from tapedeck.connectors.tapes.source import TapeSource
from tapedeck.schemas.codec import decode, encode
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.groups import Signal
from tapedeck.streams.frame import Value, pack, unpack
from tapedeck.streams.protocol import Message
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.account.rules.positions import describe
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.demo.demo import Wanted
from tapedeck.tape.demo.report import commands, report
from tapedeck.tape.demo.summary import (
    AccountTold,
    Letter,
    LookAt,
    Summary,
    account_told,
    conflicts_in,
    failures,
    letters_in,
    look_at,
    regular_bars,
    synthetic_records,
)
from tapedeck.tape.digests import DigestLine, digest_lines, nothing_to_compare
from tapedeck.tape.funnel import funnel
from tapedeck.tape.recording import Recording, TopicRecords, everything, of_messages
from tapedeck.topics.catalogue import Layout
from tests.support.cases import MARKET_STAGES
from tests.support.paths import CONFIG, morning
from tests.support.sim_tapes import small_tape


@cache
def recording() -> Recording:
    log = morning().log
    return of_messages(TOPOLOGY, Layout(), [log.messages(name) for name in everything(TOPOLOGY)])


@cache
def digests() -> tuple[DigestLine, ...]:
    return tuple(digest_lines(TOPOLOGY, recording(), CONFIG, xnys(), rebuild=True))


def summary() -> Summary:
    known = recording()
    return Summary(
        tape={"name": "five stocks until noon", "minutes": 160, "notes": ["all of it is synthetic"]},
        config_digest=CONFIG.digest,
        records={name: found.records for name, found in known.topics.items()},
        events=known.events(),
        rows=known.events(),
        synthetic=synthetic_records(known),
        funnel=funnel(TOPOLOGY, known, CONFIG, xnys()),
        accounts=[account_told(known, account) for account in CONFIG.accounts],
        digests=digests(),
        regular_bars=regular_bars(known, small_tape().session, xnys()),
        conflicts=conflicts_in(known),
        letters=letters_in(known),
        look_at=look_at(known),
        timings={"play": 1.5},
    )


def test_a_clean_run_with_its_orders_has_no_failure() -> None:
    assert failures(summary(), orders_due=True) == []


def closing(account: AccountTold, *rules: str, kept: tuple[str, ...] = ()) -> AccountTold:
    return replace(account, exits={rule: 1 for rule in rules}, kept=kept)


def test_a_day_that_closes_by_price_and_by_time_and_keeps_no_day_trade_has_no_failure() -> None:
    day = summary()
    day.accounts = [closing(account, "STOP_LOSS", "DAY_TRADE_CLOSE") for account in day.accounts]
    assert failures(day, orders_due=True, exits_due=True) == []


@pytest.mark.parametrize(
    ("rules", "kept", "said"),
    [
        (("DAY_TRADE_CLOSE",), (), "no position was closed by its price"),
        (("STOP_LOSS", "SIGNAL_CLOSE", "EXTERNAL"), (), "no position was closed by the time"),
        (("STOP_LOSS", "EOD_DAY_W3"), ("NVDA",), "still holds day trades after the close: NVDA"),
    ],
)
def test_a_day_without_its_exits_fails_the_demo(
    rules: tuple[str, ...], kept: tuple[str, ...], said: str
) -> None:
    day = summary()
    first, *others = day.accounts
    day.accounts = [closing(first, *rules, kept=kept), *(closing(each, *rules) for each in others)]
    [failure] = failures(day, orders_due=True, exits_due=True)
    assert said in failure


def test_an_account_tells_what_closed_its_positions_and_what_that_came_to() -> None:
    told = {each.account_id: each for each in summary().accounts}
    assert all(each.pnl is not None for each in told.values())
    assert told["large"].kept, "the tape ends at noon"


def test_fewer_rows_than_events_fail_the_demo_and_name_the_table() -> None:
    short = summary()
    short.rows = {**short.rows, "decisions": short.rows["decisions"] - 1}
    [failure] = failures(short, orders_due=True)
    assert failure.startswith("t_decisions has ") and str(short.events["decisions"]) in failure


def test_a_table_that_was_not_counted_fails_the_demo() -> None:
    short = summary()
    short.rows = {name: n for name, n in short.rows.items() if name != "bars.late"}
    assert any(failure.startswith("t_bars_late") for failure in failures(short, orders_due=True))


def test_a_funnel_that_does_not_add_up_fails_the_demo_and_names_the_stage() -> None:
    red = summary()
    red.funnel = [replace(line, taken=line.taken + (line.stage == "scores")) for line in red.funnel]
    [failure] = failures(red, orders_due=True)
    assert "the funnel of scores does not add up" in failure and "1 unexplained" in failure


def test_a_digest_that_differs_fails_the_demo_and_names_the_key() -> None:
    red = summary()
    red.digests = [replace(line, rebuilt="0" * 64, differs_at="key NVDA") for line in red.digests[:1]]
    [failure] = failures(red, orders_due=True)
    assert "rebuilt from the topics differs from live" in failure and "key NVDA" in failure


def test_one_event_id_with_two_bodies_fails_the_demo() -> None:
    red = summary()
    red.digests = [replace(line, conflicts=2) for line in red.digests[:1]]
    [failure] = failures(red, orders_due=True)
    assert "2 event_ids" in failure and "two bodies" in failure


def test_missing_fills_fail_a_whole_synthetic_session_and_no_other() -> None:
    idle = summary()
    idle.accounts = [replace(account, orders=()) for account in idle.accounts]
    assert failures(idle, orders_due=True) == [
        "large (large) filled no option order",
        "tiny (tiny) filled no option order",
        "no account filled a stock order",
    ]
    assert failures(idle, orders_due=False) == []


def retold(names: dict[str, list[Message]]) -> Recording:
    """The recording with other messages of some topics."""
    log = morning().log
    found = [names.get(name) or log.messages(name) for name in everything(TOPOLOGY)]
    return of_messages(TOPOLOGY, Layout(), found)


def test_two_rows_of_one_minute_are_a_red_alarm_that_names_the_tape() -> None:
    bars = list(morning().log.messages("bars"))
    place = next(n for n, m in reversed(list(enumerate(bars))) if m.value is not None)
    body = decode("bars", bars[place].value) | {"volume": 4242.0}
    bars.append(bars[place]._replace(offset=bars[place].offset + 9, value=encode("bars", body)))
    found = retold({"bars": bars})
    assert conflicts_in(found) == {"bars": 1}
    red = summary()
    red.conflicts = conflicts_in(found)
    [failure] = failures(red, orders_due=True)
    assert failure.startswith("RED ALARM: 1 event_ids of bars were written again with a different body")
    assert "two rows of one symbol and minute" in failure and "not deterministic" in failure


def test_dead_letters_of_the_sink_about_two_bodies_are_a_red_alarm() -> None:
    red = summary()
    red.letters = {Letter("features", "sink", "BODY_CONFLICT"): 2}
    [failure] = failures(red, orders_due=True)
    assert failure.startswith("RED ALARM") and "of features" in failure


def test_dead_letters_fail_the_demo_by_topic_stage_and_reason() -> None:
    bad = next(m for m in morning().log.messages("bars") if m.value is not None)
    error = DeadLetter("a volume below zero", value=-5.0, reason="BAD_BAR")
    wire = dead_letter(Layout(), bad, "features", error)
    letter = Message(wire.topic, wire.partition, 0, wire.timestamp, wire.key, wire.value, tuple(wire.headers))
    red = summary()
    assert red.letters == {}, "the synthetic tape plants none"
    red.letters = letters_in(retold({"dead_letters": [letter, letter._replace(offset=1)]}))
    [failure] = failures(red, orders_due=True)
    assert failure.startswith("2 records of bars were refused by features (BAD_BAR)")
    assert "tape tail dead_letters" in failure
    assert red.to_json()["dead_letters"] == [
        {"topic": "bars", "stage": "features", "reason": "BAD_BAR", "count": 2}
    ]


def test_a_session_without_a_regular_bar_fails_the_demo_and_asks_for_the_zone() -> None:
    red = summary()
    assert red.regular_bars > 500
    day = small_tape().session + 1
    red.regular_bars = regular_bars(recording(), day, xnys())
    red.tape = {**red.tape, "session": "2026-02-18", "hours": "14:30 to 21:00"}
    [failure] = failures(red, orders_due=True)
    assert "no bar of the session 2026-02-18" in failure and "are the file's times in UTC" in failure


def test_orders_are_due_from_a_whole_synthetic_session_only() -> None:
    whole = Wanted(folder=Path(), source=TapeSource())
    assert whole.orders_due
    assert not replace(whole, minutes=10).orders_due
    assert not replace(whole, source=TapeSource(tape="bars.parquet")).orders_due


def test_orders_are_read_from_the_topics_by_kind() -> None:
    large, tiny = summary().accounts
    assert large.filled()["STOCK"] >= 1 and large.filled()["CALL"] >= 1
    assert tiny.filled()["CALL"] >= 1
    assert large.positions and set(large.verdicts) <= {"APPROVED", "REFUSED", "NOT_SIZED"}


def test_everything_from_the_synthetic_market_is_labelled() -> None:
    found = synthetic_records(recording())
    assert set(found) == {
        "bars", "quotes", "universe", "news", "posts", "account_inbox InboxQuote", "account_inbox InboxChain"
    }  # fmt: skip
    for name, origins in found.items():
        assert set(origins) == {"synthetic/seed-7"}, name


def test_the_document_has_what_a_machine_looks_for(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    summary().write(path)
    document = json.loads(path.read_text())
    assert document["records"]["bars"] == document["rows"]["t_bars"] > 0
    assert document["timings_s"] == {"play": 1.5} and document["failures"] == []
    stages = {(line["stage"], line["account"]) for line in document["funnel"]}
    assert ("features", None) in stages and ("orders", "tiny") in stages
    for line in document["funnel"]:
        assert line["in"] == line["out"] + sum(line["reasons"].values())
    assert all(line["agrees"] and line["live"] == line["rebuilt"] for line in document["digests"])
    assert document["accounts"][0]["filled"]["STOCK"] >= 1


def test_the_report_prints_funnel_orders_failures_and_what_to_do_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = summary()
    told.failures = ["t_bars has 1 rows, its topic 2 different events"]
    told.rows = {**told.rows, "bars": 1}
    report(told, tmp_path / "demo", kept=False)
    printed = capsys.readouterr().out
    for words in (
        "five stocks until noon", "OUTSIDE_SESSION", "tiny (tier tiny)", "FILLED", "synthetic/seed-7",
        "FAILED t_bars has 1 rows", "up --name demo", "digest --rebuild", "play 1.5 s",
    ):  # fmt: skip
        assert words in printed, words


def test_what_to_look_at_next_is_of_the_session_that_was_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topic, symbol = look_at(recording())
    traded = {describe(body["instrument"]).underlying for body in recording().bodies("orders")}
    assert topic == "orders" and symbol in traded
    report(summary(), tmp_path / "demo", kept=False)
    printed = capsys.readouterr().out
    assert f"why {symbol}" in printed and "tail orders" in printed


def test_without_an_order_the_furthest_topic_is_named_and_without_a_bar_no_symbol() -> None:
    known = recording()
    without = {name: TopicRecords(name) for name in ("orders", "proposals", "signals")}
    idle = replace(known, topics={**known.topics, **without})
    topic, symbol = look_at(idle)
    assert topic == "decisions" and symbol in {body["symbol"] for body in known.bodies("decisions")}
    strange = summary()
    strange.look_at = LookAt("features", "A B")
    assert commands(strange)[1:3] == ["tail features", "why 'A B'"]
    nothing = look_at(replace(known, topics={name: TopicRecords(name) for name in known.topics}))
    strange.look_at = nothing
    assert nothing.symbol == "" and not any(each.startswith("why") for each in commands(strange))


def test_a_kept_stack_is_said_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report(summary(), tmp_path / "demo", kept=True)
    printed = capsys.readouterr().out
    assert "the stack runs until Ctrl-C" in printed and "OK every table" in printed


def test_live_and_rebuilt_digests_agree_for_every_stage_and_account() -> None:
    stages = {line.stage for line in digests()}
    assert stages == {*MARKET_STAGES, "account large", "account tiny"}
    assert all(line.agrees and line.rebuilt == line.live for line in digests())
    assert sum(line.records for line in digests() if line.what == "proposals") > 0


def test_without_a_rebuild_only_live_is_digested() -> None:
    only_live = list(digest_lines(TOPOLOGY, recording(), CONFIG, xnys(), rebuild=False))
    assert [line.live for line in only_live] == [line.live for line in digests()]
    assert all(line.rebuilt is None and line.agrees for line in only_live)


def test_a_changed_table_value_is_found_by_its_key() -> None:
    known = recording()
    table = dict(known.tables["scores"])
    value: Value = unpack(table[b"NVDA"])
    table[b"NVDA"] = pack(value.epoch, value.cursors, value.body + b"!")
    changed = replace(known, tables={**known.tables, "scores": table})
    differing = [
        line for line in digest_lines(TOPOLOGY, changed, CONFIG, xnys(), rebuild=True) if not line.agrees
    ]
    assert [(line.stage, line.what, line.differs_at) for line in differing] == [
        ("scores", "state", "key NVDA")
    ]


def test_another_configuration_gives_other_digests_at_a_named_key() -> None:
    other = Config(accounts=CONFIG.accounts, signal=Signal(cooldown_min=16))
    lines = digest_lines(TOPOLOGY, recording(), other, xnys(), rebuild=True)
    decisions = next(line for line in lines if line.what == "decisions")
    assert not decisions.agrees and "event_id" in (decisions.differs_at or "")


def test_stages_without_input_output_and_table_have_nothing_to_compare() -> None:
    empty = of_messages(TOPOLOGY, Layout(), [])
    lines = list(digest_lines(TOPOLOGY, empty, CONFIG, xnys(), rebuild=True))
    assert all(line.agrees for line in lines), "two empty sides"
    told = nothing_to_compare(TOPOLOGY, lines, empty)
    assert told.keys() == {line.stage for line in lines}
    assert told["features"] == "bars has no record that can be read"
    assert told["account large"] == "account_inbox has no record of it"
    assert nothing_to_compare(TOPOLOGY, digests(), recording()) == {}


def test_a_stage_that_gave_nothing_from_its_input_was_compared() -> None:
    only_bars = of_messages(TOPOLOGY, Layout(), [morning().log.messages("bars")])
    nothing = [line for line in digests() if line.stage == "features"]
    silent = [replace(line, records=0) for line in nothing]
    assert nothing_to_compare(TOPOLOGY, silent, only_bars) == {}
