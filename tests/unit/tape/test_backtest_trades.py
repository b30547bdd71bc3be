"""Round trips from executions: partial fills, expiries, shares that come in, and why each ended."""

import pickle
from decimal import Decimal as D
from typing import Any

import pytest

from tapedeck.schemas.codec import encode
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.account.rules.positions import position_id
from tapedeck.tape.backtest.account import AccountRecord, Kept
from tapedeck.tape.backtest.result import stats_of
from tapedeck.tape.backtest.trades import STILL_OPEN, trades_of
from tests.support import desks
from tests.support.account import ELEVEN, SECOND

CALL = "AMD260220C00225000"


def execution(identity: str, side: str, qty: int, price: str | None, **changes: Any) -> dict[str, Any]:
    option = changes.get("instrument", CALL) == CALL
    return {
        "execution_id": identity, "client_order_id": f"order-{identity}", "instrument": CALL, "side": side,
        "qty": D(qty), "price": None if price is None else D(price), "multiplier": 100 if option else 1,
        "fee": D("0.10"), "source": "STREAM", "owner": "TAPEDECK", "reason": None, "event_time": ELEVEN,
    } | changes  # fmt: skip


def record(*executions: dict[str, Any], **topics: list[dict[str, Any]]) -> AccountRecord:
    found = AccountRecord("large", "large", D(100_000))
    found.records["executions"] = [
        each | {"event_time": each["event_time"] + at * 60 * SECOND} for at, each in enumerate(executions)
    ]
    for name, bodies in topics.items():
        found.records[name] = bodies
    return found


def test_partial_fills_make_one_trade_with_average_prices_and_all_fees() -> None:
    (trade,) = trades_of(
        record(
            execution("a", "BUY", 1, "2.00"), execution("b", "BUY", 3, "2.20"),
            execution("c", "SELL", 2, "2.50"), execution("d", "SELL", 2, "3.00"),
        ),
        xnys(),
    )  # fmt: skip
    assert (trade.qty, trade.entry, trade.exit, trade.side) == (4, D("2.15"), D("2.75"), "LONG")
    assert trade.gross == D("240.00")
    assert trade.fees == D("0.40")
    assert trade.net == D("239.60")
    assert trade.held_min == 3.0
    assert trade.position_id == position_id("large", CALL, "a")
    assert trade.gain == pytest.approx(239.60 / 860)


def test_records_are_kept_as_bytes_and_read_as_they_were_written() -> None:
    bodies = [desks.adjustment("a", qty=D("3.000000")), desks.adjustment("b", price=D("2.050000"))]
    kept = Kept("executions")
    for body in bodies:
        kept.add(encode("executions", body))
    kept = pickle.loads(pickle.dumps(kept))
    assert len(kept) == 2 and list(kept) == list(kept) == bodies
    assert bodies[1] in kept and desks.adjustment("c") not in kept


def test_an_execution_told_twice_counts_once() -> None:
    twice = execution("a", "BUY", 1, "2.00")
    (trade,) = trades_of(record(twice, twice), xnys())
    assert (trade.qty, trade.exit_reason) == (1, STILL_OPEN)


def test_an_open_trade_is_worth_its_last_mid_and_unknown_without_one() -> None:
    held = record(execution("a", "BUY", 2, "2.00"))
    (trade,) = trades_of(held, xnys())
    assert (trade.gross, trade.net, trade.closed_at) == (None, None, None)
    held.marks[CALL] = D("1.50")
    (trade,) = trades_of(held, xnys())
    assert (trade.gross, trade.net) == (D("-100.00"), D("-100.10"))
    assert stats_of([trade]).unknown == 0


def test_a_short_gains_when_the_price_falls() -> None:
    sold = execution("a", "SELL", 10, "50", instrument="AMD")
    (trade,) = trades_of(record(sold, execution("b", "BUY", 10, "45", instrument="AMD")), xnys())
    assert (trade.side, trade.gross) == ("SHORT", D(50))


def test_a_sell_beyond_zero_ends_one_trade_and_begins_the_opposite_one() -> None:
    long, short = trades_of(
        record(
            execution("a", "BUY", 10, "50", instrument="AMD"),
            execution("b", "SELL", 15, "51", instrument="AMD"),
        ),
        xnys(),
    )
    assert (long.side, long.gross, long.fees) == ("LONG", D(10), D("0.20"))
    assert (short.side, short.qty, short.fees, short.exit_reason) == ("SHORT", 5, D(0), STILL_OPEN)


@pytest.mark.parametrize(
    ("identity", "reason"), [("OPEXP|1", "EXPIRY"), ("OPEXC|2", "EXERCISE"), ("OPASN|3", "ASSIGNMENT")]
)
def test_an_expiry_ends_at_the_close_however_late_it_is_told(identity: str, reason: str) -> None:
    bought = execution("a", "BUY", 2, "2.00")
    told = execution(
        identity, "SELL", 2, "0", source="ACTIVITY", fee=D(0), event_time=ELEVEN + 6 * 86_400 * SECOND
    )
    (trade,) = trades_of(record(bought, told), xnys())
    assert trade.exit_reason == reason
    session = xnys().session_on(xnys().session_date(ELEVEN) + 3)
    assert session is not None
    assert trade.closed_at == session.close
    assert trade.net == D("-400.10")


def test_the_reason_is_the_exit_rule_and_else_what_closed_it() -> None:
    bought, sold = execution("a", "BUY", 1, "2.00"), execution("b", "SELL", 1, "1.00")
    position = position_id("large", CALL, "a")
    order = {"client_order_id": "order-b", "signal_id": "sg_1", "exit_reason": None}
    rule = {"position_id": position, "chosen": "STOP_LOSS"}
    (by_rule,) = trades_of(record(bought, sold, orders=[order], exits=[rule]), xnys())
    (by_signal,) = trades_of(record(bought, sold, orders=[order]), xnys())
    (by_nobody,) = trades_of(record(bought, sold), xnys())
    liquidated = execution("b", "SELL", 1, "1.00", reason="BROKER_LIQUIDATION", owner="EXTERNAL")
    (by_broker,) = trades_of(record(bought, liquidated), xnys())
    found = [each.exit_reason for each in (by_rule, by_signal, by_nobody, by_broker)]
    assert found == ["STOP_LOSS", "SIGNAL_CLOSE", "EXTERNAL", "BROKER_LIQUIDATION"]


def test_an_adjustment_without_a_price_makes_the_result_unknown() -> None:
    bought = execution("a", "BUY", 1, "2.00")
    gone = execution("b", "SELL", 1, None, reason="RECON_ADJUST")
    (trade,) = trades_of(record(bought, gone), xnys())
    assert (trade.net, trade.exit) == (None, None)
    stats = stats_of([trade])
    assert (stats.trades, stats.unknown, stats.expectancy) == (0, 1, None)
