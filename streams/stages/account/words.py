"""The account stage's reasons in words."""

from collections.abc import Mapping
from enum import StrEnum

from tapedeck.streams.stages.account.decide import Verdict
from tapedeck.streams.stages.account.rules.contracts import ContractReason
from tapedeck.streams.stages.account.rules.exits import ExitRule
from tapedeck.streams.stages.account.rules.gate_reasons import GateReason
from tapedeck.streams.stages.account.rules.orders import OrderReason, OrderState
from tapedeck.streams.stages.account.rules.positions import ExecutionReason
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
    OrderReason.REPRICED: "the order's time at its price was over; another one followed, if all still held",
    OrderReason.REPRICE_EXHAUSTED: "the last step of the ladder was not filled in its time",
    OrderReason.CANCELLED_BY_KILL: "the kill switch lets nothing open",
    OrderReason.CANCELLED_STALE_QUOTE: "the quote for the next step was too old, or there was none",
    OrderReason.CANCELLED_SPREAD: "bid and ask were too far apart for the next step",
    OrderReason.CANCELLED_DRIFT: "the underlying had moved too far from the signal for the next step",
    OrderReason.CANCELLED_STREAM_DOWN: "the stream of trade updates was down when the next step was due",
    OrderReason.CANCELLED_FOR_CLOSE: "a close of the same instrument goes first",
    OrderReason.CANCELLED_REDUCED: "the position became smaller than the order that closes it",
    OrderReason.EXECUTIONS_NOT_LISTED: "the broker reported fills and never listed their executions",
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

EXITS: Mapping[StrEnum, str] = {
    ExitRule.KILL_SWITCH_FLATTEN: "the account is HALTED, and a halt closes everything",
    ExitRule.MANUAL_CLOSE: "a person commanded it",
    ExitRule.EXPIRY_CLOSE: "the contract expires today and the close is near",
    ExitRule.DAY_TRADE_CLOSE: "a day trade ends with the session",
    ExitRule.GAP_FADE_TIME_EXIT: "a gap fade has its time after the open",
    ExitRule.HARD_STOP: "the option lost too much right after the entry",
    ExitRule.STOP_LOSS: "the option lost too much",
    ExitRule.PROFIT_TARGET: "the option earned what was wanted",
    ExitRule.STOCK_STOP: "the stock lost too much",
    ExitRule.STOCK_TARGET: "the stock earned what was wanted",
    ExitRule.SIGNAL_CLOSE: "a SELL_STOCK signal was approved",
    ExitRule.TRAILING_STOP: "too much of the highest profit was gone",
    ExitRule.THETA_DECAY: "a losing swing option is close to its expiry",
    ExitRule.EOD_EXTREME_REGIME: "no option is kept near the close in an extreme market",
    ExitRule.EOD_EARNINGS: "earnings come before the next open",
    ExitRule.EOD_THETA: "near its expiry the option's time value falls too fast for the night",
    ExitRule.EOD_DAY_W0: "a day-trade option loses too much 90 minutes before the close",
    ExitRule.EOD_DAY_W1: "a day-trade option loses too much 60 minutes before the close",
    ExitRule.EOD_DAY_W2: "a day-trade option loses 30 minutes before the close",
    ExitRule.EOD_DAY_W3: "a day-trade option ends with the session",
    ExitRule.EOD_SWING_W1: "a swing option fails two of the conditions for the night",
    ExitRule.EOD_SWING_W2: "a swing option fails a condition for the night",
    ExitRule.EOD_SWING_W3: "a swing option fails a condition for the night",
    ExitRule.EOD_AGGREGATE_LIMIT: "the swing options are worth more than may stay overnight",
    ExitRule.MAX_HOLD: "it was held as long as its strategy allows",
}

UNORDERED: Mapping[StrEnum, str] = {
    ExecutionReason.RECON_ADJUST: "the broker's quantity differed twice, and nothing explains it",
    ExecutionReason.BROKER_LIQUIDATION: "another order reduced the position: the broker's own, or a person's",
}

DROPS: Mapping[StrEnum, str] = {
    AccountDrop.DUPLICATE: "the account had this signal already",
    AccountDrop.DUPLICATE_EXECUTION: "the account had this execution already",
    AccountDrop.EXECUTION_TOO_OLD: "the execution is older than those that are remembered",
    AccountDrop.FROM_THE_FUTURE: "its time is far later than the account's clock",
    AccountDrop.STALE_REPLY: "the broker's answer is older than what is known",
    AccountDrop.UNKNOWN_ORDER: "the order is not the account's",
    AccountDrop.UNASKED_ANSWER: "nobody had asked",
    AccountDrop.UNRECOGNISED_ROW: "the broker lists a row that is not understood; its symbol waits",
    AccountDrop.NO_SUCH_TARGET: "a person's command names no position, or no adjustment, that is open",
    AccountDrop.OLD_HALT: "the account knows a newer halt or resumption of the symbol",
}

UNSTATED: Mapping[StrEnum, str] = {
    Unstated.NO_PROPOSAL: "the account has not decided the signal: its dispatcher is stopped, or waits",
    Unstated.NO_ORDER: "the proposal was approved and no order followed: the dispatcher stopped",
    Unstated.NO_EXECUTION: "the broker has the order and nothing of it was filled yet",
    Unstated.TRADED: "nothing stood in the way: the order was filled",
}
