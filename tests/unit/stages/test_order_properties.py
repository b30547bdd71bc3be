"""Whatever order partial fills, cancels, late executions and repeats of a parent order come in."""

from collections import defaultdict
from decimal import Decimal as D
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tapedeck.streams.stages.account.state import unpack
from tests.support.account import Inbox

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["accept", "part", "fill", "cancelled", "late", "again", "doubt", "missing", "reject", "expire",
             "step", "tick", "long tick", "restart", "close", "reordered"]
        ),
        st.integers(0, 7),
    ),
    max_size=30,
)  # fmt: skip


class Broker:
    """A broker that executes as it likes, but never more of an order than was sent."""

    def __init__(self) -> None:
        self.inbox = Inbox(ticker_cooldown_minutes=1).start()
        self.done: dict[str, D] = defaultdict(D)
        self.told: list[tuple[dict[str, Any], str, str]] = []
        self.held_back: list[tuple[dict[str, Any], str, D]] = []
        self.ended: set[str] = set()

    def sent(self) -> list[dict[str, Any]]:
        names = {request["client_order_id"] for request in self.inbox.requests("SUBMIT")}
        first = {}
        for order in self.inbox.of("orders"):
            if order["client_order_id"] in names:
                first.setdefault(order["client_order_id"], order)
        return list(first.values())

    def working(self, number: int) -> dict[str, Any] | None:
        open_ones = [each for each in self.sent() if each["client_order_id"] not in self.ended]
        return open_ones[number % len(open_ones)] if open_ones else None

    def execute(self, order: dict[str, Any], number: int, *, tell: bool = True) -> None:
        name = order["client_order_id"]
        left = order["qty"] - self.done[name]
        qty = min(left, D(1 + number % 3))
        if qty <= 0:
            return
        self.done[name] += qty
        identity = f"x-{name}-{self.done[name]:f}"
        if tell:
            self.told.append((order, identity, f"{qty:f}"))
            self.inbox.execute(order, identity, f"{qty:f}", "2.00")
        else:
            self.held_back.append((order, identity, qty))

    def reply(self, order: dict[str, Any], state: str) -> None:
        name = order["client_order_id"]
        filled = {"filled_qty": self.done[name], "filled_avg_price": D("2.00") if self.done[name] else None}
        self.inbox.reply(name, state, **filled)

    def end(self, order: dict[str, Any], state: str) -> None:
        self.ended.add(order["client_order_id"])
        self.reply(order, state)

    def flush(self) -> None:
        """The executions that were held back come, the newest first."""
        while self.held_back:
            order, identity, qty = self.held_back.pop()
            self.told.append((order, identity, f"{qty:f}"))
            self.inbox.execute(order, identity, f"{qty:f}", "2.00", source="REST")

    def sync(self) -> None:
        """What the broker lists: its own quantities and orders."""
        held: dict[str, D] = defaultdict(D)
        for order in self.sent():
            qty = self.done[order["client_order_id"]]
            held[order["instrument"]] += qty if order["side"] == "BUY" else -qty
        self.inbox.broker_positions = [{"instrument": name, "qty": qty} for name, qty in held.items() if qty]
        open_ones = [each["client_order_id"] for each in self.sent()]
        self.inbox.broker_orders = [name for name in open_ones if name not in self.ended]

    def happen(self, what: str, number: int) -> None:
        self.sync()
        inbox, order = self.inbox, self.working(number)
        inbox.pass_time(1 + number)
        match what:
            case "tick" | "long tick":
                inbox.pass_time(60 if what == "long tick" else 0).put("InboxTick")
            case "restart":
                inbox.put("InboxStarted", lease_epoch=2)
                inbox.put("InboxStream", healthy=True, detail="")
            case "again" if self.told:
                of, identity, qty = self.told[number % len(self.told)]
                inbox.execute(of, identity, qty, "2.00", source="REST")
            case "late":
                self.flush()
            case "close":
                self.command()
        if order is None:
            return
        match what:
            case "accept":
                self.reply(order, "PARTIAL" if self.done[order["client_order_id"]] else "ACCEPTED")
            case "part" | "reordered":
                self.execute(order, number, tell=what == "part")
                if self.done[order["client_order_id"]] == order["qty"]:
                    self.end(order, "FILLED")
                else:
                    self.reply(order, "PARTIAL")
            case "fill":
                while self.done[order["client_order_id"]] < order["qty"]:
                    self.execute(order, 2, tell=number % 2 == 0)
                self.end(order, "FILLED")
            case "step":
                self.reply(order, "PARTIAL" if self.done[order["client_order_id"]] else "ACCEPTED")
                inbox.pass_time(5).put("InboxTick")
                self.end(order, "CANCELED")
            case "cancelled":
                self.end(order, "CANCELED")
            case "expire":
                self.end(order, "EXPIRED")
            case "doubt":
                inbox.doubt(order["client_order_id"])
            case "reject" | "missing" if not self.done[order["client_order_id"]]:
                self.ended.add(order["client_order_id"])
                if what == "reject":
                    inbox.reply(order["client_order_id"], "REJECTED")
                else:
                    inbox.doubt(order["client_order_id"])
                    for _ in range(4):
                        inbox.missing(order["client_order_id"])

    def command(self) -> None:
        newest = {each["position_id"]: each for each in self.inbox.of("positions")}
        for each in newest.values():
            if each["qty"]:
                self.inbox.put(
                    "InboxControl", control_event_id="c", scope="large", state="ACTIVE", person="ann",
                    reason="x", command="CLOSE_POSITION", target=each["position_id"],
                )  # fmt: skip


