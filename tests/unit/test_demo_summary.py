"""The verdict of a demo: what makes it fail, what it writes down and what it prints."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from tapedeck.connectors.tapes.source import TapeSource
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.groups import Signal
from tapedeck.streams.frame import Value, pack, unpack
from tapedeck.streams.sessions import xnys
from tapedeck.tape.demo.funnel import funnel
from tapedeck.tape.demo.report import report
from tapedeck.tape.demo.run import Wanted
from tapedeck.tape.demo.summary import Summary, account_told, failures, synthetic_records
from tapedeck.tape.digests import DigestLine, digest_lines
from tapedeck.tape.recording import EVERYTHING, Recording, of_messages
from tapedeck.topics.catalogue import Layout
from tests.sim.paths import CONFIG, morning


@cache
def recording() -> Recording:
    log = morning().log
    return of_messages(Layout(), [log.messages(name) for name in EVERYTHING])


@cache
def digests() -> tuple[DigestLine, ...]:
    return tuple(digest_lines(recording(), CONFIG, xnys(), rebuild=True))


def summary() -> Summary:
    known = recording()
    return Summary(
        tape={"name": "five stocks until noon", "minutes": 160, "notes": ["all of it is synthetic"]},
        config_digest=CONFIG.digest,
        records={name: found.records for name, found in known.topics.items()},
        events=known.events(),
        rows=known.events(),
        synthetic=synthetic_records(known),
        funnel=funnel(known, CONFIG, xnys()),
        accounts=[account_told(known, account) for account in CONFIG.accounts],
        digests=digests(),
        timings={"play": 1.5},
    )


def test_a_clean_run_with_its_orders_has_no_failure() -> None:
    assert failures(summary(), orders_due=True) == []


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
        "bars", "quotes", "universe", "account_inbox InboxQuote", "account_inbox InboxChain"
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


def test_a_kept_stack_is_said_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report(summary(), tmp_path / "demo", kept=True)
    printed = capsys.readouterr().out
    assert "the stack runs until Ctrl-C" in printed and "OK every table" in printed


def test_live_and_rebuilt_digests_agree_for_every_stage_and_account() -> None:
    stages = {line.stage for line in digests()}
    assert stages == {"features", "scores", "watchlist", "signals", "account large", "account tiny"}
    assert all(line.agrees and line.rebuilt == line.live for line in digests())
    assert sum(line.records for line in digests() if line.what == "proposals") > 0


def test_without_a_rebuild_only_live_is_digested() -> None:
    only_live = list(digest_lines(recording(), CONFIG, xnys(), rebuild=False))
    assert [line.live for line in only_live] == [line.live for line in digests()]
    assert all(line.rebuilt is None and line.agrees for line in only_live)


def test_a_changed_table_value_is_found_by_its_key() -> None:
    known = recording()
    table = dict(known.tables["scores"])
    value: Value = unpack(table[b"NVDA"])
    table[b"NVDA"] = pack(value.epoch, value.cursors, value.body + b"!")
    changed = replace(known, tables={**known.tables, "scores": table})
    differing = [line for line in digest_lines(changed, CONFIG, xnys(), rebuild=True) if not line.agrees]
    assert [(line.stage, line.what, line.differs_at) for line in differing] == [
        ("scores", "state", "key NVDA")
    ]


def test_another_configuration_gives_other_digests_at_a_named_key() -> None:
    other = Config(accounts=CONFIG.accounts, signal=Signal(cooldown_min=16))
    lines = digest_lines(recording(), other, xnys(), rebuild=True)
    decisions = next(line for line in lines if line.what == "decisions")
    assert not decisions.agrees and "event_id" in (decisions.differs_at or "")
