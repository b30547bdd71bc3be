"""The account stage's reasons in words."""

from collections.abc import Mapping
from enum import StrEnum

from tapedeck.streams.stages.account.decide import Verdict
from tapedeck.streams.stages.account.rules.contracts import ContractReason
from tapedeck.streams.stages.account.rules.gate_reasons import GateReason
from tapedeck.streams.stages.account.rules.orders import OrderReason, OrderState
from tapedeck.streams.stages.account.rules.sizing import SizeReason
from tapedeck.streams.stages.account.state import AccountDrop
from tapedeck.streams.stages.account.trail import Unstated

VERDICTS: Mapping[StrEnum, str] = {
    Verdict.APPROVED: "every gate passed and the size is one unit or more",
    Verdict.REFUSED: "a gate refused",
    Verdict.NOT_SIZED: "every gate passed and the size is zero",
    Verdict.SHADOWED: "it would have been approved; the account decides and never sends",
}

GATES: Mapping[StrEnum, str] = {reason: reason.words for reason in GateReason}

CONTRACTS: Mapping[StrEnum, str] = {
    ContractReason.NON_STANDARD: "the contract is not a standard one",
    ContractReason.EXPIRED: "the contract has expired",
    ContractReason.EXPIRY_CUTOFF: "the contract expires today and the close is too near",
    ContractReason.NO_QUOTE: "the contract has no usable quote",
    ContractReason.QUOTE_STALE: "the contract's quote is too old",
    ContractReason.WIDE_SPREAD: "the contract's bid and ask are too far apart",
    ContractReason.PREMIUM_TOO_LOW: "the contract is too cheap",
    ContractReason.LOW_VOLUME: "the contract is traded too little",
    ContractReason.LOW_OPEN_INTEREST: "too few of the contract are open",
    ContractReason.QUALITY_TOO_LOW: "the best contract's score is too low",
    ContractReason.NO_CONTRACT: "no contract in the window passes the filters",
}

SIZES: Mapping[StrEnum, str] = {
    SizeReason.SIZE_OK: "the size is what the risk allows",
    SizeReason.SIZE_CAPPED_CONTRACTS: "the size is the account's most contracts",
    SizeReason.SIZE_CAPPED_POSITION_PCT: "the size is the account's most for one position",
    SizeReason.SIZE_BELOW_ONE_UNIT: "what may be risked does not pay for one unit",
    SizeReason.SIZE_INPUT_MISSING: "equity, risk or price is unknown, so there is no size",
}

ORDERS: Mapping[StrEnum, str] = {
    OrderReason.SENT: "the order was sent",
    OrderReason.BROKER_REJECTED: "the broker refused the order",
    OrderReason.STATE_UNKNOWN: "nobody knows what became of the order; the broker is being asked",
    OrderReason.NOT_FOUND_AT_BROKER: "the broker does not know the order: it was never sent",
    OrderReason.SHADOW_NOT_SENT: "the account decides and never sends",
    OrderReason.KEPT_BACK: "the dispatcher did not send the order; the detail says why",
}

STATES: Mapping[StrEnum, str] = {
    OrderState.INTENT: "the order is about to be sent",
    OrderState.SUBMITTED: "the order was sent and is not accepted yet",
    OrderState.ACCEPTED: "the broker has the order and nothing is filled yet",
    OrderState.PARTIAL: "a part of the order is filled",
    OrderState.CANCEL_PENDING: "the order is being cancelled",
    OrderState.UNKNOWN: "nobody knows what became of the order; the broker is being asked",
    OrderState.UNRECOGNISED: "the broker names a state that is not known here",
    OrderState.FILLED: "the order is filled",
    OrderState.CANCELED: "the order was cancelled",
    OrderState.EXPIRED: "the order expired unfilled",
    OrderState.REJECTED: "the broker refused the order",
    OrderState.DONE_FOR_DAY: "the broker ended the order for the day",
    OrderState.REPLACED: "another order took this one's place",
    OrderState.NOT_SENT: "the order was never sent",
}

DROPS: Mapping[StrEnum, str] = {
    AccountDrop.DUPLICATE: "the account had this signal already",
    AccountDrop.DUPLICATE_EXECUTION: "the account had this execution already",
    AccountDrop.EXECUTION_TOO_OLD: "the execution is older than those that are remembered",
    AccountDrop.STALE_REPLY: "the broker's answer is older than what is known",
    AccountDrop.UNKNOWN_ORDER: "the order is not the account's",
    AccountDrop.UNASKED_ANSWER: "nobody had asked",
    AccountDrop.UNRECOGNISED_ROW: "the broker lists a row that is not understood; its symbol waits",
    AccountDrop.OLD_HALT: "the account knows a newer halt or resumption of the symbol",
}

UNSTATED: Mapping[StrEnum, str] = {
    Unstated.NO_PROPOSAL: "the account has not decided the signal: its dispatcher is stopped, or waits",
    Unstated.NO_ORDER: "the proposal was approved and no order followed: the dispatcher stopped",
    Unstated.NO_EXECUTION: "the broker has the order and nothing of it was filled yet",
    Unstated.TRADED: "nothing stood in the way: the order was filled",
}
