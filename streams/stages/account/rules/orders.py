"""Order ids, states and the legal moves between them (docs/domain.md#orders)."""

from enum import StrEnum
from hashlib import sha256

ID_PREFIX = "td1-"
"""The prefix of our client order ids, which no other program or person uses."""


class Purpose(StrEnum):
    """OPEN raises exposure and fails closed; CLOSE lowers it."""

    OPEN = "OPEN"
    CLOSE = "CLOSE"


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"


class PositionIntent(StrEnum):
    """What an order may do.

    SELL opens a short in stock, BUY closes one; selling an option to open cannot be said.
    """

    BUY_TO_OPEN = "BUY_TO_OPEN"
    SELL_TO_CLOSE = "SELL_TO_CLOSE"
    BUY = "BUY"
    SELL = "SELL"


class OrderReason(StrEnum):
    """Why an order's state changed. KEPT_BACK: the dispatcher did not send it, the detail says why."""

    SENT = "SENT"
    BROKER_REJECTED = "BROKER_REJECTED"
    STATE_UNKNOWN = "STATE_UNKNOWN"
    NOT_FOUND_AT_BROKER = "NOT_FOUND_AT_BROKER"
    SHADOW_NOT_SENT = "SHADOW_NOT_SENT"
    KEPT_BACK = "KEPT_BACK"
    REPRICED = "REPRICED"
    REPRICE_EXHAUSTED = "REPRICE_EXHAUSTED"
    CANCELLED_BY_KILL = "CANCELLED_BY_KILL"
    CANCELLED_STALE_QUOTE = "CANCELLED_STALE_QUOTE"
    CANCELLED_SPREAD = "CANCELLED_SPREAD"
    CANCELLED_DRIFT = "CANCELLED_DRIFT"
    CANCELLED_STREAM_DOWN = "CANCELLED_STREAM_DOWN"
    CANCELLED_FOR_CLOSE = "CANCELLED_FOR_CLOSE"
    CANCELLED_REDUCED = "CANCELLED_REDUCED"
    EXECUTIONS_NOT_LISTED = "EXECUTIONS_NOT_LISTED"


class OrderState(StrEnum):
    """INTENT is in the log before the call; UNKNOWN is a state with an alarm, never a guess."""

    INTENT = "INTENT"
    SUBMITTED = "SUBMITTED"
    ACCEPTED = "ACCEPTED"
    PARTIAL = "PARTIAL"
    CANCEL_PENDING = "CANCEL_PENDING"
    UNKNOWN = "UNKNOWN"
    UNRECOGNISED = "UNRECOGNISED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"
    DONE_FOR_DAY = "DONE_FOR_DAY"
    REPLACED = "REPLACED"
    NOT_SENT = "NOT_SENT"


S = OrderState
TERMINAL = frozenset({S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED, S.DONE_FOR_DAY, S.REPLACED, S.NOT_SENT})
IN_DOUBT = frozenset({S.UNKNOWN, S.UNRECOGNISED})
_AFTER_PARTIAL = TERMINAL - {S.NOT_SENT, S.REJECTED} | {S.CANCEL_PENDING, S.UNKNOWN, S.UNRECOGNISED}
_AFTER_ACCEPTED = _AFTER_PARTIAL | {S.PARTIAL, S.REJECTED}
_AFTER_SUBMITTED = _AFTER_ACCEPTED | {S.ACCEPTED}
_MOVES: dict[OrderState, frozenset[OrderState]] = {
    S.INTENT: _AFTER_SUBMITTED | {S.SUBMITTED, S.NOT_SENT},
    S.SUBMITTED: _AFTER_SUBMITTED,
    S.ACCEPTED: _AFTER_ACCEPTED,
    S.PARTIAL: _AFTER_PARTIAL,
    S.CANCEL_PENDING: _AFTER_PARTIAL - {S.CANCEL_PENDING},
    S.UNKNOWN: frozenset(S) - {S.INTENT, S.UNKNOWN},
    S.UNRECOGNISED: frozenset(S) - {S.INTENT, S.UNRECOGNISED},
}


def may_move(old: OrderState, new: OrderState) -> bool:
    """True where an order may go from ``old`` to ``new``. Terminal is final; late replies change nothing."""
    return new in _MOVES.get(old, frozenset())


def client_order_id(account_id: str, source: str, purpose: Purpose, attempt: int) -> str:
    """``td1-``, o or c, attempt, ``-``, first 32 hex of SHA-256 ``account|source|purpose|attempt``.

    ``source`` is the signal_id of an OPEN, position id and exit sequence of a CLOSE. 40 characters.
    """
    digest = sha256(f"{account_id}|{source}|{purpose}|{attempt}".encode()).hexdigest()[:32]
    return f"{ID_PREFIX}{'o' if purpose == Purpose.OPEN else 'c'}{attempt:02d}-{digest}"
