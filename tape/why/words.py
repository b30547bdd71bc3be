"""Every reason of every stage in words: what a person reads in ``tape why`` and in docs/explain.md.

One table beside the enums of ``tape.docs.REASONS``; a test holds that no reason is without words.
"""

from enum import StrEnum

from tapedeck.streams.stages.account.decide import Verdict
from tapedeck.streams.stages.account.rules.contracts import ContractReason as C
from tapedeck.streams.stages.account.rules.gate_types import GateReason as G
from tapedeck.streams.stages.account.rules.orders import OrderReason, OrderState
from tapedeck.streams.stages.account.rules.sizing import SizeReason
from tapedeck.streams.stages.account.state import AccountDrop
from tapedeck.streams.stages.features.reasons import FeatureReason
from tapedeck.streams.stages.scores.reasons import ScoreReason
from tapedeck.streams.stages.signals.reasons import SignalDrop, SignalReason
from tapedeck.streams.stages.watchlist.reasons import WatchlistDrop, WatchlistReason
from tapedeck.tape.demo.line import FunnelReason


class Missing(StrEnum):
    """Reasons that no record states: something that should be there is not, or nothing is in the way."""

    NO_BAR = "NO_BAR"
    STAGE_BEHIND = "STAGE_BEHIND"
    NO_FEATURE = "NO_FEATURE"
    NO_SCORE = "NO_SCORE"
    NO_LIST = "NO_LIST"
    NO_DECISION = "NO_DECISION"
    NO_PROPOSAL = "NO_PROPOSAL"
    NO_ORDER = "NO_ORDER"
    NO_EXECUTION = "NO_EXECUTION"
    TRADED = "TRADED"


_F, _W, _S = FeatureReason, WatchlistReason, SignalReason
_ORDER = OrderState

