"""One inbox record being folded: the state, the moment, and how outputs, requests and drops leave."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from tapedeck.streams.config.accounts import Account
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US, REQUESTS, Drop, Out, Row
from tapedeck.streams.sessions import Calendar, CalendarUnknown
from tapedeck.streams.stages.account.order_state import Order
from tapedeck.streams.stages.account.rules.gate_types import Hours, KillState, Rules
from tapedeck.streams.stages.account.rules.money import at_scale
from tapedeck.streams.stages.account.rules.positions import Fold, Position
from tapedeck.streams.stages.account.rules.requests import (
    Cancel,
    FetchOrder,
    FetchQuote,
    Read,
    Request,
    Submit,
    Watch,
    body,
    request_id,
)
from tapedeck.streams.stages.account.state import BALANCES, AccountDrop, AccountState, Asked
from tapedeck.streams.stages.base import derived

_STRICTNESS = (KillState.ACTIVE, KillState.REDUCING, KillState.HALTED)
_REDUCING = _STRICTNESS.index(KillState.REDUCING)


class Done(NamedTuple):
    """What all executions of ``session`` come to: USD realised, and fees."""

    session: int
    realised: Decimal
    fees: Decimal


class Today(NamedTuple):
    """One instrument's executions of ``session``: USD realised, fees, and whether a result is unknown."""

    session: int
    realised: Decimal
    fees: Decimal
    unpriced: bool


@dataclass
class Folds:
    """What executions and orders come to, kept while they are the same."""

    by_instrument: dict[str, Fold] = field(default_factory=dict)
    opened: list[tuple[str, Position]] | None = None
    today: dict[str, Today] = field(default_factory=dict)
    done: Done | None = None
    doubted: list[tuple[str, Order]] | None = None
    """The orders that are UNKNOWN, by client id."""

    def forget(self, instrument: str) -> Fold | None:
        """An instrument's executions are about to change; returns what they came to, if that is known."""
        self.opened = self.done = None
        self.today.pop(instrument, None)
        return self.by_instrument.pop(instrument, None)

    def forget_all(self) -> None:
        """Instruments and orders come or go."""
        self.opened = self.done = self.doubted = None
        self.today.clear()
        self.by_instrument.clear()