def check(broker: Broker) -> None:
    inbox = broker.inbox
    assert inbox.state is not None
    state = unpack(inbox.state)
    executed: dict[str, D] = defaultdict(D)
    position: dict[str, D] = defaultdict(D)
    for each in inbox.of("executions"):
        executed[each["client_order_id"]] += each["qty"]
        position[each["instrument"]] += each["qty"] if each["side"] == "BUY" else -each["qty"]
    orders = {each["client_order_id"]: each for each in inbox.of("orders")}
    approved = {each["signal_id"]: each["quantity"] for each in inbox.of("proposals")}
    bought: dict[str, D] = defaultdict(D)
    for name, order in orders.items():
        assert executed[name] <= order["qty"]
        if order["purpose"] == "OPEN":
            bought[order["signal_id"]] += executed[name]
    assert all(qty <= approved[signal] for signal, qty in bought.items()), "more than was approved"
    for source, parent in state.parents.items():
        mine = [order for name, order in state.orders.items() if order.parent == source]
        assert parent.executed == sum((executed[order.client_order_id] for order in mine), D(0))
        assert parent.remaining == max(parent.qty - parent.executed, D(0)), "what remains is their fold"
    check_reservations(broker)
    newest = {each["instrument"]: each["qty"] for each in inbox.of("positions")}
    assert {name: qty for name, qty in newest.items() if qty} == {n: q for n, q in position.items() if q}
    assert all(qty >= 0 for qty in position.values()), "sold more than was held"
    assert not [each for each in inbox.of("executions") if each["reason"]], (
        "nothing was missing at the broker"
    )


def check_reservations(broker: Broker) -> None:
    """What may still be bought at the broker is reserved."""
    assert broker.inbox.state is not None
    reserved: dict[str, D] = defaultdict(D)
    for each in unpack(broker.inbox.state).reserved:
        if each.purpose == "OPEN":
            reserved[each.instrument] += each.remaining
    pending: dict[str, D] = defaultdict(D)
    waits: dict[str, D] = defaultdict(D)
    for order in broker.sent():
        name = order["client_order_id"]
        if order["purpose"] == "OPEN" and name not in broker.ended:
            pending[order["instrument"]] += order["qty"] - broker.done[name]
    for order, _, qty in broker.held_back:
        if order["purpose"] == "OPEN":
            waits[order["instrument"]] += qty
    for instrument in pending | waits:
        assert reserved[instrument] >= pending[instrument] + waits[instrument], instrument


@given(EVENTS, st.sampled_from(["BUY_CALL", "BUY_STOCK"]))
@settings(max_examples=60, deadline=None)
def test_no_order_of_events_buys_more_than_approved_or_sells_more_than_held(
    events: list[tuple[str, int]], action: str
) -> None:
    broker = Broker()
    broker.inbox.signal(action=action)
    for what, number in events:
        broker.happen(what, number)
        check(broker)
    broker.flush()
    check(broker)
