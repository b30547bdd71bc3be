"""Where a signal ended at one account: the gate that refused it, its size, its order."""

from collections import defaultdict
from collections.abc import Callable
from enum import StrEnum

from tapedeck.streams.config.document import Config
from tapedeck.streams.funnel import Body, Recorded
from tapedeck.streams.stages.account.decide import Verdict
from tapedeck.streams.stages.account.funnel import AccountBook
from tapedeck.streams.stages.account.misses import miss_of_gate
from tapedeck.streams.stages.account.rules.contracts import ContractReason
from tapedeck.streams.stages.account.rules.gate_reasons import GateReason
from tapedeck.streams.stages.account.rules.orders import TERMINAL, OrderReason, OrderState
from tapedeck.streams.stages.account.rules.sizing import SizeReason
from tapedeck.streams.stages.account.told import told_order
from tapedeck.streams.trail import Ended, Trail

PROPOSALS, ORDERS, EXECUTIONS = PLACES = ("proposals", "orders", "executions")


class Unstated(StrEnum):
    """Outcomes that no record states: something that should exist is missing, or nothing was in the way."""

    NO_PROPOSAL = "NO_PROPOSAL"
    NO_ORDER = "NO_ORDER"
    NO_EXECUTION = "NO_EXECUTION"
    TRADED = "TRADED"


def _of_account(recording: Recorded, config: Config, account_id: str) -> Callable[[int], list[Ended]]:
    book = AccountBook(recording, account_id)
    by_bar: dict[int, list[Body]] = defaultdict(list)
    for signal in (each for name in recording.signal_topics for each in recording.bodies(name)):
        by_bar[signal["bar_t"]].append(signal)
    return lambda t: [_of_signal(signal, book) for signal in by_bar.get(t, ())]


def _of_signal(signal: Body, book: AccountBook) -> Ended:
    """Where ``signal`` ended at the account of ``book``; TRADED if any of its order was filled."""
    proposal = next((each for each in book.proposals if each["signal_id"] == signal["signal_id"]), None)
    if proposal is None:
        return Ended(PROPOSALS, Unstated.NO_PROPOSAL)
    match Verdict(proposal["verdict"]):
        case Verdict.REFUSED:
            return _refused([gate for gate in proposal["gates"] if not gate["passed"]])
        case Verdict.NOT_SIZED:
            return Ended(PROPOSALS, SizeReason(proposal["sizing_reason"]))
        case Verdict.SHADOWED:
            return Ended(PROPOSALS, Verdict.SHADOWED)
    return _of_order(proposal, book)


def _refused(failed: list[Body]) -> Ended:
    """The first gate that failed gives the reason; the others are listed beside it."""
    gate, miss = failed[0], miss_of_gate(failed[0])
    told = [f"gate {gate['gate']}"]
    if miss is None and gate["observed"]:
        told.append(f"it saw {gate['observed']}")
    if len(failed) > 1:
        told.append(f"{', '.join(each['gate'] for each in failed[1:])} refused as well")
    return Ended(PROPOSALS, _reason_of(gate), miss, ", ".join(told))


def _reason_of(gate: Body) -> ContractReason | GateReason | str:
    reason = str(gate["reason"])
    if gate["gate"] == "contract_quality" and reason in ContractReason.__members__:
        return ContractReason[reason]
    return GateReason[reason] if reason in GateReason.__members__ else reason


def _of_order(proposal: Body, book: AccountBook) -> Ended:
    """What became of an approved proposal: its last order says it, unless one of them was filled."""
    orders = book.orders_for(proposal)
    if not orders:
        return Ended(ORDERS, Unstated.NO_ORDER)
    last = orders[-1][-1]
    state, reason = OrderState(last["state"]), OrderReason(last["reason"]) if last["reason"] else None
    if not any(records[0]["client_order_id"] in book.taken_by_broker for records in orders):
        return Ended(ORDERS, reason or state, None, last["detail"] or "")
    for records in orders:
        if book.executed_qty.get(records[0]["client_order_id"]):
            return Ended(EXECUTIONS, Unstated.TRADED, None, told_order(records[-1]))
    if state in TERMINAL:
        return Ended(EXECUTIONS, reason or state, None, told_order(last))
    return Ended(EXECUTIONS, Unstated.NO_EXECUTION, None, told_order(last))


TRAIL = Trail(topic=PROPOSALS, places=PLACES, nothing=Unstated.NO_PROPOSAL, of_account=_of_account)
