"""The 24 gates: vectors G1 to G43; each fires, each passes, and what is unknown fails."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tapedeck.streams.config.accounts import Action
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import CalendarUnknown, xnys
from tapedeck.streams.stages.account.rules.contracts import ContractReason
from tapedeck.streams.stages.account.rules.gate_reasons import GateReason
from tapedeck.streams.stages.account.rules.gate_types import (
    GateInputs,
    GateResult,
    Holding,
    Hours,
    Identity,
    KillState,
    Ledger,
    Priced,
    Regime,
    Reservation,
    Rules,
    run_gate,
)
from tapedeck.streams.stages.account.rules.gates import GATES, evaluate, first_failure, regime_size
from tapedeck.streams.stages.account.rules.orders import Purpose
from tapedeck.streams.stages.account.rules.positions import Kind
from tests.support.account import SECOND, at, make_account

D = Decimal
NOW = at("2026-02-17T14:34:00-05:00")
BAR = NOW - MINUTE_US
NAMES = [gate.name for gate in GATES]
BY_NAME = {gate.name: gate for gate in GATES}


def hours(now: int) -> Hours:
    try:
        session = xnys().session_at(now)
    except CalendarUnknown:
        return Hours(known=False)
    return Hours(True) if session is None else Hours(True, session.open, session.close)


def holding(
    kind: Kind = Kind.CALL,
    qty: int = 1,
    *,
    underlying: str = "NVDA",
    price: str | None = "2.00",
    name: str = "",
) -> Holding:
    size = 1 if kind is Kind.STOCK else 100
    return Holding(
        name or f"{underlying}-{kind}", underlying, kind, D(qty), size, None if price is None else D(price)
    )


def reservation(
    kind: Kind = Kind.CALL,
    remaining: int = 1,
    *,
    underlying: str = "NVDA",
    worst: str = "2.50",
    name: str = "r",
) -> Reservation:
    size = 1 if kind is Kind.STOCK else 100
    up = kind is not Kind.PUT
    return Reservation(
        name, f"{underlying}-{kind}", underlying, kind, up, Purpose.OPEN, D(remaining), D(worst), size
    )


def case(**changes: Any) -> GateInputs:
    """A BUY_CALL in NVDA that every gate lets through."""
    fields: dict[str, Any] = {
        "now": NOW,
        "action": Action.BUY_CALL,
        "underlying": "NVDA",
        "kind": Kind.CALL,
        "identity": Identity.VERIFIED,
        "identity_at": NOW,
        "kill_state": KillState.ACTIVE,
        "hours": hours(at("2026-02-17T11:00:00-05:00"))._replace(close=NOW + 200 * MINUTE_US),
        "confidence": 0.8,
        "signal_bar_t": BAR,
        "newest_bar_t": BAR,
        "newest_feature_t": BAR,
        "session_pnl": D(0),
        "ledger": Ledger(),
        "long_qty": D(0),
        "quantity": D(1),
        "multiplier": 100,
        "worst_price": D("2.02"),
        "equity": D(100_000),
        "buying_power": D(100_000),
        "unshown": D(0),
        "contract_score": 90.0,
        "quote": Priced(D("1.98"), D("2.02"), NOW - SECOND),
        "signal_close": D(100),
        "underlying_price": D(100),
        "stream_healthy": True,
    }
    return GateInputs(**(fields | changes))


def run(gate: str, inputs: GateInputs, **account: Any) -> GateResult:
    return run_gate(BY_NAME[gate], inputs, Rules(make_account(**account), Config()))


def bars(age_us: int) -> int:
    return NOW - MINUTE_US - age_us


def clock(text: str) -> dict[str, Any]:
    return {"now": at(text), "hours": hours(at(text))}


TIGHT = {"max_exposure": D(1500)}
G30_LEDGER = Ledger(holdings=(holding(qty=3, name="x"),), reservations=(reservation(remaining=2),))
ELEVATED = Regime(True, 25.0, 1.0)
PUT_RESERVED = Ledger(reservations=(reservation(Kind.PUT),))
FOUR = tuple(holding(underlying=f"S{i}") for i in range(4))

VECTORS: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "G1": ("confidence", {"confidence": 0.40}, {}, "OK"),
    "G2": ("confidence", {"confidence": 0.399999}, {}, "CONFIDENCE_TOO_LOW"),
    "G3": ("confidence", {"confidence": 0.48, "regime": ELEVATED}, {}, "CONFIDENCE_TOO_LOW"),
    "G4": (
        "action_allowed",
        {"action": Action.BUY_PUT},
        {"allowed_actions": (Action.BUY_CALL,)},
        "ACTION_NOT_ALLOWED",
    ),
    "G5": ("signal_freshness", {"signal_bar_t": bars(300 * SECOND)}, {}, "OK"),
    "G6": ("signal_freshness", {"signal_bar_t": bars(300_001_000)}, {}, "SIGNAL_STALE"),
    "G7": (
        "bar_freshness",
        {"newest_bar_t": at("2026-02-17T14:30:00Z"), "now": at("2026-02-17T14:34:00Z")},
        {},
        "OK",
    ),
    "G8": (
        "bar_freshness",
        {"newest_bar_t": at("2026-02-17T14:30:00Z"), "now": at("2026-02-17T14:34:01Z")},
        {},
        "BAR_STALE",
    ),
    "G9": ("bar_freshness", {"newest_bar_t": None}, {}, "BAR_MISSING"),
    "G10": ("feature_freshness", {"newest_feature_t": bars(301 * SECOND)}, {}, "FEATURE_STALE"),
    "G11": ("signal_freshness", {"signal_bar_t": bars(-3 * SECOND)}, {}, "CLOCK_SKEW"),
    "G12": ("trading_hours", clock("2026-02-16T11:00:00-05:00"), {}, "SESSION_CLOSED"),
    "G13": ("trading_hours", clock("2026-02-17T09:34:59-05:00"), {}, "OPENING_BLACKOUT"),
    "G14": ("trading_hours", clock("2026-02-17T09:35:00-05:00"), {}, "OK"),
    "G15": ("trading_hours", clock("2026-02-17T14:00:00-05:00"), {}, "AFTER_LAST_ENTRY"),
    "G16": ("trading_hours", clock("2026-02-17T13:59:59-05:00"), {}, "OK"),
    "G17": ("trading_hours", clock("2026-11-27T11:00:00-05:00"), {}, "AFTER_LAST_ENTRY"),
    "G18": ("daily_loss_limit", {"session_pnl": D("-499.99")}, {}, "OK"),
    "G19": ("daily_loss_limit", {"session_pnl": D("-500.00")}, {}, "DAILY_LOSS_REACHED"),
    "G20": ("daily_loss_limit", {"session_pnl": None}, {}, "DAILY_PNL_UNKNOWN"),
    "G21": (
        "ticker_daily_limit",
        {"ledger": Ledger(filled_entries=frozenset({"e"}), reservations=(reservation(),))},
        {},
        "TICKER_DAILY_LIMIT",
    ),
    "G22": ("ticker_cooldown", {"ledger": Ledger(last_execution=NOW - 899 * SECOND)}, {}, "TICKER_COOLDOWN"),
    "G23": ("ticker_cooldown", {"ledger": Ledger(last_execution=NOW - 900 * SECOND)}, {}, "OK"),
    "G24": ("sell_stock_position", {"action": Action.SELL_STOCK, "kind": Kind.STOCK}, {}, "NO_LONG_TO_SELL"),
    "G25": ("duplicate_position", {"ledger": Ledger(holdings=(holding(),))}, {}, "DUPLICATE_POSITION"),
    "G26": ("conflicting_direction", {"ledger": PUT_RESERVED}, {}, "CONFLICTING_DIRECTION"),
    "G27": ("max_positions", {"ledger": Ledger(holdings=FOUR)}, {}, "OK"),
    "G28": (
        "max_positions",
        {"ledger": Ledger(holdings=FOUR, reservations=(reservation(),))},
        {},
        "MAX_POSITIONS",
    ),
    "G29": (
        "max_contracts",
        {"ledger": Ledger(holdings=(holding(qty=6),)), "quantity": D(5)},
        {},
        "MAX_CONTRACTS",
    ),
    "G30": ("max_exposure", {"ledger": G30_LEDGER, "worst_price": D("4.00")}, TIGHT, "OK"),
    "G31": ("max_exposure", {"ledger": G30_LEDGER, "worst_price": D("4.01")}, TIGHT, "MAX_EXPOSURE"),
    "G32": (
        "buying_power",
        {"quantity": D(4), "worst_price": D("2.03"), "buying_power": D(1000), "unshown": D(200)},
        {},
        "BUYING_POWER",
    ),
    "G33": ("quote_age", {"quote": Priced(D(1), D(1), NOW - 15 * SECOND)}, {}, "OK"),
    "G34": ("spread", {"quote": Priced(D("1.95"), D("2.05"), NOW)}, {}, "OK"),
    "G35": ("spread", {"quote": Priced(D("1.94"), D("2.05"), NOW)}, {}, "SPREAD_TOO_WIDE"),
    "G36": ("price_drift", {"underlying_price": D("100.50")}, {}, "OK"),
    "G37": ("price_drift", {"underlying_price": D("99.49")}, {}, "PRICE_DRIFT"),
    "G38": ("volatility_regime", {}, {}, "NOT_APPLICABLE"),
    "G39": ("volatility_regime", {"regime": Regime(True, 40.0, 1.0)}, {}, "REGIME_EXTREME"),
    "G40": ("volatility_regime", {"regime": Regime(True, 20.0, 901.0)}, {}, "REGIME_UNKNOWN"),
    "G41": ("pending_capacity", {"ledger": Ledger(orders_in_doubt=1)}, {}, "ORDER_STATE_UNKNOWN"),
    "G42": ("kill_switch", {"kill_state": KillState.REDUCING}, {}, "KILL_SWITCH_REDUCING"),
    "G43": ("account_identity", {"identity": Identity.ACCOUNT_MISMATCH}, {}, "ACCOUNT_MISMATCH"),
}


@pytest.mark.parametrize(("gate", "changes", "account", "reason"), VECTORS.values(), ids=VECTORS)
def test_gate_vector(gate: str, changes: dict[str, Any], account: dict[str, Any], reason: str) -> None:
    result = run(gate, case(**changes), **account)
    assert (result.reason, result.passed) == (reason, reason in ("OK", "NOT_APPLICABLE"))


FIRES: list[tuple[str, dict[str, Any], str]] = [
    ("account_identity", {"identity": Identity.ACCOUNT_UNVERIFIED}, "ACCOUNT_UNVERIFIED"),
    ("account_identity", {"identity_at": NOW - 600 * SECOND - 1}, "ACCOUNT_UNVERIFIED"),
    ("account_identity", {"identity_at": None}, "ACCOUNT_UNVERIFIED"),
    ("kill_switch", {"kill_state": KillState.HALTED}, "KILL_SWITCH_HALTED"),
    ("kill_switch", {"kill_state": None}, "KILL_SWITCH_UNKNOWN"),
    ("trading_hours", {"hours": None}, "CALENDAR_UNKNOWN"),
    ("trading_hours", {"hours": Hours(known=False)}, "CALENDAR_UNKNOWN"),
    ("trading_hours", {**clock("2026-02-17T16:00:00-05:00")}, "SESSION_CLOSED"),
    ("trading_hours", {"halted_since": BAR}, "HALTED"),
    ("confidence", {"confidence": None}, "CONFIDENCE_MISSING"),
    ("confidence", {"regime": Regime(True, None, None)}, "CONFIDENCE_MISSING"),
    ("signal_freshness", {"signal_bar_t": None}, "CLOCK_SKEW"),
    ("bar_freshness", {"newest_bar_t": bars(-3 * SECOND)}, "CLOCK_SKEW"),
    ("feature_freshness", {"newest_feature_t": None}, "FEATURE_MISSING"),
    ("feature_freshness", {"newest_feature_t": bars(-3 * SECOND)}, "CLOCK_SKEW"),
    ("volatility_regime", {"regime": Regime(True, None, 1.0)}, "REGIME_UNKNOWN"),
    ("ticker_daily_limit", {"ledger": None}, "TICKER_DAILY_LIMIT"),
    ("ticker_cooldown", {"ledger": None}, "TICKER_COOLDOWN"),
    ("sell_stock_position", {"action": Action.SELL_STOCK, "long_qty": None}, "POSITION_UNKNOWN"),
    ("duplicate_position", {"ledger": None}, "DUPLICATE_POSITION"),
    ("duplicate_position", {"ledger": Ledger(reservations=(reservation(),))}, "DUPLICATE_POSITION"),
    ("conflicting_direction", {"ledger": None}, "CONFLICTING_DIRECTION"),
    (
        "conflicting_direction",
        {"ledger": Ledger(holdings=(holding(Kind.STOCK, -5),))},
        "CONFLICTING_DIRECTION",
    ),
    ("max_positions", {"ledger": None}, "MAX_POSITIONS"),
    ("max_contracts", {"ledger": None}, "MAX_CONTRACTS"),
    ("max_contracts", {"ledger": Ledger(reservations=(reservation(remaining=10),))}, "MAX_CONTRACTS"),
    ("max_exposure", {"ledger": None}, "EXPOSURE_UNKNOWN"),
    ("max_exposure", {"worst_price": None}, "EXPOSURE_UNKNOWN"),
    ("max_exposure", {"ledger": Ledger(holdings=(holding(price=None),))}, "EXPOSURE_UNKNOWN"),
    ("buying_power", {"buying_power": None}, "BUYING_POWER_UNKNOWN"),
    ("buying_power", {"unshown": None}, "BUYING_POWER_UNKNOWN"),
    ("buying_power", {"kind": Kind.STOCK, "equity": None}, "BUYING_POWER_UNKNOWN"),
    ("buying_power", {"kind": Kind.STOCK, "equity": D(1)}, "BUYING_POWER"),
    ("contract_quality", {"contract_score": None}, "NO_CONTRACT"),
    (
        "contract_quality",
        {"contract_score": None, "contract_reason": ContractReason.WIDE_SPREAD},
        "WIDE_SPREAD",
    ),
    ("contract_quality", {"contract_score": 69.999999}, "QUALITY_TOO_LOW"),
    ("quote_age", {"quote": None}, "QUOTE_MISSING"),
    ("quote_age", {"quote": Priced(D(1), D(1), NOW - 15 * SECOND - 1)}, "QUOTE_STALE"),
    ("quote_age", {"quote": Priced(D(1), D(1), NOW + 1)}, "QUOTE_STALE"),
    ("spread", {"quote": None}, "QUOTE_MISSING"),
    ("spread", {"quote": Priced(None, D(1), NOW)}, "QUOTE_MISSING"),
    ("spread", {"kind": Kind.STOCK, "quote": Priced(D("99.50"), D("100.50"), NOW)}, "SPREAD_TOO_WIDE"),
    ("price_drift", {"underlying_price": None}, "PRICE_MISSING"),
    ("price_drift", {"signal_close": None}, "PRICE_MISSING"),
    (
        "pending_capacity",
        {"ledger": Ledger(reservations=tuple(reservation(name=f"r{i}") for i in range(5)))},
        "PENDING_CAPACITY",
    ),
    ("pending_capacity", {"ledger": Ledger(needs_reconcile=True)}, "NEEDS_RECONCILE"),
    ("pending_capacity", {"stream_healthy": False}, "STREAM_DOWN"),
    ("pending_capacity", {"stream_healthy": None}, "STREAM_DOWN"),
    ("pending_capacity", {"ledger": None}, "STREAM_DOWN"),
]


@pytest.mark.parametrize(("gate", "changes", "reason"), FIRES)
def test_gate_fires(gate: str, changes: dict[str, Any], reason: str) -> None:
    result = run(gate, case(**changes))
    assert (result.passed, result.reason) == (False, reason)


@pytest.mark.parametrize("gate", [name for name in NAMES if name != "volatility_regime"])
def test_gate_passes_a_good_case(gate: str) -> None:
    selling = {"action": Action.SELL_STOCK, "kind": Kind.STOCK, "long_qty": D(3)}
    result = run(gate, case(**(selling if gate == "sell_stock_position" else {})))
    assert (result.applies, result.passed, result.reason) == (True, True, GateReason.OK)


def test_volatility_gate_passes_a_calm_and_fresh_value() -> None:
    assert run("volatility_regime", case(regime=Regime(True, 39.9, 900.0))).reason is GateReason.OK


def test_every_gate_and_every_reason_has_a_test_that_fires_it() -> None:
    fired = {(gate, reason) for gate, _, _, reason in VECTORS.values()} | {(g, r) for g, _, r in FIRES}
    assert {gate for gate, reason in fired if reason != "OK"} == set(NAMES)
    reasons = {reason for _, reason in fired}
    assert set(GateReason) - reasons <= {GateReason.GATE_ERROR, GateReason.EXPIRY_DAY_CUTOFF}


def test_there_are_24_gates_of_which_six_are_asked_for_a_close() -> None:
    assert len(GATES) == len(set(NAMES)) == 24
    asked = [gate.name for gate in GATES if gate.on_close]
    assert asked == [
        "account_identity",
        "trading_hours",
        "action_allowed",
        "confidence",
        "signal_freshness",
        "sell_stock_position",
    ]


def test_a_close_is_asked_only_its_gates() -> None:
    closing = case(
        purpose=Purpose.CLOSE,
        action=Action.SELL_STOCK,
        kind=Kind.STOCK,
        long_qty=D(5),
        kill_state=KillState.HALTED,
        ledger=None,
        quote=None,
        session_pnl=None,
        hours=hours(at("2026-02-17T15:59:00-05:00")),
        now=at("2026-02-17T15:59:00-05:00"),
        signal_bar_t=at("2026-02-17T15:58:00-05:00"),
        identity_at=at("2026-02-17T15:58:00-05:00"),
    )
    results = evaluate(closing, Rules(make_account(), Config()))
    assert first_failure(results) is None
    assert [result.gate for result in results if result.applies] == [g.name for g in GATES if g.on_close]


def test_nothing_stops_at_the_first_failure() -> None:
    bad = case(kill_state=None, confidence=None, quote=None)
    results = evaluate(bad, Rules(make_account(), Config()))
    assert len(results) == 24
    assert [result.gate for result in results if not result.passed] == [
        "kill_switch",
        "confidence",
        "quote_age",
        "spread",
    ]
    assert first_failure(results) == results[1]


def test_a_gate_that_raises_fails() -> None:
    broken = replace(case(), quote="not a quote")  # type: ignore[arg-type]
    result = run("quote_age", broken)
    assert (result.passed, result.reason) == (False, GateReason.GATE_ERROR)
    assert result.observed is not None


def test_everything_unknown_lets_nothing_open() -> None:
    results = evaluate(
        GateInputs(now=NOW, action=Action.BUY_CALL, kind=Kind.CALL), Rules(make_account(), Config())
    )
    lenient = {result.gate for result in results if result.passed}
    assert lenient == {"action_allowed", "volatility_regime", "sell_stock_position"}


def test_an_option_that_expires_today_has_its_own_cutoff() -> None:
    account = {"last_entry_day_min": 30}
    late = clock("2026-02-17T15:00:00-05:00")
    assert run("trading_hours", case(**late), **account).reason is GateReason.OK
    assert (
        run("trading_hours", case(**late, expires_today=True), **account).reason
        is GateReason.EXPIRY_DAY_CUTOFF
    )


def test_a_partly_filled_reservation_is_one_position() -> None:
    both = Ledger(holdings=(*FOUR[:3], holding()), reservations=(reservation(),))
    assert run("max_positions", case(ledger=both)).passed


def test_shorting_is_let_through_only_where_allowed() -> None:
    selling = case(action=Action.SELL_STOCK, kind=Kind.STOCK)
    assert run("sell_stock_position", selling, allow_shorting=True).passed
    assert not run("sell_stock_position", selling).passed


@pytest.mark.parametrize(
    ("value", "size"), [(11.9, "0.8"), (12.0, "1"), (19.9, "1"), (20.0, "0.5"), (30.0, "0.25"), (40.0, "0")]
)
def test_regime_bounds_belong_to_the_higher_regime(value: float, size: str) -> None:
    rules = Rules(make_account(), Config())
    assert regime_size(case(regime=Regime(True, value, 1.0)), rules) == D(size)
    assert regime_size(case(), rules) == 1
    assert regime_size(case(regime=Regime(True)), rules) is None


def test_limits_of_the_four_tiers_are_read_from_the_account() -> None:
    result = run("max_contracts", case(quantity=D(3)), tier="tiny")
    assert (result.reason, result.observed, result.threshold) == (GateReason.MAX_CONTRACTS, "3", "2")
