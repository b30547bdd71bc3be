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
        told_positions = sorted(
            self._own(recording, "positions"), key=lambda body: (body["opened_at"], body["seq"])
        )
        self.positions = {body["instrument"]: body for body in told_positions}
        self.newest_positions = list({body["position_id"]: body for body in told_positions}.values())
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

    def orders_for(self, proposal: Body) -> list[list[Body]]:
        """The records of each order that was placed for an approved proposal, first attempt first."""
        found = [
            records
            for records in self.orders.values()
            if (records[0]["signal_id"], records[0]["purpose"])
            == (proposal["signal_id"], proposal["purpose"])
        ]
        return sorted(found, key=lambda records: int(records[0]["attempt"]))

    def ordered(self) -> FunnelLine:
        """An approved proposal becomes an order; one the broker never took shows its reason or state."""
        taken, reasons = self.taken_by_broker, Counter[str]()
        given = 0
        for body in self.approved:
            orders = self.orders_for(body)
            if any(records[0]["client_order_id"] in taken for records in orders):
                given += 1
            elif orders:
                reasons[orders[-1][-1]["reason"] or orders[-1][-1]["state"]] += 1
        return self._line("orders", "approved proposal", len(self.approved), given, reasons)

    def executed(self) -> FunnelLine:
        """What was ordered counts when its executions add up to what the broker reports as filled. Without a
        fill it has the reason or the state in which its last order ended, or is still in."""
        taken, quantities, reasons = self.taken_by_broker, self.executed_qty, Counter[str]()
        ordered = done = 0
        for body in self.approved:
            orders = self.orders_for(body)
            if not any(records[0]["client_order_id"] in taken for records in orders):
                continue
            ordered += 1
            executed = sum((quantities.get(o[0]["client_order_id"], ZERO) for o in orders), ZERO)
            filled = sum((records[-1]["filled_qty"] for records in orders), ZERO)
            if executed and executed == filled:
                done += 1
            elif not executed and not filled:
                reasons[orders[-1][-1]["reason"] or orders[-1][-1]["state"]] += 1
        return self._line("executions", "order", ordered, done, reasons)

    def _line(self, stage: str, unit: str, taken: int, given: int, reasons: Counter[str]) -> FunnelLine:
        return FunnelLine(
            stage=stage, unit=unit, taken=taken, given=given, account=self.account_id, reasons=told(reasons)
        )


FUNNEL = Funnel(_lines)
