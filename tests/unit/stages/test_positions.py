"""The fold of executions: vectors E1 to E4, order and repeats, shorts, session P&L."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.streams.stages.account.rules.money import money
from tapedeck.streams.stages.account.rules.orders import Side
from tapedeck.streams.stages.account.rules.positions import (
    Execution,
    Kind,
    Marked,
    Owner,
    Position,
    describe,
    fold,
    position_id,
    session_pnl,
)

D = Decimal
OPTION = "NVDA260220C00150000"


def execution(number: int, side: str, qty: str, price: str, **changes: object) -> Execution:
    fields = {
        "execution_id": f"x{number}",
        "executed_at": number,
        "side": Side(side),
        "qty": D(qty),
        "price": D(price),
        "fee": D(0),
        "client_order_id": "td1-o00-a",
        "owner": Owner.TAPEDECK,
        "strategy": "day_trade",
    }
    return Execution(**(fields | changes))  # type: ignore[arg-type]


TWO_FILLS_PARTIAL_CLOSE = [
    execution(1, "BUY", "2", "2.00"),
    execution(2, "BUY", "2", "2.20"),
    execution(3, "SELL", "2", "2.35"),
]
FOLDS = {
    "E1": (TWO_FILLS_PARTIAL_CLOSE, "2", "2.1000", "50.00"),
    "E2": (list(reversed(TWO_FILLS_PARTIAL_CLOSE * 3)), "2", "2.1000", "50.00"),
    "E3": ([execution(1, "BUY", "1", "6.05")], "1", "6.0500", "0.00"),
    "E4": (
        [
            execution(1, "BUY", "2", "3.00"),
            execution(2, "SELL", "1", "3.20"),
            execution(3, "SELL", "1", "3.50"),
        ],
        "0",
        "0.0000",
        "70.00",
    ),
}


def last(executions: list[Execution], instrument: str = OPTION) -> Position:
    return fold("tiny", instrument, executions).positions[-1]


@pytest.mark.parametrize(("executions", "qty", "average", "realised"), FOLDS.values(), ids=FOLDS)
def test_fold_vector(executions: list[Execution], qty: str, average: str, realised: str) -> None:
    position = last(executions)
    assert (position.qty, position.average_cost, position.realised) == (D(qty), D(average), D(realised))


EXECUTIONS = st.lists(
    st.builds(
        execution,
        st.integers(0, 40),
        st.sampled_from(["BUY", "SELL"]),
        st.integers(1, 9).map(str),
        st.decimals("0.01", "50", places=2).map(str),
        executed_at=st.integers(0, 5),
    ),
    max_size=12,
    unique_by=lambda e: e.execution_id,
)


@given(EXECUTIONS, st.randoms(use_true_random=False))
def test_shuffled_and_tripled_executions_fold_to_the_same_positions(
    executions: list[Execution], shuffle: object
) -> None:
    repeated = executions * 3
    shuffle.shuffle(repeated)  # type: ignore[attr-defined]
    assert fold("tiny", OPTION, repeated) == fold("tiny", OPTION, executions)


@given(EXECUTIONS)
def test_quantity_is_the_signed_sum_and_cash_is_conserved(executions: list[Execution]) -> None:
    result = fold("tiny", OPTION, executions)
    held = result.open
    assert (held.qty if held else 0) == sum(e.signed for e in executions)
    cash = -sum(e.signed * e.price * 100 for e in executions)
    inventory = held.qty * held.average_cost * 100 if held else D(0)
    assert money(sum(result.realised.values(), D(0))) == money(cash + inventory)
    assert money(sum((p.realised for p in result.positions), D(0))) == money(cash + inventory)


def test_a_sell_beyond_zero_closes_the_long_and_opens_a_short() -> None:
    long, short = fold(
        "tiny", "NVDA", [execution(1, "BUY", "3", "10"), execution(2, "SELL", "5", "12")]
    ).positions
    assert (long.qty, long.realised) == (0, 6)
    assert (short.qty, short.average_cost, short.realised) == (-2, 12, 0)
    assert short.position_id == position_id("tiny", "NVDA", "x2")
    covered = last([execution(1, "SELL", "2", "12"), execution(2, "BUY", "2", "11")], "NVDA")
    assert (covered.qty, covered.realised) == (0, 2)


def test_a_reopened_instrument_is_another_position() -> None:
    first, second = fold(
        "tiny",
        OPTION,
        [execution(1, "BUY", "1", "2"), execution(2, "SELL", "1", "3"), execution(3, "BUY", "1", "4")],
    ).positions
    assert first.position_id != second.position_id
    assert (second.opened_at, second.average_cost) == (3, 4)


def test_an_external_position_gets_the_strategy_of_its_kind() -> None:
    foreign = execution(1, "BUY", "1", "2", owner=Owner.EXTERNAL, strategy=None)
    assert last([foreign]).strategy == "swing_trade"
    assert last([foreign], "NVDA").strategy == "day_trade"
    assert last([foreign]).owner is Owner.EXTERNAL


def test_position_ids_name_account_instrument_and_opening_execution() -> None:
    mine = position_id("tiny", OPTION, "x1")
    assert len(mine) == 24
    assert len({mine, position_id("large", OPTION, "x1"), position_id("tiny", OPTION, "x2")}) == 3


def test_instruments_are_told_apart_by_their_symbol() -> None:
    assert describe(OPTION)[:3] == ("NVDA", Kind.CALL, 100)
    assert describe("NVDA1260220P00150000")[:3] == ("NVDA", Kind.PUT, 100)
    assert describe("BRK.B") == ("BRK.B", Kind.STOCK, 1, None)
    assert describe(OPTION).expiry == (date(2026, 2, 20) - date(1970, 1, 1)).days


def test_session_pnl_adds_realised_fees_and_open_profit() -> None:
    open_ones = [Marked(D(2), 100, D("2.50"), D("2.10")), Marked(D(-5), 1, D(11), D(10))]
    assert session_pnl(D(50), D("1.25"), open_ones) == D("50") - D("1.25") + 80 - 5
    assert session_pnl(D(50), D(0), []) == 50


@pytest.mark.parametrize("marked", [Marked(D(1), 100, None, D(1)), Marked(D(1), 100, D(1), None)])
def test_session_pnl_is_unknown_without_a_mark_or_reference(marked: Marked) -> None:
    assert session_pnl(D(50), D(0), [marked]) is None
