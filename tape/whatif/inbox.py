"""An account's recorded inbox: read one record at a time, and as it would be if other orders had been sent.

Broker messages about an order that the changed run did not send are left out, and those about positions
and open orders are corrected accordingly. An order of another size is filled up to its own quantity. The
rest of a larger order, or an order that was never sent, stays reserved: the tape does not say whether it
would have been filled.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from tapedeck.connectors.dispatch.inbox import INBOX
from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.blocks import Source
from tapedeck.streams.columnar.rows import raw_id
from tapedeck.streams.protocol import Row
from tapedeck.streams.stages.account.rules.money import ZERO
from tapedeck.streams.stages.account.rules.orders import Side
from tapedeck.streams.stages.account.rules.positions import OPTION_MULTIPLIER
from tapedeck.streams.stages.account.state import AccountState
from tapedeck.tape.whatif.outcomes import DecisionOutcome

_STOCK = ("BUY_STOCK", "SELL_STOCK")


def payload_of(row: Row) -> tuple[str, dict[str, Any]]:
    """The record's name and its fields."""
    name, fields = row.body["payload"]
    return name.rpartition(".")[2], fields


def records_of(source: Source, name: str, account_id: str) -> Iterator[dict[str, Any]]:
    """One account's records on an account topic, in log order, each event once.

    One at a time: only the ids of earlier records are held.
    """
    part = name, source.layout.partition(name, {"account_id": account_id})
    own = account_id.encode()
    seen: set[bytes] = set()
    for block in source.stream(part, *source.ends([name])[part]):
        for place in range(len(block)):
            key, value = block.key(place), block.value(place)
            if key is None or value is None or key.split(b"|")[0] != own:
                continue
            try:
                body = decode(name, value)
            except DeadLetter:
                continue  # a record that live rejected too
            identity = raw_id(body["event_id"])
            if identity not in seen:
                seen.add(identity)
                yield body


class Inbox:
    """An account's inbox as its stage sees it, read from its source on each iteration."""

    def __init__(self, source: Source, account_id: str) -> None:
        self._source, self._account_id = source, account_id

    def __iter__(self) -> Iterator[Row]:
        key = self._account_id.encode()
        for body in records_of(self._source, INBOX, self._account_id):
            yield Row(INBOX, key, body, body["event_time"], body["event_time"])


def with_payload(row: Row, **fields: Any) -> Row:
    """``row`` with some of its payload's fields changed."""
    name, content = row.body["payload"]
    return row._replace(body=row.body | {"payload": (name, content | fields)})


class Corrected:
    """The recorded inbox of an account whose orders changed.

    ``recorded_orders``: the client ids of the orders that were sent. ``signals``: the market part's changed
    signals by (symbol, bar); ``apart``: the ids of other stages' signals, which stay
    as recorded. ``unanswered`` counts those that need other answers.
    """

    def __init__(
        self,
        recorded_orders: frozenset[str],
        signals: Mapping[tuple[str, int], DecisionOutcome | None],
        apart: frozenset[str] = frozenset(),
    ) -> None:
        self._apart = apart
        self._recorded, self._signals = recorded_orders, signals
        self._not_done: dict[str, Decimal] = defaultdict(Decimal)
        self._ended: dict[str, Decimal] = {}
        self.unanswered: list[tuple[str, int]] = []

    def row(self, row: Row, state: AccountState) -> Row | None:
        """``row`` as it would be for an account in ``state``; None if it would not exist."""
        name, _ = payload_of(row)
        correct: dict[str, Callable[[Row, AccountState], Row | None]] = {
            "InboxSignal": self._signal,
            "InboxOrder": self._order,
            "InboxExecution": self._execution,
            "InboxActivity": self._activity,
            "InboxBroker": self._broker,
        }
        return correct[name](row, state) if name in correct else row

    def _signal(self, row: Row, state: AccountState) -> Row | None:
        fields = payload_of(row)[1]
        key = fields["symbol"], fields["bar_t"]
        if key not in self._signals or fields["signal_id"] in self._apart:
            return row
        now = self._signals[key]
        if now is None or not now.acts:
            return None
        same = now.action == fields["action"] and now.strategy == fields["strategy"]
        if not same and not (now.action in _STOCK and fields["action"] in _STOCK):
            self.unanswered.append(key)  # the recorded chain belongs to another window
            return None
        names = ("action", "strategy", "reason", "confidence", "direction")
        return with_payload(row, **{name: getattr(now, name) for name in names})

    def _order(self, row: Row, state: AccountState) -> Row | None:
        fields = payload_of(row)[1]
        order = state.orders.get(fields["client_order_id"])
        if order is None:
            return None if fields["client_order_id"] in self._recorded else row
        filled = fields["filled_qty"]
        return row if filled is None or filled <= order.qty else with_payload(row, filled_qty=order.qty)

    def _execution(self, row: Row, state: AccountState) -> Row | None:
        fields = payload_of(row)[1]
        identity, qty = fields["client_order_id"], fields["qty"]
        order = state.orders.get(identity)
        if order is None and identity not in self._recorded:
            return row
        done = ZERO if order is None else min(qty, max(order.qty - order.executed, ZERO))
        sign = 1 if fields["side"] == Side.BUY.value else -1
        self._not_done[fields["instrument"]] += sign * (qty - done)
        return with_payload(row, qty=done) if done else None

    def _activity(self, row: Row, state: AccountState) -> Row | None:
        """The contract's leg closes the whole position.

        The shares are those of the contracts that were bought.
        """
        fields = payload_of(row)[1]
        contract, qty = fields["contract"], fields["qty"]
        if contract is None:
            self._ended[fields["instrument"]] = self._not_done.pop(fields["instrument"], ZERO)
            return row
        missing = self._ended.get(contract, ZERO) + self._not_done.pop(contract, ZERO)
        less = min(abs(missing) * OPTION_MULTIPLIER, abs(qty)).copy_sign(qty)
        self._not_done[fields["instrument"]] += less
        return with_payload(row, qty=qty - less) if qty != less else None

    def _broker(self, row: Row, state: AccountState) -> Row | None:
        fields = payload_of(row)[1]
        held: dict[str, dict[str, Any]] = {each["instrument"]: each for each in fields["positions"]}
        for instrument, qty in sorted(self._not_done.items()):
            known = held.get(instrument, {"instrument": instrument, "qty": ZERO})
            held[instrument] = known | {"qty": known["qty"] - qty}
        listed = [i for i in fields["open_orders"] if i in state.orders or i not in self._recorded]
        return with_payload(row, positions=list(held.values()), open_orders=listed)
