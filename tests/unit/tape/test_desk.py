"""What operators see of accounts, orders and positions: rows of records, tables of rows, commands."""

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal as D
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console, RenderableType
from typer.testing import CliRunner

from tapedeck.connectors.controls import Command, command
from tapedeck.schemas.codec import decode, encode
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.stages.account.rules.gate_types import KillState
from tapedeck.tape.cli import controls as cli_controls
from tapedeck.tape.cli import desk as cli_desk
from tapedeck.tape.cli.main import app
from tapedeck.tape.desk import screen
from tapedeck.tape.desk.adjustments import comparison
from tapedeck.tape.desk.read import Desk
from tapedeck.tape.desk.rows import account_rows, order_rows, position_rows
from tapedeck.tape.status.readers import newest_changes
from tests.support.desks import (
    CALL,
    MINUTE,
    NOW,
    SECOND,
    account,
    adjustment,
    broker,
    change,
    desk,
    order,
    position,
    quote,
    resolved,
)


def shown(table: RenderableType) -> str:
    console = Console(width=220, record=True, file=StringIO())
    console.print(table, highlight=False)
    return console.export_text()


# -- accounts


def test_an_account_is_told_with_its_newest_record_and_counts_against_its_limits() -> None:
    rows = account_rows(
        desk(
            accounts=[account(equity=D(1)), account(event_time=NOW - 5 * SECOND)],
            orders=[order("a"), order("b", state="FILLED"), order("c", purpose="CLOSE")],
            positions=[position("p"), position("q", qty=D(0), state="CLOSED")],
        )
    )
    large, tiny = rows
    assert (tiny.equity, tiny.session_pnl, tiny.age_s) == (D("5012.340000"), D("12.340000"), 5)
    assert (tiny.positions, tiny.max_positions, tiny.pending, tiny.max_pending) == (1, 2, 1, 2)
    assert (large.account, large.mode, large.equity, large.at) == ("large", "PAPER", None, None)
    text = shown(screen.account_table(rows))
    assert "5,012.34" in text and "+12.34" in text and "1/2" in text and "5 s ago" in text
    assert text.count("unknown") == 6, "what the account without a record does not tell"


def test_who_stopped_an_account_and_what_it_warns_of_stand_below_the_table() -> None:
    rows = account_rows(
        desk(
            accounts=[
                account(
                    kill_state="HALTED", halt_step="FLATTENING", alarm="UNEXPECTED_SHORT",
                    warnings=["CLOSE_STUCK:0123"],
                )
            ],
            controls=[change("tiny", "ACTIVE", 1), change("tiny", "HALTED", 2), change("*", "REDUCING", 3)],
        )
    )  # fmt: skip
    tiny = next(row for row in rows if row.account == "tiny")
    assert tiny.warnings == ("UNEXPECTED_SHORT", "CLOSE_STUCK:0123")
    text = shown(screen.account_table(rows))
    assert "HALTED, FLATTENING" in text and "tiny: CLOSE_STUCK:0123" in text
    assert "tiny is stopped: REDUCING of all by ada: quotes look wrong; HALTED by ada" in text


def test_a_released_account_is_stopped_by_nobody_and_a_command_stops_nobody() -> None:
    closing = command(
        "tiny", Command.CLOSE_POSITION, "p", state=KillState.HALTED, person="ada", reason="odd", now=NOW + 9
    )
    found = desk(controls=[change("tiny", "HALTED", 1), change("tiny", "ACTIVE", 2), closing])
    assert [row.stopped_by for row in account_rows(found)] == ["", ""]
    assert newest_changes(found.of("controls"))["tiny"]["state"] == "ACTIVE"


def test_without_a_document_accounts_are_those_with_records_and_limits_are_not_known() -> None:
    (row,) = account_rows(replace(desk(accounts=[account()]), config=None))
    assert (row.account, row.max_positions, row.tier) == ("tiny", None, "tiny")


# -- orders


