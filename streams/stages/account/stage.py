"""The account stage: a pure fold of one account's inbox into proposals, orders, executions and positions.

If something must be known or done outside it, a request goes out. The answer comes back through the inbox, in
order. So the account can be rebuilt, and every decision repeated, from its inbox alone.
"""

from collections.abc import Callable
from typing import Any

from tapedeck.schemas.errors import DeadLetter, Fatal
from tapedeck.streams.config.accounts import Account
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import Batch, Row, Step
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.account import (
    broker,
    closing,
    expiry,
    fills,
    orders,
    outlook,
    parents,
    recon,
    signals,
    standing,
)
from tapedeck.streams.stages.account.rules.gate_types import Rules
from tapedeck.streams.stages.account.rules.money import LARGEST, LARGEST_BALANCE, at_scale, largest
from tapedeck.streams.stages.account.state import AccountDrop, AccountState, pack, unpack
from tapedeck.streams.stages.account.turn import Turn
from tapedeck.streams.stages.base import WithoutPeriod

Handler = Callable[[Turn, dict[str, Any]], None]


def _on_tick(turn: Turn, payload: dict[str, Any]) -> None:
    """Time passes: what is overdue is done after every record. What is held wants a new mark."""
    standing.ask_again(turn)
    standing.ask_marks(turn, older_s=standing.OLD_S)


HANDLERS: dict[str, Handler] = {
    "InboxStarted": broker.on_started,
    "InboxSignal": signals.on_signal,
    "InboxQuote": signals.on_quote,
    "InboxChain": signals.on_chain,
    "InboxAccount": broker.on_account,
    "InboxBroker": broker.on_broker,
    "InboxBrokerRow": broker.on_row,
    "InboxStream": broker.on_stream,
    "InboxControl": broker.on_control,
    "InboxHalt": broker.on_halt,
    "InboxOrder": orders.on_order,
    "InboxExecution": fills.on_execution,
    "InboxActivity": expiry.on_activity,
    "InboxTick": _on_tick,
    "InboxBar": broker.on_bar,
    "InboxRegime": outlook.on_regime,
    "InboxEarnings": outlook.on_earnings,
}
JUDGED = frozenset(HANDLERS) - {"InboxStarted", "InboxSignal", "InboxStream", "InboxBrokerRow", "InboxHalt"}
"""What may make a position due to be closed."""


def before_decisions(turn: Turn, row: Row) -> None:
    """Fold one record up to the decisions on signals. Raises DeadLetter for a record that is of no use."""
    name, payload = row.body["payload"]
    kind = name.rpartition(".")[2]
    handler = HANDLERS.get(kind)
    if handler is None:
        raise DeadLetter("no such inbox record", value=name, reason="UNKNOWN_INBOX_RECORD")
    limit = LARGEST_BALANCE if kind == "InboxAccount" else LARGEST
    if largest(payload) >= limit:
        raise DeadLetter("a number is too large", value=largest(payload), reason="NUMBER_TOO_LARGE")
    fills.turn_session(turn)
    expiry.await_activity(turn)
    handler(turn, at_scale(payload))
    if "request_id" in payload:
        signals.answered(turn, payload["request_id"])
    if payload.get("error") is None:  # what failed is asked again by the next tick, and not at once
        standing.ask_marks(turn, older_s=turn.config.exit.mark_s)
    standing.hold_back(turn)
    if kind in JUDGED:
        standing.watch_loss(turn)
        closing.evaluate(turn)


def after_decisions(turn: Turn) -> None:
    """What is due when the signals whose turn it was are decided."""
    parents.advance(turn)
    recon.advance(turn)
    standing.tell(turn)
    standing.watch(turn)


class AccountStage(WithoutPeriod):
    """Decides for one account. ``now`` is the time on each inbox record."""

    dead_letter_reasons = frozenset({AccountDrop.UNRECOGNISED_ROW.value})

    def __init__(self, config: Config, account: Account, calendar: Calendar) -> None:
        self._rules = Rules(account, config)
        self._calendar = calendar
        self._newest: tuple[bytes, AccountState] | None = None

    def key(self, row: Row) -> bytes:
        account_id: str = row.body["account_id"]
        return account_id.encode()

    def step(self, key: bytes, state: bytes | None, batch: Batch) -> Step:
        """Fold inbox records in order. Raises Fatal if they belong to another account."""
        account_id = self._rules.account.account_id
        if key != account_id.encode():
            raise Fatal("this stage is another account's", value=key.decode(), remedy=f"it is {account_id}'s")
        turn = Turn(self._rules, self._calendar, self._unpacked(state))
        for cause, row in enumerate(batch):
            turn.at(cause, row)
            self._fold(turn, row)
        packed = pack(turn.state)
        self._newest = packed, turn.state
        return Step(packed, turn.outs, turn.drops)

    def _unpacked(self, state: bytes | None) -> AccountState:
        """The state behind the bytes: the object at hand if the last step, not one that failed, left it."""
        newest, self._newest = self._newest, None
        return newest[1] if newest is not None and newest[0] == state else unpack(state)

    def _fold(self, turn: Turn, row: Row) -> None:
        before_decisions(turn, row)
        signals.advance(turn)
        after_decisions(turn)
