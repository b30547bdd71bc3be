"""The kinds of faults that the exchange knows, and what each of them does."""

from enum import StrEnum
from typing import NamedTuple


class Fault(StrEnum):
    """What can go wrong. AFTER: the exchange has done what was asked. BEFORE: it has not."""

    GATEWAY_TIMEOUT_BEFORE = "GATEWAY_TIMEOUT_BEFORE"
    GATEWAY_TIMEOUT_AFTER = "GATEWAY_TIMEOUT_AFTER"
    DROP_BEFORE = "DROP_BEFORE"
    DROP_AFTER = "DROP_AFTER"
    RATE_LIMIT = "RATE_LIMIT"
    DELAY = "DELAY"
    MALFORMED_AFTER = "MALFORMED_AFTER"
    NULL_AFTER = "NULL_AFTER"
    NOT_FOUND = "NOT_FOUND"
    WRONG_ACCOUNT = "WRONG_ACCOUNT"
    LAGGING_POSITIONS = "LAGGING_POSITIONS"
    LAGGING_ORDERS = "LAGGING_ORDERS"
    LAGGING_ACTIVITIES = "LAGGING_ACTIVITIES"
    QUOTE_NULL = "QUOTE_NULL"
    TRADE_NULL = "TRADE_NULL"
    GREEKS_NULL = "GREEKS_NULL"
    REJECT = "REJECT"
    REFUSE_QTY = "REFUSE_QTY"
    REFUSE_UNCOVERED = "REFUSE_UNCOVERED"
    REFUSE_BUYING_POWER = "REFUSE_BUYING_POWER"
    REFUSE_WASH = "REFUSE_WASH"
    NO_FILL = "NO_FILL"
    PARTIAL_FILL = "PARTIAL_FILL"
    REPLACED_BY_HAND = "REPLACED_BY_HAND"
    HELD_LEG = "HELD_LEG"
    LIQUIDATION = "LIQUIDATION"
    CANCEL_FILLED = "CANCEL_FILLED"
    CANCEL_PART_FILLED = "CANCEL_PART_FILLED"
    CANCEL_PENDING = "CANCEL_PENDING"
    CANCEL_IGNORED = "CANCEL_IGNORED"
    CANCEL_REFUSED = "CANCEL_REFUSED"
    REPLACE_REFUSED = "REPLACE_REFUSED"
    REPLACE_DONE_BUT_REFUSED = "REPLACE_DONE_BUT_REFUSED"
    UPDATE_TWICE = "UPDATE_TWICE"
    UPDATE_AFTER_NEXT = "UPDATE_AFTER_NEXT"
    UPDATE_LOST = "UPDATE_LOST"
    UPDATE_LATE = "UPDATE_LATE"
    UPDATE_NULL = "UPDATE_NULL"
    STREAM_SILENT = "STREAM_SILENT"
    STREAM_CUT = "STREAM_CUT"


class Plan(NamedTuple):
    """``cases``: ids of the field's reports. ``at``: the operation. ``seconds``: of the exchange's clock."""

    cases: str
    at: str
    line: str
    seconds: float = 0.0


F = Fault
PLANS: dict[Fault, Plan] = {
    F.GATEWAY_TIMEOUT_BEFORE: Plan("", "any call", "504, and nothing was done"),
    F.GATEWAY_TIMEOUT_AFTER: Plan("", "any call", "504, and what was asked was done"),
    F.DROP_BEFORE: Plan("", "any call", "the connection ends without an answer, and nothing was done"),
    F.DROP_AFTER: Plan("", "any call", "the connection ends without an answer, and it was done"),
    F.RATE_LIMIT: Plan("", "any call", "429 with its reset; every call of the account until then, too"),
    F.DELAY: Plan("", "any call", "done at once, answered `seconds` of the machine's clock later"),
    F.MALFORMED_AFTER: Plan("T25", "any call", "done, and the answer is half a JSON object"),
    F.NULL_AFTER: Plan("", "any call", "done, and the answer is `null`"),
    F.NOT_FOUND: Plan("T3", "order", "404 for a client id that exists"),
    F.WRONG_ACCOUNT: Plan("", "account", "another account's number"),
    F.LAGGING_POSITIONS: Plan("T8", "positions", "the list as it was `seconds` ago", 10),
    F.LAGGING_ORDERS: Plan("T8", "orders", "the list as it was `seconds` ago", 10),
    F.LAGGING_ACTIVITIES: Plan(
        "T19", "activities", "executions of the last `seconds` are not listed yet", 10
    ),
    F.QUOTE_NULL: Plan("", "option_snapshot", "a contract's `latestQuote` is null"),
    F.TRADE_NULL: Plan("", "option_snapshot", "a contract's `latestTrade` is null"),
    F.GREEKS_NULL: Plan("", "option_snapshot", "a contract's `greeks` are null"),
    F.REJECT: Plan("", "submit", "accepted, then rejected"),
    F.REFUSE_QTY: Plan("T20", "submit", "403 40310000 insufficient qty, available: 0"),
    F.REFUSE_UNCOVERED: Plan("T19", "submit", "403 40310000 uncovered option contracts"),
    F.REFUSE_BUYING_POWER: Plan("", "submit", "403 40310000 insufficient buying power; a buy"),
    F.REFUSE_WASH: Plan("", "submit", "403 40310000 potential wash trade detected"),
    F.NO_FILL: Plan("", "submit", "accepted, and not filled for `seconds`, whatever the market does", 30),
    F.PARTIAL_FILL: Plan("T21, T22", "fill", "a part is filled; the rest is left alone for `seconds`", 30),
    F.REPLACED_BY_HAND: Plan("T9", "submit", "a person replaces the order by an equal one: `replaced`"),
    F.HELD_LEG: Plan("T10, T12", "fill", "a person's stop holds what was bought; only nested lists have it"),
    F.LIQUIDATION: Plan("T29, T30", "expiry", "half an hour before the close the broker sells the contract"),
    F.CANCEL_FILLED: Plan("T5", "cancel", "the rest is filled first: 422 already in filled state"),
    F.CANCEL_PART_FILLED: Plan("T7", "cancel", "a part is filled first, and the rest is canceled"),
    F.CANCEL_PENDING: Plan(
        "T4", "cancel", "stays `pending_cancel` for `seconds`, and is canceled then", 3600
    ),
    F.CANCEL_IGNORED: Plan("T6", "cancel", "204, and the order works on"),
    F.CANCEL_REFUSED: Plan("T6", "cancel", "422 not cancelable, and the order works on"),
    F.REPLACE_REFUSED: Plan("T2", "replace", "403 40310000 insufficient qty, available: 0"),
    F.REPLACE_DONE_BUT_REFUSED: Plan("T3", "replace", "422 not sent yet, and the new order exists"),
    F.UPDATE_TWICE: Plan("T26", "update", "the update comes twice"),
    F.UPDATE_AFTER_NEXT: Plan("T26", "update", "the update comes behind the next one"),
    F.UPDATE_LOST: Plan("T11, T15, T16", "update", "the update never comes"),
    F.UPDATE_LATE: Plan("T26", "update", "the update comes `seconds` later", 20),
    F.UPDATE_NULL: Plan("", "update", "the data of the update is null"),
    F.STREAM_SILENT: Plan("T15", "update", "the connection stays, and says nothing for `seconds`", 90),
    F.STREAM_CUT: Plan("T16, T17", "update", "the update is lost, and the connection with it"),
}
