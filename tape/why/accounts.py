"""Where a signal ended at one account: the gate that refused it, its size, its order."""

from collections.abc import Callable
from functools import partial
from typing import Any

from tapedeck.streams.misses import Miss
from tapedeck.streams.stages.account.decide import Verdict
from tapedeck.streams.stages.account.funnel import AccountBook
from tapedeck.streams.stages.account.rules.contracts import ContractReason
from tapedeck.streams.stages.account.rules.gate_types import GateReason
from tapedeck.streams.stages.account.rules.orders import TERMINAL, OrderReason, OrderState
from tapedeck.streams.stages.account.rules.sizing import SizeReason
from tapedeck.streams.stages.account.told import order as told_of_order
from tapedeck.tape.why.outcome import Ending, Outcome, named
from tapedeck.tape.why.words import Missing

Body = dict[str, Any]
OfGate = Callable[[Body], Miss | None]
"""How far a gate was from passing."""


def of_signal(signal: Body, book: AccountBook, of_gate: OfGate, ended: Ending) -> Outcome:
    """Where ``signal`` ended at the account of ``book``; TRADED where something of its order was filled."""
    t, account = signal["bar_t"], book.account_id
    proposal = next((each for each in book.proposals if each["signal_id"] == signal["signal_id"]), None)
    if proposal is None:
        return ended(t, "proposals", Missing.NO_PROPOSAL, account=account)
    match Verdict(proposal["verdict"]):
        case Verdict.REFUSED:
            return _refused(
                t, account, [gate for gate in proposal["gates"] if not gate["passed"]], of_gate, ended
            )
        case Verdict.NOT_SIZED:
            reason = SizeReason(proposal["sizing_reason"])
            return ended(t, "proposals", reason, account=account)
        case Verdict.SHADOWED:
            return ended(t, "proposals", Verdict.SHADOWED, account=account)
    return _of_order(t, proposal["client_order_id"], book, ended)


def _refused(t: int, account: str, failed: list[Body], of_gate: OfGate, ended: Ending) -> Outcome:
    """The first gate that refused names the reason; the others are said beside it."""
    gate, miss = failed[0], of_gate(failed[0])
    enums = (ContractReason, GateReason) if gate["gate"] == "contract_quality" else (GateReason,)
    told = [f"gate {gate['gate']}"]
    if miss is None and gate["observed"]:
        told.append(f"it saw {gate['observed']}")
    if len(failed) > 1:
        told.append(f"{', '.join(each['gate'] for each in failed[1:])} refused as well")
    reason = named(gate["reason"], *enums)
    return ended(t, "proposals", reason, account=account, miss=miss, detail=", ".join(told))


def _of_order(t: int, order_id: str, book: AccountBook, ended: Ending) -> Outcome:
    """What became of an approved proposal."""
    order = partial(ended, t, account=book.account_id)
    states = book.orders.get(order_id)
    if states is None:
        return order(stage="orders", reason=Missing.NO_ORDER)
    last = states[-1]
    state = OrderState(last["state"])
    if order_id not in book.taken_by_broker:
        reason = OrderReason(last["reason"]) if last["reason"] else state
        return order(stage="orders", reason=reason, detail=last["detail"] or "")
    detail = told_of_order(last)
    if book.executed_qty.get(order_id):
        return order(stage="executions", reason=Missing.TRADED, detail=detail)
    reason_of_none = state if state in TERMINAL else Missing.NO_EXECUTION
    return order(stage="executions", reason=reason_of_none, detail=detail)