WORDS: dict[type[StrEnum], dict[StrEnum, str]] = {
    Missing: {
        Missing.NO_BAR: "no bar of this minute arrived: nothing traded, or the source did not send it",
        Missing.STAGE_BEHIND: "the stage has not ended this minute: it is stopped, stuck or far behind",
        Missing.NO_FEATURE: "the bar is on the log, its minute has ended, and features gave nothing",
        Missing.NO_SCORE: "no score of the symbol has been computed yet",
        Missing.NO_LIST: "no watchlist that knows the symbol has been made yet",
        Missing.NO_DECISION: "the feature is on the log, its minute has ended, and signals gave nothing",
        Missing.NO_PROPOSAL: "the account has not decided the signal: its dispatcher is stopped, or waits",
        Missing.NO_ORDER: "the proposal was approved and no order followed: the dispatcher stopped",
        Missing.NO_EXECUTION: "the broker has the order and nothing of it was filled yet",
        Missing.TRADED: "nothing stood in the way: the order was filled",
    },
    FunnelReason: {
        FunnelReason.DUPLICATE: "the same record was there already",
        FunnelReason.UNREADABLE: "the record cannot be decoded",
        FunnelReason.LATE: "the bar came too long after newer ones; it lies in bars.late",
        FunnelReason.REVISION_AUDITED: "the bar was decided before it was revised; the revision would have "
        "decided otherwise",
    },
    FeatureReason: {
        _F.BAD_BAR: "the bar breaks a rule of valid bars; it lies in dead_letters",
        _F.OUTSIDE_SESSION: "the bar lies outside the regular session",
        _F.CALENDAR_UNKNOWN: "the calendar does not know the bar's date",
        _F.DUPLICATE_BAR: "the bar was there already, in this or a newer revision",
    },
    ScoreReason: {
        ScoreReason.FEED_NOT_SELECTED: "the feature is of another feed than the configured one",
        ScoreReason.DUPLICATE: "the same feature was there already",
        ScoreReason.SUPERSEDED: "a newer feature was there already",
    },
    WatchlistReason: {
        _W.ENTER_SCORE: "the score is high enough to be on the list",
        _W.BACKFILL: "the symbol fills the list up, with a score below entry",
        _W.UNIVERSE_REMOVED: "the symbol left the universe, and so the list",
        _W.STALE: "the symbol left the list: its newest bar is too old",
        _W.SCORE_BELOW_EXIT: "the symbol left the list: its score was below exit for too long",
        _W.CAPPED: "the symbol left the list: others with a better score fill it",
        _W.BACKFILL_ENDED: "the symbol no longer fills the list up: others do, or its score is too low",
        _W.NOT_SELECTED_CAP: "the score is high enough, but the list is full of better ones",
        _W.NOT_IN_UNIVERSE: "the symbol is not in the universe",
        _W.NO_FRESH_BAR: "the symbol's newest bar is too old to be listed",
        _W.NOT_SCORED: "the score cannot be computed: a feature that it needs is unknown",
        _W.SCORE_BELOW_ENTRY: "the score is too low to enter the list",
    },
    WatchlistDrop: {
        WatchlistDrop.DUPLICATE: "the same score or universe was there already",
        WatchlistDrop.SUPERSEDED: "a newer score or universe was there already",
        WatchlistDrop.NO_UNIVERSE: "there is no universe yet, so there is no list",
    },
    SignalReason: {
        _S.OPTION_DAY_TRADE: "an option for the day: setup, confidence and volume are enough",
        _S.OPTION_SWING_TRADE: "an option for days: setup and confidence are enough, not for the day",
        _S.STOCK_WEAK_TREND: "stock: the trend is too weak for an option",
        _S.STOCK_HIGH_VOL: "stock: the volatility is too high for an option",
        _S.GAP_FADE: "an option against a wide opening gap",
        _S.OUTSIDE_SESSION: "the bar lies outside the regular session",
        _S.NOT_ON_WATCHLIST: "the symbol is not on the watchlist",
        _S.NOT_READY: "too few bars are in the window yet",
        _S.NO_FEATURES: "a feature that the rule needs is unknown",
        _S.STALE_BAR: "the bar was too old when its turn came",
        _S.STRETCHED: "the close is too far from its short average",
        _S.NO_SETUP: "price and trend point in different directions",
        _S.VOLUME_TOO_LOW: "the volume is too low against its average",
        _S.VOLUME_UNKNOWN: "the volume cannot be compared with its average",
        _S.OPTIONS_CONFIDENCE_TOO_LOW: "the confidence is too low for an option",
        _S.STOCK_CONFIDENCE_TOO_LOW: "the confidence is too low for stock",
        _S.COOLDOWN: "the symbol's last signal is too recent",
        _S.FEED_NOT_SELECTED: "the bar is of another feed than the configured one",
        _S.SUSPECT_SPLIT: "the first open is so far from the last close that a split is suspected",
        _S.RULE_ERROR: "the rule failed on this bar; it holds",
    },
    SignalDrop: {
        SignalDrop.DUPLICATE: "the bar was decided already",
        SignalDrop.SUPERSEDED: "a newer membership was there already",
        SignalDrop.SAME_ACTION: "the bar was decided before it was revised, and would be decided alike",
        SignalDrop.TOO_OLD: "the bar is older than the decided bars that are remembered",
    },
    Verdict: {
        Verdict.APPROVED: "every gate passed and the size is one unit or more",
        Verdict.REFUSED: "a gate refused",
        Verdict.NOT_SIZED: "every gate passed and the size is zero",
        Verdict.SHADOWED: "it would have been approved; the account decides and never sends",
    },
    G: {
        G.OK: "the gate passed",
        G.NOT_APPLICABLE: "the gate is not asked for this",
        G.GATE_ERROR: "the gate failed, so it refuses",
        G.ACCOUNT_MISMATCH: "the account behind the credentials is not the configured one",
        G.ACCOUNT_UNVERIFIED: "the account behind the credentials was not checked lately",
        G.KILL_SWITCH_REDUCING: "the kill switch lets positions only be closed",
        G.KILL_SWITCH_HALTED: "the kill switch is on",
        G.KILL_SWITCH_UNKNOWN: "nobody has said whether the kill switch is off",
        G.SESSION_CLOSED: "the market is closed",
        G.OPENING_BLACKOUT: "the session opened too short a time ago",
        G.AFTER_LAST_ENTRY: "the close is too near for a new entry",
        G.EXPIRY_DAY_CUTOFF: "the contract expires today and the close is too near",
        G.CALENDAR_UNKNOWN: "the calendar does not know the date",
        G.ACTION_NOT_ALLOWED: "the account may not do this",
        G.CONFIDENCE_TOO_LOW: "the confidence is below the account's threshold",
        G.CONFIDENCE_MISSING: "the confidence is unknown",
        G.SIGNAL_STALE: "the signal is too old",
        G.BAR_STALE: "the symbol's newest bar is too old",
        G.BAR_MISSING: "no bar of the symbol is known",
        G.FEATURE_STALE: "the symbol's newest feature is too old",
        G.FEATURE_MISSING: "no feature of the symbol is known",
        G.CLOCK_SKEW: "the record is from the future: two clocks disagree",
        G.REGIME_EXTREME: "the volatility regime is extreme",
        G.REGIME_UNKNOWN: "the volatility regime is unknown",
        G.DAILY_LOSS_REACHED: "the account has lost its day's limit",
        G.DAILY_PNL_UNKNOWN: "what the account won or lost today is unknown",
        G.TICKER_DAILY_LIMIT: "the account has entered this symbol often enough today",
        G.TICKER_COOLDOWN: "the account's last execution in this symbol is too recent",
        G.NO_LONG_TO_SELL: "there is no stock to sell, and the account may not go short",
        G.POSITION_UNKNOWN: "what the account holds is unknown",
        G.DUPLICATE_POSITION: "the account holds or has ordered the same kind already",
        G.CONFLICTING_DIRECTION: "the account leans the other way in this symbol",
        G.MAX_POSITIONS: "the account has as many positions as it may",
        G.MAX_CONTRACTS: "the account would have more contracts of this symbol than it may",
        G.MAX_EXPOSURE: "the account would have more at stake than it may",
        G.EXPOSURE_UNKNOWN: "what the account has at stake is unknown",
        G.BUYING_POWER: "the order costs more than the account can pay",
        G.BUYING_POWER_UNKNOWN: "what the account can pay is unknown",
        G.QUOTE_STALE: "the quote is too old",
        G.QUOTE_MISSING: "there is no usable quote",
        G.SPREAD_TOO_WIDE: "bid and ask are too far apart",
        G.PRICE_DRIFT: "the price has moved too far since the signal",
        G.PRICE_MISSING: "the price now is unknown",
        G.PENDING_CAPACITY: "the account has as many orders under way as it may",
        G.ORDER_STATE_UNKNOWN: "an order of the account is in doubt",
        G.NEEDS_RECONCILE: "the account's positions were not yet compared with the broker's, or differ",
        G.STREAM_DOWN: "the stream of trade updates is down",
    },
    C: {
        C.NON_STANDARD: "the contract is not a standard one",
        C.EXPIRED: "the contract has expired",
        C.EXPIRY_CUTOFF: "the contract expires today and the close is too near",
        C.NO_QUOTE: "the contract has no usable quote",
        C.QUOTE_STALE: "the contract's quote is too old",
        C.WIDE_SPREAD: "the contract's bid and ask are too far apart",
        C.PREMIUM_TOO_LOW: "the contract is too cheap",
        C.LOW_VOLUME: "the contract is traded too little",
        C.LOW_OPEN_INTEREST: "too few of the contract are open",
        C.QUALITY_TOO_LOW: "the best contract's score is too low",
        C.NO_CONTRACT: "no contract in the window passes the filters",
    },
    SizeReason: {
        SizeReason.SIZE_OK: "the size is what the risk allows",
        SizeReason.SIZE_CAPPED_CONTRACTS: "the size is the account's most contracts",
        SizeReason.SIZE_CAPPED_POSITION_PCT: "the size is the account's most for one position",
        SizeReason.SIZE_BELOW_ONE_UNIT: "what may be risked does not pay for one unit",
        SizeReason.SIZE_INPUT_MISSING: "equity, risk or price is unknown, so there is no size",
    },
    OrderReason: {
        OrderReason.SENT: "the order was sent",
        OrderReason.BROKER_REJECTED: "the broker refused the order",
        OrderReason.STATE_UNKNOWN: "nobody knows what became of the order; the broker is being asked",
        OrderReason.NOT_FOUND_AT_BROKER: "the broker does not know the order: it was never sent",
        OrderReason.SHADOW_NOT_SENT: "the account decides and never sends",
        OrderReason.KEPT_BACK: "the dispatcher did not send the order; the detail says why",
    },
    OrderState: {
        _ORDER.INTENT: "the order is about to be sent",
        _ORDER.SUBMITTED: "the order was sent and is not accepted yet",
        _ORDER.ACCEPTED: "the broker has the order and nothing is filled yet",
        _ORDER.PARTIAL: "a part of the order is filled",
        _ORDER.CANCEL_PENDING: "the order is being cancelled",
        _ORDER.UNKNOWN: "nobody knows what became of the order; the broker is being asked",
        _ORDER.UNRECOGNISED: "the broker names a state that is not known here",
        _ORDER.FILLED: "the order is filled",
        _ORDER.CANCELED: "the order was cancelled",
        _ORDER.EXPIRED: "the order expired unfilled",
        _ORDER.REJECTED: "the broker refused the order",
        _ORDER.DONE_FOR_DAY: "the broker ended the order for the day",
        _ORDER.REPLACED: "another order took this one's place",
        _ORDER.NOT_SENT: "the order was never sent",
    },
    AccountDrop: {
        AccountDrop.DUPLICATE: "the account had this signal already",
        AccountDrop.DUPLICATE_EXECUTION: "the account had this execution already",
        AccountDrop.EXECUTION_TOO_OLD: "the execution is older than those that are remembered",
        AccountDrop.STALE_REPLY: "the broker's answer is older than what is known",
        AccountDrop.UNKNOWN_ORDER: "the order is not the account's",
        AccountDrop.UNASKED_ANSWER: "nobody had asked",
        AccountDrop.UNRECOGNISED_ROW: "the broker lists a row that is not understood; its symbol waits",
    },
}


def words(reason: StrEnum) -> str:
    """What ``reason`` says. Raises KeyError for a reason without words."""
    return WORDS[type(reason)][reason]


def has_words(reasons: type[StrEnum]) -> bool:
    """Whether every member of an enum has words, and nothing else has."""
    return set(WORDS.get(reasons, ())) == set(reasons)
