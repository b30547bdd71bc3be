"""Signals on their way to a decision: what to ask for, which answers came, whose turn it is.

Signals are decided in inbox order: a later one waits for the one before it, so that every reservation
counts. A signal whose answers do not come is decided without them, and the gates refuse unknown values.
"""

from typing import Any

from pydantic import TypeAdapter, ValidationError

from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.sessions import CalendarUnknown
from tapedeck.streams.stages.account import fills, parents
from tapedeck.streams.stages.account.broker import needs_reconcile
from tapedeck.streams.stages.account.decide import KINDS, decide, equity
from tapedeck.streams.stages.account.order_state import Quoted
from tapedeck.streams.stages.account.rules.contracts import ContractQuote, Moment, Window, choose, window
from tapedeck.streams.stages.account.rules.money import bar_price
from tapedeck.streams.stages.account.rules.occ import Right
from tapedeck.streams.stages.account.rules.positions import describe
from tapedeck.streams.stages.account.rules.requests import FetchAccount, FetchBroker, FetchChain, FetchQuote
from tapedeck.streams.stages.account.state import (
    ANSWER_TIMEOUT_US,
    AccountDrop,
    Candidate,
    Evaluation,
    Signal,
)
from tapedeck.streams.stages.account.turn import Turn

_SIGNAL = TypeAdapter(Signal)
_CONTRACT = TypeAdapter(ContractQuote)


def on_signal(turn: Turn, payload: dict[str, Any]) -> None:
    """Accept a signal, once per signal_id, and ask for what its decision needs."""
    state = turn.state
    if payload["signal_id"] in state.seen:
        return turn.drop(AccountDrop.DUPLICATE)
    try:
        signal = _SIGNAL.validate_python({name: payload[name] for name in Signal.__dataclass_fields__})
    except ValidationError as error:
        first = error.errors()[0]
        what = f"the signal's {first['loc'][0]} is not usable: {first['msg']}"
        raise DeadLetter(what, value=first["input"], reason="BAD_SIGNAL") from None
    state.seen[signal.signal_id] = turn.session
    evaluation = Evaluation(signal=signal, arrived=turn.now, inputs=[turn.event])
    state.pending.append(evaluation)
    _ask_missing(turn, evaluation)
    return None


def _wait_for(evaluation: Evaluation, slot: str, request_id: str) -> None:
    evaluation.asked[slot] = request_id
    evaluation.waiting.append(request_id)


def _window(turn: Turn, signal: Signal) -> Window | None:
    """The chain window of an option signal; None for stock or without a price to centre it on."""
    kind = KINDS.get(signal.action)
    if kind is None or signal.close is None or signal.close <= 0:
        return None
    return window(turn.config.contract, signal.strategy, Right(kind), bar_price(signal.close), turn.session)


def _ask_missing(turn: Turn, evaluation: Evaluation) -> None:
    """Ask for everything that the decision needs and that was not asked for yet; each thing once."""
    signal, asked = evaluation.signal, evaluation.asked
    if "account" not in asked and equity(turn) is None:
        known = turn.outstanding(FetchAccount)
        account = FetchAccount(request_id=turn.new_id("FETCH_ACCOUNT"))
        _wait_for(evaluation, "account", known or turn.ask(account))
    if "broker" not in asked and needs_reconcile(turn, signal.symbol):
        known = turn.outstanding(FetchBroker)
        broker = FetchBroker(request_id=turn.new_id("FETCH_BROKER"))
        _wait_for(evaluation, "broker", known or turn.ask(broker))
    if "quote" not in asked:
        _ask_quote(turn, evaluation, "quote", signal.symbol)
    asked_window = _window(turn, signal)
    if "chain" not in asked and asked_window is not None:
        chain = FetchChain(
            request_id=turn.new_id("FETCH_CHAIN", signal.signal_id),
            underlying=signal.symbol,
            right=Right(KINDS[signal.action]),
            expiry_from=asked_window.expiry_from,
            expiry_to=asked_window.expiry_to,
            strike_from=asked_window.strike_from,
            strike_to=asked_window.strike_to,
        )
        _wait_for(evaluation, "chain", turn.ask(chain))
    for instrument, _ in fills.open_positions(turn):
        slot = f"mark:{instrument}"
        if fills.expired_before(turn, instrument):
            continue
        if slot not in asked and fills.fresh_mark(turn, instrument) is None:
            _ask_quote(turn, evaluation, slot, instrument)