class Turn:
    """A batch of one account's inbox on its way through the stage; ``at`` moves to the next row."""

    def __init__(
        self, rules: Rules, calendar: Calendar, state: AccountState, folds: Folds | None = None
    ) -> None:
        self.rules = rules
        self.calendar = calendar
        self.state = state
        self.outs: list[Out] = []
        self.drops: list[Drop] = []
        self.now = 0
        self.event = ""
        self.folds = Folds() if folds is None else folds
        """Those of ``state``; whoever changes executions forgets theirs."""
        self.account_changed = False
        """Set where the account is to be published when the record is folded."""
        self._cause = 0
        self._hours: tuple[int, Hours] | None = None
        self._session: tuple[int, int] | None = None

    @property
    def account(self) -> Account:
        return self.rules.account

    @property
    def config(self) -> Config:
        return self.rules.config

    @property
    def session(self) -> int:
        """The New York date of ``now``, in days."""
        if self._session is None or self._session[0] != self.now:
            self._session = self.now, self.calendar.session_date(self.now)
        return self._session[1]

    @property
    def soon(self) -> int:
        """As far ahead as another clock may be, UTC microseconds."""
        return self.now + MINUTE_US

    def at(self, cause: int, row: Row) -> None:
        self._cause, self.now, self.event = cause, row.now, row.body["event_id"]

    def hours(self) -> Hours:
        """The REGULAR session that ``now`` is in, if any."""
        if self._hours is None or self._hours[0] != self.now:
            self._hours = self.now, self._hours_now()
        return self._hours[1]

    def _hours_now(self) -> Hours:
        try:
            session = self.calendar.session_at(self.now)
        except CalendarUnknown:
            return Hours(known=False)
        return Hours(True) if session is None else Hours(True, session.open, session.close)

    @property
    def regular(self) -> bool:
        """Whether ``now`` is in a REGULAR session."""
        return self.hours().open is not None

    def kill_state(self) -> KillState | None:
        """The stricter of the global and the account's own state.

        With an alarm, and in a session in which the daily loss was reached, at least REDUCING.
        """
        if not self.state.kill:
            return None
        strictest = max(map(_STRICTNESS.index, self.state.kill.values()))
        if self.state.alarm or self.state.loss_session == self.session:
            strictest = max(strictest, _REDUCING)
        return _STRICTNESS[strictest]

    def emit(
        self, name: str, fields: dict[str, Any], inputs: Sequence[str], *, event_time: int | None = None
    ) -> str:
        """One output on topic ``name``, of now unless ``event_time`` says else; returns its event_id."""
        time = self.now if event_time is None else event_time
        whole = at_scale(fields) | {"account_id": self.account.account_id, "event_time": time}
        self.outs.append(derived(self._cause, name, whole, self.config.digest, inputs))
        return self.outs[-1].event_id

    def drop(self, reason: AccountDrop) -> None:
        self.drops.append(Drop(self._cause, reason.value))

    def refuse(self, reason: AccountDrop, detail: str, remedy: str) -> None:
        """Drop the record and keep its bytes in ``dead_letters``."""
        self.drops.append(Drop(self._cause, reason.value, detail, remedy))

    def request(self, request: Request, *, number: int = 0) -> None:
        """Send one request to the shell. ``number`` tells requests about one order apart."""
        account_id = self.account.account_id
        if isinstance(request, Submit):
            identity = request_id(account_id, request.kind, request.client_order_id, "")
        elif isinstance(request, FetchOrder | Cancel):
            identity = request_id(account_id, request.kind, request.client_order_id, str(number))
        elif isinstance(request, Watch):
            identity = self.new_id(request.kind)
        else:
            identity = request.request_id
        self.outs.append(Out(self._cause, REQUESTS, account_id.encode(), identity, at_scale(body(request))))

    def new_id(self, what: str, subject: str = "") -> str:
        return request_id(self.account.account_id, what, subject, self.event)

    def ask(self, request: Read) -> str:
        """Send a request and remember that it is outstanding; returns the request id."""
        self.state.outstanding[request.request_id] = Asked(request=request, at=self.now)
        self.request(request)
        return request.request_id

    def outstanding(self, kind: type[Read], instrument: str | None = None) -> str | None:
        """The id of an unanswered request of ``kind`` (a quote: of ``instrument``), if there is one."""
        if not self.state.outstanding:
            return None
        found = None
        for request_id_, asked in self.state.outstanding.items():
            if isinstance(asked.request, kind) and (found is None or request_id_ < found):
                quoted = asked.request.instrument if isinstance(asked.request, FetchQuote) else None
                found = request_id_ if quoted == instrument else found
        return found

    def count_executed(self, order: Order, qty: Decimal) -> None:
        """So much of an order, and of the parent order that it works for, is not waited for any more."""
        order.executed += qty
        if order.parent in self.state.parents:
            self.state.parents[order.parent].executed += qty

    def publish_account(self, session_pnl: Decimal | None) -> None:
        """One ``accounts`` record: identity, kill state, the last snapshot and what a person should look
        at.
        """
        snapshot, kill = self.state.snapshot, self.kill_state()
        fields = {name: None if snapshot is None else getattr(snapshot, name) for name in BALANCES} | {
            "tier": self.account.tier,
            "mode": self.account.mode.value,
            "identity": self.state.identity.value,
            "kill_state": kill.value if kill else "UNKNOWN",
            "alarm": self.state.alarm,
            "warnings": self.state.warnings,
            "session_pnl": session_pnl,
            "halt_step": self.state.halt_step,
        }
        at = max(self.now, (self.state.account_at or 0) + 1)  # a record's time is its identity
        self.state.account_at, self.account_changed = at, False
        self.emit("accounts", fields, [self.event], event_time=at)
