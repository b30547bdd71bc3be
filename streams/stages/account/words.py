"""The account stage's reasons in words."""

from collections.abc import Mapping
from enum import StrEnum

from tapedeck.streams.stages.account.decide import Verdict
from tapedeck.streams.stages.account.rules.contracts import ContractReason
from tapedeck.streams.stages.account.rules.gate_types import GateReason
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

GATES: Mapping[StrEnum, str] = {
    GateReason.OK: "the gate passed",
    GateReason.NOT_APPLICABLE: "the gate is not asked for this",
    GateReason.GATE_ERROR: "the gate failed, so it refuses",
    GateReason.ACCOUNT_MISMATCH: "the account behind the credentials is not the configured one",
    GateReason.ACCOUNT_UNVERIFIED: "the account behind the credentials was not checked lately",
    GateReason.KILL_SWITCH_REDUCING: "the kill switch lets positions only be closed",
    GateReason.KILL_SWITCH_HALTED: "the kill switch is on",
    GateReason.KILL_SWITCH_UNKNOWN: "nobody has said whether the kill switch is off",
    GateReason.SESSION_CLOSED: "the market is closed",
    GateReason.OPENING_BLACKOUT: "the session opened too short a time ago",
    GateReason.AFTER_LAST_ENTRY: "the close is too near for a new entry",
    GateReason.EXPIRY_DAY_CUTOFF: "the contract expires today and the close is too near",
    GateReason.CALENDAR_UNKNOWN: "the calendar does not know the date",
    GateReason.ACTION_NOT_ALLOWED: "the account may not do this",
    GateReason.CONFIDENCE_TOO_LOW: "the confidence is below the account's threshold",
    GateReason.CONFIDENCE_MISSING: "the confidence is unknown",
    GateReason.SIGNAL_STALE: "the signal is too old",
    GateReason.BAR_STALE: "the symbol's newest bar is too old",
    GateReason.BAR_MISSING: "no bar of the symbol is known",
    GateReason.FEATURE_STALE: "the symbol's newest feature is too old",
    GateReason.FEATURE_MISSING: "no feature of the symbol is known",
    GateReason.CLOCK_SKEW: "the record is from the future: two clocks disagree",
    GateReason.REGIME_EXTREME: "the volatility regime is extreme",
    GateReason.REGIME_UNKNOWN: "the volatility regime is unknown",
    GateReason.DAILY_LOSS_REACHED: "the account has lost its day's limit",
    GateReason.DAILY_PNL_UNKNOWN: "what the account won or lost today is unknown",
    GateReason.TICKER_DAILY_LIMIT: "the account has entered this symbol often enough today",
    GateReason.TICKER_COOLDOWN: "the account's last execution in this symbol is too recent",
    GateReason.NO_LONG_TO_SELL: "there is no stock to sell, and the account may not go short",
    GateReason.POSITION_UNKNOWN: "what the account holds is unknown",
    GateReason.DUPLICATE_POSITION: "the account holds or has ordered the same kind already",
    GateReason.CONFLICTING_DIRECTION: "the account leans the other way in this symbol",
    GateReason.MAX_POSITIONS: "the account has as many positions as it may",
    GateReason.MAX_CONTRACTS: "the account would have more contracts of this symbol than it may",
    GateReason.MAX_EXPOSURE: "the account would have more at stake than it may",
    GateReason.EXPOSURE_UNKNOWN: "what the account has at stake is unknown",
    GateReason.BUYING_POWER: "the order costs more than the account can pay",
    GateReason.BUYING_POWER_UNKNOWN: "what the account can pay is unknown",
    GateReason.QUOTE_STALE: "the quote is too old",
    GateReason.QUOTE_MISSING: "there is no usable quote",
    GateReason.SPREAD_TOO_WIDE: "bid and ask are too far apart",
    GateReason.PRICE_DRIFT: "the price has moved too far since the signal",
    GateReason.PRICE_MISSING: "the price now is unknown",
    GateReason.PENDING_CAPACITY: "the account has as many orders under way as it may",
    GateReason.ORDER_STATE_UNKNOWN: "an order of the account is in doubt",
    GateReason.NEEDS_RECONCILE: "the account's positions were not yet compared with the broker's, or differ",
    GateReason.STREAM_DOWN: "the stream of trade updates is down",
}

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
}

UNSTATED: Mapping[StrEnum, str] = {
    Unstated.NO_PROPOSAL: "the account has not decided the signal: its dispatcher is stopped, or waits",
    Unstated.NO_ORDER: "the proposal was approved and no order followed: the dispatcher stopped",
    Unstated.NO_EXECUTION: "the broker has the order and nothing of it was filled yet",
    Unstated.TRADED: "nothing stood in the way: the order was filled",
}