def _ask_quote(turn: Turn, evaluation: Evaluation, slot: str, instrument: str) -> None:
    known = turn.outstanding(FetchQuote, instrument)
    underlying = describe(instrument).underlying
    identity = turn.new_id("FETCH_QUOTE", instrument)
    request = FetchQuote(request_id=identity, instrument=instrument, underlying=underlying)
    _wait_for(evaluation, slot, known or turn.ask(request))


def answered(turn: Turn, request_id: str) -> list[Evaluation]:
    """Release the evaluations that waited for this answer, and return them."""
    waited = [evaluation for evaluation in turn.state.pending if request_id in evaluation.waiting]
    for evaluation in waited:
        evaluation.waiting.remove(request_id)
        evaluation.inputs.append(turn.event)
    return waited


def on_quote(turn: Turn, payload: dict[str, Any]) -> None:
    """Keep a quote as a mark and for the evaluation that asked for it."""
    bid, ask, time = payload["bid"], payload["ask"], payload["quote_time"]
    fills.see_quote(turn, payload["instrument"], bid, ask, at=time, theta=payload["theta"])
    if payload["trade_price"] and payload["trade_time"] is not None:
        fills.see_trade(turn, payload["instrument"], float(payload["trade_price"]), payload["trade_time"])
    if turn.state.outstanding.pop(payload["request_id"], None) is None:
        return turn.drop(AccountDrop.UNASKED_ANSWER)
    if fills.fresh_mark(turn, payload["instrument"]) is None:
        turn.state.unquoted[payload["instrument"]] = turn.now
    else:
        turn.state.unquoted.pop(payload["instrument"], None)
    quote = None
    if payload["error"] is None:
        quote = Quoted(
            instrument=payload["instrument"],
            feed=payload["feed"],
            origin=payload["origin"],
            quote_time=time,
            bid=bid,
            ask=ask,
        )
    parents.take_quote(turn, payload["request_id"], quote)
    for evaluation in answered(turn, payload["request_id"]):
        if quote is not None and evaluation.asked.get("quote") == payload["request_id"]:
            evaluation.quote = quote
    return None


def _moment(turn: Turn) -> Moment:
    cutoff = None
    try:
        session = turn.calendar.session_on(turn.session)
        cutoff = session.before_close(turn.config.gate.expiry_cutoff_min) if session else None
    except CalendarUnknown:
        cutoff = None  # nothing that expires today opens
    return Moment(turn.now, turn.session, cutoff)


def on_chain(turn: Turn, payload: dict[str, Any]) -> None:
    """Choose the contract of the evaluation that asked; held contracts get their mark."""
    if turn.state.outstanding.pop(payload["request_id"], None) is None:
        return turn.drop(AccountDrop.UNASKED_ANSWER)
    chain = [_CONTRACT.validate_python(contract) for contract in payload["contracts"]]
    held = {instrument for instrument, _ in fills.open_positions(turn)}
    for contract in chain:
        if contract.symbol in held:
            fills.see_quote(
                turn,
                contract.symbol,
                contract.bid,
                contract.ask,
                at=contract.quote_time,
                theta=contract.theta,
            )
    for evaluation in answered(turn, payload["request_id"]):
        asked = _window(turn, evaluation.signal)
        if payload["error"] is not None or asked is None:
            continue
        gate, right = turn.config.gate, Right(KINDS[evaluation.signal.action])
        choice = choose(
            turn.config.contract, gate.quote_s, chain, right=right, asked=asked, moment=_moment(turn)
        )
        if choice.contract is not None:
            best = choice.contract
            fills.see_quote(turn, best.symbol, best.bid, best.ask, at=best.quote_time, theta=best.theta)
        evaluation.candidate = Candidate(
            feed=payload["feed"],
            origin=payload["origin"],
            contract=choice.contract,
            score=choice.score,
            reason=choice.reason,
            detail=" ".join(f"{reason} {count}" for reason, count in choice.refused.items()) or None,
        )
    return None


def advance(turn: Turn) -> None:
    """Decide every signal whose turn has come and whose answers are in, or overdue."""
    pending = turn.state.pending
    while pending:
        first = pending[0]
        _ask_missing(turn, first)
        if first.waiting and turn.now - first.arrived < ANSWER_TIMEOUT_US:
            return
        for request_id in first.waiting:
            if not any(request_id in other.waiting for other in pending[1:]):
                turn.state.outstanding.pop(request_id, None)
        pending.pop(0)
        decide(turn, first)
