"""What the broker's activities tell that this process has not appended yet: executions and option events."""

from collections.abc import Callable
from dataclasses import replace

from tapedeck.connectors.broker import Broker, NotFound, NotUnderstood, OrderReply
from tapedeck.connectors.clock import Clock
from tapedeck.connectors.dispatch.inbox import Body, Inbox

_EVENTS_US = 10 * 24 * 3600 * 1_000_000  # they may be listed a day late, by the date of the expiry


class History:
    """The executions and events that one dispatcher has seen, and whose orders they belong to."""

    def __init__(self, inbox: Inbox, clock: Clock) -> None:
        self._inbox, self._clock = inbox, clock
        self._executions: set[str] = set()
        self._events: set[tuple[str, str]] = set()
        self._client_ids: dict[str, str] = {}
        self.last: str | None = None
        """The newest execution that the broker has listed."""

    def heard(self, execution_id: str) -> None:
        """The stream told of an execution."""
        self._executions.add(execution_id)

    def belongs(self, order: OrderReply) -> None:
        """Note the client id of an order of the broker's, and of what replaced it."""
        self._client_ids[order.broker_order_id] = order.client_order_id
        if order.replaced_by is not None:
            self._client_ids[order.replaced_by] = order.client_order_id

    def named(self, order: OrderReply) -> OrderReply | None:
        """``order`` under the first client id of its chain; None if this process never saw what it replaces.

        Whose that is must be asked then: it may be ours, sent by another process of the account.
        """
        first = self._client_ids.get(order.broker_order_id)
        if first is None and order.replaces is not None:
            first = self._client_ids.get(order.replaces)
            if first is None:
                return None
        return order if first is None else replace(order, client_order_id=first)

    def rooted(self, broker: Callable[[], Broker], order: OrderReply) -> OrderReply:
        """``order`` under the first client id of its chain, which is asked if need be; ``broker``: for one
        call. May raise BrokerError."""
        known = self.named(order)
        if known is None:
            first = self._client_id(broker, order.broker_order_id) or order.client_order_id
            known = replace(order, client_order_id=first)
        return known

    def missed(self, broker: Callable[[], Broker], since: int, asked_by: str) -> list[Body]:
        """Executions that were not appended yet, oldest first; then unread rows. ``broker``: for one call."""
        fills = broker().activities(max(since, 0))
        now, out = self._clock.now(), []
        for fill in fills:
            if fill.execution_id in self._executions:
                continue
            client_id = self._client_id(broker, fill.broker_order_id) or fill.broker_order_id
            out.append(self._inbox.fill(fill, client_id, now))
        self._executions |= {body["payload"][1]["execution_id"] for body in out}
        self.last = fills[-1].execution_id if fills else self.last
        return out + [self._inbox.unread(row, asked_by, now) for row in fills.unread]

    def option_events(self, broker: Broker, asked_by: str) -> list[Body]:
        """What became of expired contracts and was not appended yet; then unread rows."""
        found = broker.option_events(max(self._clock.now() - _EVENTS_US, 0))
        now, fresh = self._clock.now(), [e for e in found if (e.kind, e.activity_id) not in self._events]
        self._events |= {(event.kind, event.activity_id) for event in fresh}
        bodies = [self._inbox.activity(event, now) for event in fresh]
        return bodies + [self._inbox.unread(row, asked_by, now) for row in found.unread]

    def _client_id(self, broker: Callable[[], Broker], broker_order_id: str) -> str | None:
        """The first client id of an order's chain; None for one that the broker cannot tell about."""
        known = self._client_ids.get(broker_order_id)
        if known is not None:
            return known
        try:
            order = broker().order(broker_order_id)
        except (NotFound, NotUnderstood):
            return None
        self.belongs(order)
        return order.client_order_id