def test_working_orders_come_first_the_oldest_on_top_and_then_the_newest_that_are_done() -> None:
    history = [
        order("old", seq=0, state="INTENT", event_time=NOW - 9 * MINUTE),
        order("done1", state="FILLED", event_time=NOW - 8 * MINUTE),
        order("new", state="SUBMITTED", event_time=NOW - 3 * SECOND),
        order("done2", state="REJECTED", event_time=NOW - 2 * MINUTE),
        order("old", seq=2, state="UNKNOWN", event_time=NOW - 80 * SECOND),
        order("old", seq=1, state="SUBMITTED", event_time=NOW - 8 * MINUTE),
    ]
    rows = order_rows(desk(orders=history))
    assert [(row.order, row.works) for row in rows] == [
        ("old", True), ("new", True), ("done2", False), ("done1", False),
    ]  # fmt: skip
    assert (rows[0].state, rows[0].age_s, rows[0].state_s) == ("UNKNOWN", 540, 80)
    text = shown(screen.order_table(rows))
    assert "Orders (2 work, 2 are done)" in text and "0/2" in text and "2.07" in text and "9 min" in text
    assert [row.order for row in order_rows(desk(orders=history), "large")] == []


def test_a_state_that_was_told_again_counts_from_its_first_record() -> None:
    history = [
        order(seq=0, state="ACCEPTED", event_time=NOW - 70 * SECOND),
        order(seq=1, state="PARTIAL", event_time=NOW - 60 * SECOND, filled_qty=D(1)),
        order(seq=2, state="PARTIAL", event_time=NOW - 10 * SECOND, filled_qty=D(1), limit_price=None),
    ]
    (row,) = order_rows(desk(orders=history))
    assert (row.state_s, row.age_s, row.filled) == (60, 70, 1)
    assert "market" in shown(screen.order_table([row]))


# -- positions


def test_a_position_is_marked_with_the_newest_quote_that_its_account_saw() -> None:
    seen = [quote("2.30", "2.50"), quote("9", "8", ago_s=1), quote(None, None, ago_s=0, error="closed")]
    (row,) = position_rows(desk(positions=[position()], account_inbox=seen))
    assert (row.mark, row.mark_s, row.pnl, row.pnl_usd) == (D("2.40"), 5, D("0.200000"), D("80.00"))
    assert row.held_s == 1200
    text = shown(screen.position_table([row]))
    assert "+20.0 %" in text and "+80.00" in text and "+15.0 %" in text and "20 min" in text


def test_an_old_mark_says_how_old_a_last_trade_counts_and_none_is_unknown() -> None:
    old = desk(positions=[position()], account_inbox=[quote("2.30", "2.50", ago_s=200)])
    assert "2.40 (3 min)" in shown(screen.position_table(position_rows(old)))
    traded = [quote(None, None, trade_price=D("2.10"), trade_time=NOW - SECOND)]
    (row,) = position_rows(desk(positions=[position()], account_inbox=traded))
    assert (row.mark, row.pnl) == (D("2.10"), D("0.050000"))
    (row,) = position_rows(desk(positions=[position()]))
    assert (row.mark, row.pnl, row.pnl_usd) == (None, None, None)
    assert shown(screen.position_table([row])).count("unknown") == 3


def test_the_profit_of_a_short_has_its_sign_turned_and_one_under_review_has_none() -> None:
    short = position(qty=D(-2), average_cost=D(3))
    (row,) = position_rows(desk(positions=[short], account_inbox=[quote("2.30", "2.50")]))
    assert (row.pnl, row.pnl_usd) == (D("0.200000"), D("120.00"))
    review = position(needs_review=True)
    (row,) = position_rows(desk(positions=[review], account_inbox=[quote("2.30", "2.50")]))
    assert row.pnl is None and "NEEDS_REVIEW" in shown(screen.position_table([row]))


def test_closed_positions_are_shown_where_asked_and_after_those_that_are_held() -> None:
    seen = [
        position("a", seq=0), position("a", seq=1, qty=D(0), state="CLOSED", realised=D(40)),
        position("b", state="CLOSING", exit_reason="STOP_LOSS"),
    ]  # fmt: skip
    assert [row.position for row in position_rows(desk(positions=seen))] == ["b"]
    rows = position_rows(desk(positions=seen), closed=True)
    assert [row.position for row in rows] == ["b", "a"]
    text = shown(screen.position_table(rows))
    assert "Positions (1 held)" in text and "+40.00" in text and "STOP_LOSS" in text


# -- the comparison with the broker


