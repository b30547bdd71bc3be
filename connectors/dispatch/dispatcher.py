"""The dispatcher's core: turns what reaches an account into inbox records, and performs its requests.

No Kafka and no threads here. The shell around it appends the returned bodies in order, lets the account
stage fold them, and hands the stage's requests to ``perform``, which blocks as long as the broker does.
Updates may be handed in from another thread meanwhile.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from threading import Lock

from tapedeck.connectors.broker import (
    AccountReply,
    Broker,
    BrokerError,
    ChainQuery,
    Doubt,
    NewOrder,
    NotFound,
    OrderReply,
    PositionReply,
    RateLimited,
    Refused,
    Rows,
    TradeUpdate,
    UnreadRow,
)
from tapedeck.connectors.clock import Clock
from tapedeck.connectors.dispatch.budget import CLOSING, Budget, CallKind, call_kind, paced
from tapedeck.connectors.dispatch.history import History
from tapedeck.connectors.dispatch.inbox import HALTED, RESUMED, Body, Inbox, Newest
from tapedeck.connectors.dispatch.lease import Lease
from tapedeck.connectors.dispatch.selftest import Check, self_test
from tapedeck.connectors.dispatch.watching import Watching
from tapedeck.connectors.dispatch.whose import Whose, read
from tapedeck.connectors.outlook.records import Known
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.accounts import Account
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.account.rules.occ import Right
from tapedeck.streams.stages.account.rules.orders import ID_PREFIX, TERMINAL, OrderState, PositionIntent, Side

_NOTHING_NEW = Newest(None, None)
_IMPORT_US = 3 * 24 * 3600 * 1_000_000  # over a weekend: what a dispatcher that was down may have missed


class Dispatcher:
    """One account's dispatcher. Every broker call is preceded by a look at the lease."""

    def __init__(
        self,
        config: Config,
        account: Account,
        broker: Broker,
        clock: Clock,
        *,
        lease: Lease,
        calendar: Calendar,
    ) -> None:
        self._account, self._clock = account, clock
        self._lease = lease
        self._calendar = calendar
        self._feed = config.bars.feed
        self._regime_on = config.regime.enabled
        self._probe = config.universe.symbols[0]
        self._inbox = Inbox(account.account_id)
        self.watching = Watching(calendar)
        self._budget = Budget(lambda: clock.now() / SECOND_US, reserve=config.order.close_reserve)
        self._leased = paced(broker, self._budget)
        self._for = CallKind.READ
        self._whose = Whose(account, broker.base_url, self._read_account)
        self._tested = False
        self._lock = Lock()
        self._working: set[str] = set()
        self._ended: set[str] = set()
        self._quiet: set[str] = set()
        self._history = History(self._inbox, clock)
        self._kinds: dict[str, Callable[[Body], list[Body]]] = {
            "FETCH_ACCOUNT": self._fetch_account,
            "FETCH_BROKER": self._fetch_broker,
            "FETCH_QUOTE": self._fetch_quote,
            "FETCH_CHAIN": self._fetch_chain,
            "FETCH_ORDER": self._fetch_order,
            "LOOK_UP": self._looked_up,
            "SUBMIT": self._submit,
            "CANCEL": self._cancel,
            "CLEAR": self._clear,
            "WATCH": self._watch,
        }

    @property
    def _broker(self) -> Broker:
        """The broker for one call.

        Raises LeaseShort if the lease does not cover it, RateLimited if the account has made too many calls
        for one that does not lower its exposure.
        """
        self._lease.check()
        if not self._budget.may(self._for):
            raise RateLimited(
                f"the account's calls of this minute are used up for {self._for}",
                value=self._budget.left(self._for),
                remedy="it is called again in the next minute",
            )
        self._budget.spent()
        return self._leased

    @property
    def working(self) -> bool:
        """True while an order may be alive at the broker: then ticks are due and silence is a fault."""
        return bool(self._working)

    def started(self, epoch: int) -> Body:
        """First record of a process that took the account over."""
        return self._inbox.started(epoch, self._clock.now())

    def ticks(self, *, always: bool = False) -> list[Body]:
        """A tick, if one is due: ``always`` each second."""
        now = self._clock.now()
        if not self.watching.due(now, always=always or self.working):
            return []
        self.watching.ticked(now)
        return [self._inbox.tick(now)]

    def bars(self, newest: Mapping[str, Body]) -> list[Body]:
        """The newest bars of what is watched, of the configured feed."""
        watched = (newest.get(symbol) for symbol in self.watching.symbols)
        now = self._clock.now()
        return [
            self._inbox.bar(each, now) for each in watched if each is not None and each["feed"] == self._feed
        ]

    def outlook(self, known: Known) -> list[Body]:
        """The value of the index, if its rules are on, and the earnings of what is watched."""
        now = self._clock.now()
        counts = known if self._regime_on else known._replace(regime=None)
        return self._inbox.outlook(counts, self._calendar.session_date(now), now)

    def control(self, control: Body) -> Body:
        return self._inbox.control(control, self._clock.now())

    def market_event(self, event: Body) -> list[Body]:
        """A halt or a resumption on the configured feed; other market events do not reach an account."""
        if event["feed"] != self._feed or event["kind"] not in (HALTED, RESUMED):
            return []
        return [self._inbox.halt(event, self._clock.now())]

    def stream(self, healthy: bool, detail: str) -> Body:
        return self._inbox.stream(healthy, detail, self._clock.now())

    def collect(self, signals: Iterable[Body], newest: Mapping[str, Newest]) -> list[Body]:
        """One minute's signals in the order of decision: confidence descending, then symbol."""
        now = self._clock.now()
        ordered = sorted(signals, key=lambda signal: (-signal["confidence"], signal["symbol"]))
        return [self._inbox.signal(each, newest.get(each["symbol"], _NOTHING_NEW), now) for each in ordered]

    def snapshot(self) -> list[Body]:
        """What the broker holds, unasked: missed executions, positions and open orders, then the account."""
        return [*self._fetch_broker({"request_id": ""}), *self._fetch_account({"request_id": ""})]

    def self_test(self, symbol: str | None = None) -> list[Check]:
        """Check what must work before anything opens. Until every check passes, openings are not sent.

        ``symbol`` is asked about; without one the first of the configured universe is.
        """
        probe, now = symbol or self._probe, self._clock.now()
        self._lease.check()
        may = partial(self._budget.may, CallKind.READ)
        checks = self_test(self._leased, self._account, self._calendar, probe, now, may=may)
        self._budget.spent(len(checks))
        self._tested = all(check.passed for check in checks)
        return checks

    @property
    def tested(self) -> bool:
        """Whether the last self-test passed."""
        return self._tested

    def look_ups(self, why: str) -> list[Body]:
        """The requests that look up every order that may work, because of ``why``."""
        return [self._look_up(client_id, why) for client_id in sorted(self._working.copy())]

    def unheard(self, client_order_id: str) -> list[Body]:
        """The request that looks up an order, if it works and the stream has not spoken of it."""
        quiet = client_order_id in self._quiet and client_order_id in self._working
        return [self._look_up(client_order_id, "NO_UPDATE")] if quiet else []

    def _look_up(self, client_order_id: str, why: str) -> Body:
        """Its answer is one of this time: a later one that finds the same is another."""
        asked = f"{why}|{self._clock.now()}"
        return {"kind": "LOOK_UP", "client_order_id": client_order_id, "after_s": asked}

    def delay_s(self, request: Body) -> int:
        """How long the shell waits before it performs ``request``."""
        return int(request.get("after_s", 0))

    def perform(self, request: Body) -> list[Body]:
        """Do what the account stage asks; the answers, in order.

        A call that fails is an answer too. Raises LeaseShort if the lease is about to end: renew it and
        perform the same request again, which is safe. Raises Fatal for a request that does not exist.
        """
        handler = self._kinds.get(request["kind"])
        if handler is None:
            raise Fatal("no such request", value=request["kind"], remedy=f"known: {', '.join(self._kinds)}")
        self._for = call_kind(request)
        return handler(request)

    def on_trade_update(self, update: TradeUpdate | UnreadRow) -> list[Body] | None:
        """One message of the trade-update stream: its execution, if it has one, then the order's state.

        Nothing as long as the account is not known to be ours: a comparison brings what was missed. None if
        it is about an order that replaced one which this process never saw: a comparison asks whose it is.
        """
        now = self._clock.now()
        if not self._whose.ours:
            return []
        if isinstance(update, UnreadRow):
            return [self._inbox.unread(update, "", now)]
        order = self._history.named(update.order)
        if order is None:
            return None
        update = replace(update, order=order)
        self._note(update.order)
        self._quiet.discard(update.order.client_order_id)
        execution = self._inbox.execution(update, now)
        if execution is not None and update.execution_id is not None:
            self._history.heard(update.execution_id)
        asked_by = f"{update.event}|{update.time}"
        state = self._inbox.order(asked_by, update.order, now, source="STREAM")
        return [state] if execution is None else [execution, state]

    def _read_account(self) -> AccountReply:
        return self._broker.account()

    def _fetch_account(self, request: Body) -> list[Body]:
        reply, error = read(self._read_account)
        if reply is not None:
            self._whose.see(reply)
        now = self._clock.now()
        return [self._inbox.account(request["request_id"], self._leased.base_url, reply, error, now)]

    def _fetch_broker(self, request: Body) -> list[Body]:
        """Missed executions first, so that the comparison that follows sees them; then rows apart."""
        asked_by = request["request_id"] or f"unasked at {self._clock.now()}"
        before: list[Body] = []

        def look() -> tuple[Rows[PositionReply], Rows[OrderReply]]:
            since = self._clock.now() - _IMPORT_US
            before.extend(self._history.missed(lambda: self._broker, since, asked_by))
            before.extend(self._history.option_events(self._broker, asked_by))
            held, listed = self._broker.positions(), self._broker.open_orders()
            rooted = (self._history.rooted(lambda: self._broker, order) for order in listed)
            return held, Rows(rooted, unread=listed.unread)

        error, found = self._whose.stranger(), None
        if error is None:
            found, error = read(look)
        positions, orders = found if found is not None else (Rows[PositionReply](), Rows[OrderReply]())
        now = self._clock.now()
        for order in orders:
            self._note(order)
            if not order.client_order_id.startswith(ID_PREFIX):
                before.append(self._inbox.external(order, asked_by, now))
        before += [self._inbox.unread(row, asked_by, now) for row in (*positions.unread, *orders.unread)]
        told = self._inbox.broker(
            request["request_id"], positions, orders, error, now, last_activity=self._history.last
        )
        return [*before, told]

    def _fetch_quote(self, request: Body) -> list[Body]:
        reply, error = read(lambda: self._broker.quote(request["instrument"]))
        return [self._inbox.quote(request, reply, error, self._clock.now())]

    def _fetch_chain(self, request: Body) -> list[Body]:
        query = ChainQuery(
            underlying=request["underlying"],
            right=Right(request["right"]),
            expiry_from=request["expiry_from"],
            expiry_to=request["expiry_to"],
            strike_from=request["strike_from"],
            strike_to=request["strike_to"],
        )
        reply, error = read(lambda: self._broker.chain(query))
        return [self._inbox.chain(request, reply, error, self._clock.now())]

    def _submit(self, request: Body) -> list[Body]:
        """Send once. A doubt is an answer: the stage asks by client id, and nobody sends again."""
        client_id = request["client_order_id"]
        order = NewOrder(
            client_order_id=client_id,
            instrument=request["instrument"],
            side=Side(request["side"]),
            intent=PositionIntent(request["intent"]),
            qty=request["qty"],
            limit_price=request["limit_price"],
            time_in_force=request["time_in_force"],
        )
        barred = self._barred(order, request["underlying"])
        if barred:
            return [self._no_order("SUBMIT", client_id, OrderState.NOT_SENT, barred)]
        self._working.add(client_id)
        self._quiet.add(client_id)
        try:
            return [self._seen("SUBMIT", self._broker.submit(order))]
        except Doubt as error:
            self._quiet.discard(client_id)  # the stage asks
            return [self._no_order("SUBMIT", client_id, OrderState.UNKNOWN, str(error))]
        except Refused as error:
            if error.not_unique:
                return self._fetch_order({"client_order_id": client_id, "after_s": "SUBMIT"})
            return [self._no_order("SUBMIT", client_id, OrderState.REJECTED, error.message)]
        except (RateLimited, NotFound) as error:
            return [self._no_order("SUBMIT", client_id, OrderState.NOT_SENT, str(error))]

    def _cancel(self, request: Body) -> list[Body]:
        """Ask for a cancel, then report what the broker makes of the order."""
        client_id, broker_id = request["client_order_id"], request["broker_order_id"]
        stranger = self._whose.stranger()
        if stranger is not None:
            return [self._no_order("CANCEL", client_id, OrderState.UNKNOWN, stranger)]
        try:
            if broker_id is None:
                broker_id = self._broker.order_by_client_id(client_id).broker_order_id
            self._broker.cancel(broker_id)
        except Refused:
            pass  # it has ended already: the look-up says how
        except NotFound as error:
            return [self._no_order("CANCEL", client_id, None, str(error))]
        except BrokerError as error:
            return [self._no_order("CANCEL", client_id, OrderState.UNKNOWN, str(error))]
        return self._fetch_order({"client_order_id": client_id, "after_s": "CANCEL"})

    def _clear(self, request: Body) -> list[Body]:
        """Cancel all orders of an instrument; then what the broker holds says what that came to."""
        error = self._whose.stranger()
        if error is None:
            _, error = read(lambda: self._broker.cancel_instrument(request["instrument"]))
        answers = self._fetch_broker(request)
        if error is not None:
            answers[-1]["payload"][1]["error"] = error
        return answers

    def _watch(self, request: Body) -> list[Body]:
        self.watching.set(request, self._clock.now())
        return []

    def _fetch_order(self, request: Body) -> list[Body]:
        """The order by its client id, behind the executions that the stream may have lost."""
        client_id, asked_by = request["client_order_id"], f"FETCH_ORDER|{request['after_s']}"
        stranger = self._whose.stranger()  # that it does not know the order says nothing
        if stranger is not None:
            return [self._no_order(asked_by, client_id, OrderState.UNKNOWN, stranger)]
        try:
            reply = self._broker.order_by_client_id(client_id)
            filled, since = bool(reply.filled_qty), reply.created_at
            missed = self._history.missed(lambda: self._broker, since, asked_by) if filled else []
        except NotFound as error:
            return [self._no_order(asked_by, client_id, None, str(error))]
        except BrokerError as error:
            return [self._no_order(asked_by, client_id, OrderState.UNKNOWN, str(error))]
        return [*missed, self._seen(asked_by, reply)]

    def _looked_up(self, request: Body) -> list[Body]:
        """An order that the account did not ask for: a call that fails casts no doubt on it."""
        answers = self._fetch_order(request)
        return [] if answers[-1]["payload"][1]["doubt"] else answers

    def _barred(self, order: NewOrder, underlying: str) -> str | None:
        """Why an order must not be sent: a wrong account, a short that is not allowed, a failed self-test."""
        error = self._whose.barred()
        if error is not None:
            return error
        if order.intent is PositionIntent.SELL and not self._account.allow_shorting:
            return f"account {self._account.account_id} may not sell short: allow_shorting is false"
        if order.intent in CLOSING or self._tested:
            return None
        failed = [f"{check.name}: {check.detail}" for check in self.self_test(underlying) if not check.passed]
        return f"the self-test has not passed: {'; '.join(failed)}" if failed else None

    def _seen(self, asked_by: str, reply: OrderReply) -> Body:
        self._note(reply)
        return self._inbox.order(asked_by, reply, self._clock.now())

    def _no_order(self, asked_by: str, client_id: str, state: OrderState | None, error: str) -> Body:
        if state is not OrderState.UNKNOWN:
            self._working.discard(client_id)
        return self._inbox.no_order(asked_by, client_id, state, error, self._clock.now())

    def _note(self, order: OrderReply) -> None:
        self._history.belongs(order)
        with self._lock:  # updates and answers may come in different threads, and in either order
            if order.state in TERMINAL:
                self._ended.add(order.client_order_id)
                self._working.discard(order.client_order_id)
            elif order.client_order_id not in self._ended:
                self._working.add(order.client_order_id)
