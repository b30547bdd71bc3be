"""Every reason a gate can give, each in words."""

from enum import StrEnum


class GateReason(StrEnum):
    """A reason. Its ``words`` are what a person reads in ``tape why`` and in docs/explain.md."""

    words: str

    def __new__(cls, value: str, words: str) -> "GateReason":
        """A member of ``value`` with its ``words``."""
        made = str.__new__(cls, value)
        made._value_, made.words = value, words
        return made

    OK = "OK", "the gate passed"
    NOT_APPLICABLE = "NOT_APPLICABLE", "the gate is not asked for this"
    GATE_ERROR = "GATE_ERROR", "the gate failed, so it refuses"
    ACCOUNT_MISMATCH = "ACCOUNT_MISMATCH", "the account behind the credentials is not the configured one"
    ACCOUNT_UNVERIFIED = "ACCOUNT_UNVERIFIED", "the account behind the credentials was not checked lately"
    KILL_SWITCH_REDUCING = "KILL_SWITCH_REDUCING", "the kill switch lets positions only be closed"
    KILL_SWITCH_HALTED = "KILL_SWITCH_HALTED", "the kill switch is on"
    KILL_SWITCH_UNKNOWN = "KILL_SWITCH_UNKNOWN", "nobody has said whether the kill switch is off"
    SESSION_CLOSED = "SESSION_CLOSED", "the market is closed"
    HALTED = "HALTED", "trading of the symbol is halted"
    OPENING_BLACKOUT = "OPENING_BLACKOUT", "the session opened too short a time ago"
    AFTER_LAST_ENTRY = "AFTER_LAST_ENTRY", "the close is too near for a new entry"
    EXPIRY_DAY_CUTOFF = "EXPIRY_DAY_CUTOFF", "the contract expires today and the close is too near"
    CALENDAR_UNKNOWN = "CALENDAR_UNKNOWN", "the calendar does not know the date"
    ACTION_NOT_ALLOWED = "ACTION_NOT_ALLOWED", "the account may not do this"
    CONFIDENCE_TOO_LOW = "CONFIDENCE_TOO_LOW", "the confidence is below the account's threshold"
    CONFIDENCE_MISSING = "CONFIDENCE_MISSING", "the confidence is unknown"
    SIGNAL_STALE = "SIGNAL_STALE", "the signal is too old"
    BAR_STALE = "BAR_STALE", "the symbol's newest bar is too old"
    BAR_MISSING = "BAR_MISSING", "no bar of the symbol is known"
    FEATURE_STALE = "FEATURE_STALE", "the symbol's newest feature is too old"
    FEATURE_MISSING = "FEATURE_MISSING", "no feature of the symbol is known"
    CLOCK_SKEW = "CLOCK_SKEW", "the record is from the future: two clocks disagree"
    REGIME_EXTREME = "REGIME_EXTREME", "the volatility regime is extreme"
    REGIME_UNKNOWN = "REGIME_UNKNOWN", "the volatility regime is unknown"
    DAILY_LOSS_REACHED = "DAILY_LOSS_REACHED", "the account has lost its day's limit"
    DAILY_PNL_UNKNOWN = "DAILY_PNL_UNKNOWN", "what the account won or lost today is unknown"
    TICKER_DAILY_LIMIT = "TICKER_DAILY_LIMIT", "the account has entered this symbol often enough today"
    TICKER_COOLDOWN = "TICKER_COOLDOWN", "the account's last execution in this symbol is too recent"
    NO_LONG_TO_SELL = "NO_LONG_TO_SELL", "there is no stock to sell, and the account may not go short"
    POSITION_UNKNOWN = "POSITION_UNKNOWN", "what the account holds is unknown"
    DUPLICATE_POSITION = "DUPLICATE_POSITION", "the account holds or has ordered the same kind already"
    CONFLICTING_DIRECTION = "CONFLICTING_DIRECTION", "the account leans the other way in this symbol"
    MAX_POSITIONS = "MAX_POSITIONS", "the account has as many positions as it may"
    MAX_CONTRACTS = "MAX_CONTRACTS", "the account would have more contracts of this symbol than it may"
    MAX_EXPOSURE = "MAX_EXPOSURE", "the account would have more at stake than it may"
    EXPOSURE_UNKNOWN = "EXPOSURE_UNKNOWN", "what the account has at stake is unknown"
    BUYING_POWER = "BUYING_POWER", "the order costs more than the account can pay"
    BUYING_POWER_UNKNOWN = "BUYING_POWER_UNKNOWN", "what the account can pay is unknown"
    QUOTE_STALE = "QUOTE_STALE", "the quote is too old"
    QUOTE_MISSING = "QUOTE_MISSING", "there is no usable quote"
    SPREAD_TOO_WIDE = "SPREAD_TOO_WIDE", "bid and ask are too far apart"
    PRICE_DRIFT = "PRICE_DRIFT", "the price has moved too far since the signal"
    PRICE_MISSING = "PRICE_MISSING", "the price now is unknown"
    PENDING_CAPACITY = "PENDING_CAPACITY", "the account has as many orders under way as it may"
    ORDER_STATE_UNKNOWN = "ORDER_STATE_UNKNOWN", "an order of the account is in doubt"
    NEEDS_RECONCILE = (
        "NEEDS_RECONCILE",
        "positions were not yet compared with the broker's, or differ from them",
    )
    STREAM_DOWN = "STREAM_DOWN", "the stream of trade updates is down"