def test_the_comparison_tells_what_differs_and_which_orders_only_one_side_knows() -> None:
    found = comparison(
        desk(
            positions=[position()],
            orders=[order("ours"), order("gone", state="FILLED"), order("both")],
            account_inbox=[broker({CALL: 9}), broker({CALL: 1, "AMD": 5}, ("both", "alien")),
                           broker({}, error="504")],
        ),
        "tiny",
    )  # fmt: skip
    assert [(row.instrument, row.ours, row.broker, row.differs) for row in found.held] == [
        ("AMD", 0, 5, True), (CALL, 2, 1, True),
    ]  # fmt: skip
    assert (found.strangers, found.missing, found.age_s) == (("alien",), ("ours",), 30)
    text = shown(screen.comparison_tables(found))
    assert text.count("differs") == 2 and "open at the broker alone: alien" in text


def test_an_account_that_agrees_shows_no_difference_and_one_never_compared_says_so() -> None:
    same = comparison(desk(positions=[position()], account_inbox=[broker({CALL: 2})]), "tiny")
    assert [row.differs for row in same.held] == [False]
    never = comparison(desk(positions=[position()]), "tiny")
    assert never.at is None and "never compared" in shown(screen.comparison_tables(never))


def test_adjustments_tell_who_settled_them_and_those_of_others_are_left_out() -> None:
    found = comparison(
        desk(
            executions=[
                adjustment("adj-1"), adjustment("adj-2", event_time=NOW), adjustment("x", reason=None),
                adjustment("y", account_id="large"),
            ],
            controls=[resolved("adj-1")],
        ),
        "tiny",
    )  # fmt: skip
    assert [(row.adjustment, row.resolved_by, row.price) for row in found.adjustments] == [
        ("adj-2", None, None), ("adj-1", "grace", D("2.05")),
    ]  # fmt: skip
    text = shown(screen.comparison_tables(found))
    assert "Adjustments (1 wait for a person)" in text and "at 2.05 by grace: statement" in text


# -- the commands

Tape = Callable[..., str]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Records of ``controls`` that a command wrote."""
    found: list[dict[str, Any]] = []
    for module in (cli_desk, cli_controls):
        monkeypatch.setattr(module, "write", lambda body, pipeline: found.append(body))
    return found


def tape(monkeypatch: pytest.MonkeyPatch, seen: Desk, *words: str) -> str:
    """The command over the records of ``seen`` in place of a cluster's."""
    where = SimpleNamespace(cluster=lambda: None, config=None)
    monkeypatch.setattr(cli_desk, "found", lambda *_: where)
    monkeypatch.setattr(cli_desk, "target_of", lambda _: None)
    monkeypatch.setattr(cli_desk, "read_desk", lambda *_: seen)
    monkeypatch.setattr(cli_controls, "pipeline_of", lambda *_: SimpleNamespace(cluster=None, config=None))
    monkeypatch.setattr(
        "tapedeck.tape.status.readers.newest_bodies", lambda cluster, name, back=0: seen.of(name)
    )
    monkeypatch.setattr("tapedeck.tape.topology.topology_in_use", lambda *_: None)
    done = CliRunner().invoke(app, list(words))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


BY = ("--person", "ada", "--reason", "statement of the broker")


def test_the_tables_are_printed_and_as_json_numbers_are_text_and_times_are_iso(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = desk(
        accounts=[account()], orders=[order()], positions=[position()], account_inbox=[quote("2.30", "2.50")]
    )
    assert "5,012.34" in tape(monkeypatch, seen, "accounts")
    assert "Orders (1 work" in tape(monkeypatch, seen, "orders", "tiny")
    assert CALL in tape(monkeypatch, seen, "positions")
    (row,) = json.loads(tape(monkeypatch, seen, "positions", "--json"))
    assert (row["mark"], row["pnl"], row["needs_review"]) == ("2.40", "0.200000", False)
    (row,) = json.loads(tape(monkeypatch, seen, "orders", "--json"))
    assert (row["at"], row["qty"], row["works"]) == ("2026-02-17T14:59:00Z", "2", True)
    assert json.loads(tape(monkeypatch, desk(), "positions", "--json")) == []
    assert tape(monkeypatch, desk(), "positions") == "no position is held\n"


def test_orders_that_are_done_are_cut_and_those_that_work_never(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = desk(
        orders=[order(f"w{n}") for n in range(3)] + [order(f"d{n}", state="FILLED") for n in range(5)]
    )
    rows = json.loads(tape(monkeypatch, seen, "orders", "--json", "-n", "2"))
    assert [row["order"][0] for row in rows] == ["w", "w", "w", "d", "d"]


def test_an_account_that_nobody_knows_is_refused_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Fatal, match="did you mean 'tiny'"):
        tape(monkeypatch, desk(orders=[order()]), "orders", "tinny")


def test_a_close_names_one_held_position_and_leaves_the_switch_as_it_is(
    monkeypatch: pytest.MonkeyPatch, written: list[dict[str, Any]]
) -> None:
    seen = desk(positions=[position("abc1"), position("abd2")], controls=[change("tiny", "REDUCING")])
    assert f"account tiny: 2 {CALL} is to be closed, by ada" in tape(monkeypatch, seen, "close", "abc", *BY)
    (body,) = written
    assert (body["scope"], body["command"], body["target"]) == ("tiny", "CLOSE_POSITION", "abc1")
    assert (body["state"], body["person"], body["price"]) == ("REDUCING", "ada", None)
    assert decode("controls", encode("controls", body)) == body


@pytest.mark.parametrize(
    "wanted, words",
    [
        ("ab", "several positions begin so"),
        ("zz", "no such position is held"),
        ("", "no such position is held"),
        ("gone", "the position is closed already"),
    ],
)
def test_a_close_of_none_or_several_is_refused_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, written: list[dict[str, Any]], wanted: str, words: str
) -> None:
    seen = desk(positions=[position("abc1"), position("abd2"), position("gone", qty=D(0), state="CLOSED")])
    with pytest.raises(Fatal, match=words):
        tape(monkeypatch, seen, "close", wanted, *BY)
    assert written == []


