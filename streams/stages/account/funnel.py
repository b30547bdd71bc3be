"""The funnel's last three stages, once per account: signals to proposals, to orders, to executions."""

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

from tapedeck.streams.config.document import Config
from tapedeck.streams.funnel import Body, Funnel, FunnelLine, Recorded, lost_on_arrival, told
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.account.decide import Verdict
from tapedeck.streams.stages.account.rules.money import ZERO
from tapedeck.streams.stages.account.rules.orders import OrderState


def _lines(recording: Recorded, config: Config, calendar: Calendar) -> Iterator[FunnelLine]:
    """Three lines per configured account, stage by stage."""
    books = [AccountBook(recording, account.account_id) for account in config.accounts]
    yield from (book.proposed() for book in books)
    yield from (book.ordered() for book in books)
    yield from (book.executed() for book in books)


class AccountBook:
    """What one account's topics hold. ``orders`` maps client order id to its records, by seq."""

    def __init__(self, recording: Recorded, account_id: str) -> None:
        self.account_id = account_id
        routed = [recording[name] for name in recording.signal_topics]
        self.signals = sum(each.records for each in routed)
        self._lost = sum(map(lost_on_arrival, routed), Counter[str]())
        self.proposals = self._own(recording, "proposals")
        self.executions = self._own(recording, "executions")
        self.positions = {body["instrument"]: body for body in self._in_turn(recording, "positions")}
        self.orders: dict[str, list[Body]] = {}
        for body in self._in_turn(recording, "orders"):
            self.orders.setdefault(body["client_order_id"], []).append(body)
        self._refused = Counter(
            each.reason
            for each in recording.refused()
            if each.stage == "account" and each.topic == "account_inbox" and self._is_signal(each.body)
        )

    def _own(self, recording: Recorded, name: str) -> list[Body]:
        return [body for body in recording.bodies(name) if body["account_id"] == self.account_id]

    def _in_turn(self, recording: Recorded, name: str) -> list[Body]:
        return sorted(self._own(recording, name), key=lambda body: body["seq"])

    def _is_signal(self, inbox: Body | None) -> bool:
        if inbox is None or inbox["account_id"] != self.account_id:
            return False
        kind: str = inbox["payload"][0]
        return kind.endswith("InboxSignal")

    @property
    def approved(self) -> list[Body]:
        return [body for body in self.proposals if body["verdict"] == Verdict.APPROVED]

    @property
    def taken_by_broker(self) -> set[str]:
        """Client ids of the orders that the broker received and did not reject."""
        return {
            order_id
            for order_id, records in self.orders.items()
            if records[-1]["state"] != OrderState.REJECTED
            and any(record["broker_order_id"] is not None for record in records)
        }

    @property
    def executed_qty(self) -> dict[str, Decimal]:
        """The quantity that each order's executions add up to; foreign orders under their own ids."""
        found: dict[str, Decimal] = {}
        for body in self.executions:
            order_id = body["client_order_id"]
            found[order_id] = found.get(order_id, ZERO) + body["qty"]
        return found

    def proposed(self) -> FunnelLine:
        """A signal becomes a proposal; one that is not APPROVED has its primary reason."""
        reasons = self._refused + self._lost
        for body in self.proposals:
            if body["verdict"] == Verdict.SHADOWED:
                reasons[Verdict.SHADOWED] += 1
            elif body["verdict"] != Verdict.APPROVED:
                reasons[body["primary_reason"]] += 1
        return self._line("proposals", "signal", self.signals, len(self.approved), reasons)

    def ordered(self) -> FunnelLine:
        """An approved proposal becomes an order; one the broker never took shows its reason or state."""
        taken, reasons = self.taken_by_broker, Counter[str]()
        for body in self.approved:
            records = self.orders.get(body["client_order_id"])
            if records is not None and body["client_order_id"] not in taken:
                reasons[records[-1]["reason"] or records[-1]["state"]] += 1
        return self._line("orders", "approved proposal", len(self.approved), len(taken), reasons)

    def executed(self) -> FunnelLine:
        """An order counts when its executions add up to what the broker reports as filled. One without a fill
        has the state it ended in, or is still in."""
        taken, done, reasons = self.taken_by_broker, 0, Counter[str]()
        for order_id in taken:
            last, executed = self.orders[order_id][-1], self.executed_qty.get(order_id, ZERO)
            if executed and executed == last["filled_qty"]:
                done += 1
            elif not executed and not last["filled_qty"]:
                reasons[last["state"]] += 1
        return self._line("executions", "order", len(taken), done, reasons)

    def _line(self, stage: str, unit: str, taken: int, given: int, reasons: Counter[str]) -> FunnelLine:
        return FunnelLine(
            stage=stage, unit=unit, taken=taken, given=given, account=self.account_id, reasons=told(reasons)
        )


FUNNEL = Funnel(_lines)