@pytest.mark.parametrize("price, kept", [("2.05", D("2.05")), ("0", D(0)), (None, None)])
def test_an_adjustment_is_settled_with_its_price_or_without(
    monkeypatch: pytest.MonkeyPatch, written: list[dict[str, Any]], price: str | None, kept: D | None
) -> None:
    seen = desk(executions=[adjustment("adj-1")])
    told = ("--price", price) if price else ()
    said = tape(monkeypatch, seen, "reconcile", "tiny", "--resolve", "adj-1", *told, *BY)
    assert f"account tiny: SELL 1 {CALL} settled" in said
    (body,) = written
    assert (body["scope"], body["command"], body["target"]) == ("tiny", "RESOLVE", "adj-1")
    assert (body["price"], body["state"]) == (kept, "ACTIVE")
    assert decode("controls", encode("controls", body))["price"] == kept


@pytest.mark.parametrize(
    "words, refusal",
    [
        (("--resolve", "adj-9", *BY), "has no such adjustment.*these wait: adj-1"),
        (("--resolve", "adj-2", *BY), "grace settled it already: statement"),
        (("--resolve", "adj-1", "--price", "-1", *BY), "that is no price"),
        (("--resolve", "adj-1", "--price", "nan", *BY), "that is no price"),
        (("--resolve", "adj-1", "--price", "1.0000001", *BY), "at most 6 decimals"),
        (("--resolve", "adj-1", "--reason", "x"), "needs a person"),
        (("--resolve", "adj-1", "--person", "ada", "--reason", " "), "needs a reason"),
        (("--price", "2.05"), "a price settles an adjustment"),
    ],
)
def test_what_settles_nothing_is_refused_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, written: list[dict[str, Any]], words: tuple[str, ...], refusal: str
) -> None:
    seen = desk(executions=[adjustment("adj-1"), adjustment("adj-2")], controls=[resolved("adj-2")])
    with pytest.raises(Fatal, match=refusal):
        tape(monkeypatch, seen, "reconcile", "tiny", *words)
    assert written == []


@pytest.mark.parametrize(
    "word, state", [("pause", "REDUCING"), ("halt", "HALTED"), ("release", "ACTIVE"), ("resume", "ACTIVE")]
)
def test_the_switch_is_set_for_one_account_or_all_under_its_names(
    monkeypatch: pytest.MonkeyPatch, written: list[dict[str, Any]], word: str, state: str
) -> None:
    for account_, scope in (("tiny", "tiny"), ("all", "*")):
        said = tape(monkeypatch, desk(), word, account_, *BY)
        assert f": {state}, by ada: statement of the broker" in said
        assert (written[-1]["scope"], written[-1]["state"], written[-1]["command"]) == (scope, state, None)


def test_a_former_name_works_and_is_not_listed() -> None:
    assert "resume" not in CliRunner().invoke(app, ["--help"]).output
    assert "Allow opening positions again" in CliRunner().invoke(app, ["resume", "--help"]).output
    assert Config(accounts=EXAMPLE_ACCOUNTS).accounts
