"""Words and rows of the broker's that this code does not know: each stands alone, raw, and stops nothing."""

import json
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.connectors.alpaca import replies
from tapedeck.connectors.alpaca.trading import AlpacaBroker
from tapedeck.connectors.broker import NotUnderstood, Rows
from tapedeck.connectors.clock import ManualClock
from tapedeck.connectors.dispatch.dispatcher import Dispatcher
from tapedeck.connectors.dispatch.inbox import Body
from tapedeck.connectors.dispatch.lease import Lease, MemoryLeases
from tapedeck.connectors.paper.inprocess import InProcessBroker
from tapedeck.schemas.codec import PREFIX, decode, encode
from tapedeck.schemas.errors import NewerSchema
from tapedeck.schemas.ids import newest_id
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import example_account
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.task import SimTask, drain
from tapedeck.streams.stages.account.rules.orders import OrderState, Side
from tapedeck.streams.stages.account.state import AccountState, pack, unpack
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.topology import make
from tapedeck.streams.wire import record_wire
from tapedeck.topics.catalogue import Layout
from tests.support.account import Inbox, failed
from tests.support.paper import CALL, LARGE, LARGE_KEYS, TEN, StepClock, at, exchange, serving

URL = "http://127.0.0.1:8765"
ORDER: dict[str, Any] = {
    "id": "b1", "client_order_id": "c1", "created_at": "2026-02-17T15:00:00Z", "symbol": "NVDA", "qty": "3",
    "filled_qty": "0", "filled_avg_price": None, "side": "buy", "status": "new",
}  # fmt: skip
FILL: dict[str, Any] = {
    "id": "20260217103000000::x1", "order_id": "b1", "symbol": "NVDA", "side": "buy", "qty": "3",
    "price": "100.01", "transaction_time": "2026-02-17T15:30:00Z",
}  # fmt: skip


def test_a_short_sale_sells_in_orders_and_in_fills() -> None:
    assert replies.fill(FILL | {"side": "sell_short"}).side is Side.SELL
    read = replies.order(ORDER | {"side": "sell_short"})
    assert (read.side, read.raw_side) == (Side.SELL, "sell_short")
    update = {"event": "fill", "timestamp": "2026-02-17T15:30:00Z", "execution_id": "x1", "qty": "3"}
    assert replies.trade_update(update | {"order": ORDER | {"side": "sell_short"}}).order.side is Side.SELL


def test_a_market_order_by_amount_is_read_without_a_quantity() -> None:
    read = replies.order(ORDER | {"qty": None, "notional": "100"})
    assert (read.qty, read.notional, read.state) == (None, D(100), OrderState.ACCEPTED)


def test_an_order_of_several_legs_has_no_symbol_and_no_side_and_is_listed_all_the_same() -> None:
    found = replies.open_orders([ORDER | {"symbol": None, "side": None, "status": "held"}, ORDER])
    assert [(order.instrument, order.side) for order in found] == [("", None), ("NVDA", Side.BUY)]
    assert [row.instrument for row in found.unread] == [""]


@pytest.mark.parametrize(
    "row",
    [
        FILL | {"side": "teleport"},
        FILL | {"qty": None},
        FILL | {"price": "NaN"},
        FILL | {"qty": "1e30"},
        FILL | {"transaction_time": "2026-02-17"},
        {"symbol": "NVDA"},
    ],
)
def test_a_bad_row_stands_beside_the_good_ones_with_its_symbol_and_its_text(row: dict[str, Any]) -> None:
    found = replies.rows("activities", replies.fill, [FILL, row, FILL])
    assert len(found) == 2
    (unread,) = found.unread
    assert (unread.listed, unread.instrument, json.loads(unread.raw)) == ("activities", "NVDA", row)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(name=st.sampled_from(sorted({*ORDER, *FILL})), value=json_values, gone=st.booleans())
def test_no_value_of_any_field_spoils_a_list(name: str, value: Any, gone: bool) -> None:
    for parse, good in (
        (replies.order, ORDER),
        (replies.fill, FILL),
        (replies.position, ORDER | {"side": "long"}),
    ):
        row = {key: each for key, each in good.items() if key != name} if gone else good | {name: value}
        found = replies.rows("rows", parse, [good, row, value])  # type: ignore[type-var]
        assert len(found) + len(found.unread) == 3 and found[0] == parse(good)
        for unread in found.unread:
            record = ("tapedeck.InboxBrokerRow", _content(unread))
            encode("account_inbox", {"event_id": "e", "event_time": 1, "account_id": "a", "payload": record})
    listed = replies.open_orders([ORDER, ORDER | {name: value}])
    assert listed[0] == replies.order(ORDER)


def _content(row: Any) -> dict[str, Any]:
    names = ("listed", "instrument", "client_order_id", "side", "error", "raw")
    return {each: getattr(row, each) for each in names} | {"qty": None, "notional": None, "raw_status": None}


def test_a_position_whose_side_is_unknown_is_not_taken_for_a_long() -> None:
    row = {"symbol": "NVDA", "qty": "5", "side": "sideways"}
    assert replies.rows("positions", replies.position, [row]) == []
    assert replies.position(row | {"side": "short"}).qty == -5


class Strange(InProcessBroker):
    """A broker whose account a person uses too; what its lists hold besides is set by the test."""

    more_orders: tuple[dict[str, Any], ...] = ()
    more_fills: tuple[dict[str, Any], ...] = ()

    def open_orders(self) -> Rows[Any]:
        return replies.open_orders([*self._exchange.orders(self._number), *self.more_orders])

    def activities(self, after: int) -> Rows[Any]:
        ours = self._exchange.activities(self._number, after)
        return replies.rows("activities", replies.fill, [*ours, *self.more_fills])

    def order(self, broker_order_id: str) -> Any:
        raise NotUnderstood("the order behind the fill has no client id")


def desk() -> tuple[Dispatcher, Strange]:
    broker = Strange(exchange(), LARGE.number, URL)
    lease = Lease(MemoryLeases(lambda: 0.0), "large", "test", monotonic=lambda: 0.0)
    lease.acquire()
    account = example_account("large", "large", URL)
    return Dispatcher(Config(), account, broker, ManualClock(TEN), lease=lease, calendar=xnys()), broker


def contents(bodies: list[Body]) -> list[tuple[str, dict[str, Any]]]:
    read = [decode("account_inbox", encode("account_inbox", body))["payload"] for body in bodies]
    return [(kind.removeprefix("tapedeck."), content) for kind, content in read]


def test_a_comparison_goes_on_beside_rows_that_are_not_understood() -> None:
    dispatcher, broker = desk()
    broker.more_orders = (ORDER, ORDER | {"client_order_id": "c2", "side": "teleport", "symbol": "AMD"})
    broker.more_fills = (FILL | {"side": "sell_short"}, FILL | {"side": "teleport", "symbol": "AMD"})
    fill, lost, external, other, row, compared = contents(
        dispatcher.perform({"kind": "FETCH_BROKER", "request_id": "r"})
    )
    assert (fill[1]["side"], fill[1]["client_order_id"]) == ("SELL", "b1")
    assert (lost[0], lost[1]["listed"], lost[1]["instrument"]) == ("InboxBrokerRow", "activities", "AMD")
    assert (external[1]["client_order_id"], external[1]["error"], external[1]["qty"]) == ("c1", None, D(3))
    assert (other[1]["client_order_id"], other[1]["side"]) == ("c2", "teleport")
    assert (row[1]["listed"], row[1]["error"]) == ("orders", "ValueError: side teleport is not known")
    assert (compared[0], compared[1]["error"]) == ("InboxBroker", None)
    assert compared[1]["open_orders"] == ["c1", "c2"], "an order that is not understood is not gone"


def test_an_order_by_amount_that_a_person_placed_is_told_with_its_amount() -> None:
    dispatcher, broker = desk()
    broker.more_orders = (ORDER | {"qty": None, "notional": "100"},)
    external, compared = contents(dispatcher.perform({"kind": "FETCH_BROKER", "request_id": "r"}))
    assert (external[1]["qty"], external[1]["notional"], external[1]["error"]) == (None, D(100), None)
    assert compared[1]["error"] is None


def test_the_adapter_reads_rows_apart_over_http_too() -> None:
    paper = exchange()
    paper.submit(LARGE.number, {"symbol": CALL, "qty": "2", "side": "buy", "type": "limit",
                                "limit_price": "2.10", "time_in_force": "day"})  # fmt: skip
    whole = paper.activities
    with serving(paper, StepClock(TEN)) as url:
        broker = AlpacaBroker(url, LARGE_KEYS)
        paper.activities = lambda number, after=0: [  # type: ignore[method-assign]
            *whole(number, after), *({**raw, "side": "teleport"} for raw in whole(number, after)),
        ]  # fmt: skip
        found = broker.activities(at("14:00:00"))
    assert [fill.side for fill in found] == [Side.BUY]
    assert [row.side for row in found.unread] == ["teleport"]


def row(inbox: Inbox, **changes: Any) -> None:
    fields = {"listed": "activities", "instrument": "NVDA", "error": "ValueError: side teleport", "raw": "{}"}
    inbox.put("InboxBrokerRow", **(fields | changes))


def reasons(inbox: Inbox) -> list[str]:
    return failed(inbox.of("proposals")[-1])


def signalled(inbox: Inbox, symbol: str) -> list[str]:
    inbox.pass_time(1).signal(symbol, signal_id=f"sg_{symbol}_{len(inbox.rows)}")
    return reasons(inbox)


def test_a_row_that_is_not_understood_blocks_its_symbol_alone_and_is_kept_once() -> None:
    inbox = Inbox().start()
    listed_again(inbox)
    row(inbox)
    row(inbox)
    assert [drop.reason for drop in inbox.drops] == ["UNRECOGNISED_ROW"]
    assert "side teleport" in inbox.drops[0].detail and "nothing is opened in NVDA" in inbox.drops[0].remedy
    assert inbox.stage.dead_letter_reasons == {"UNRECOGNISED_ROW"}
    assert signalled(inbox, "NVDA") == ["NEEDS_RECONCILE"]
    inbox.signal("AMD")
    assert inbox.of("proposals")[-1]["verdict"] == "APPROVED"
    assert len(inbox.drops) == 1


def listed_again(inbox: Inbox, **changes: Any) -> None:
    """Have the broker's answers name the row, as long as it is there."""

    def answer(request: dict[str, Any]) -> None:
        if request["kind"] == "FETCH_BROKER":
            row(inbox, **changes)
        Inbox.answer(inbox, request)

    inbox.answer = answer  # type: ignore[method-assign]


def test_a_row_blocks_until_a_comparison_no_longer_lists_it() -> None:
    inbox = Inbox().start()
    row(inbox)
    inbox.put("InboxBroker", positions=[], open_orders=[], request_id="")
    row(inbox)
    inbox.put("InboxBroker", positions=[], open_orders=[], request_id="")
    assert unpack(inbox.state).unread, "it was listed right before this comparison"
    inbox.put("InboxBroker", positions=[], open_orders=[], request_id="")
    assert not unpack(inbox.state).unread
    assert signalled(inbox, "NVDA") == []


def test_a_trade_update_that_is_not_understood_blocks_until_the_next_comparison() -> None:
    inbox = Inbox().start()
    row(inbox, listed="trade_updates")
    assert unpack(inbox.state).unread
    inbox.put("InboxBroker", positions=[], open_orders=[], request_id="")
    assert not unpack(inbox.state).unread


def test_a_row_that_names_no_symbol_blocks_every_symbol() -> None:
    inbox = Inbox().start()
    listed_again(inbox, instrument="")
    row(inbox, instrument="")
    for symbol in ("NVDA", "AMD"):
        assert signalled(inbox, symbol) == ["NEEDS_RECONCILE"]


def test_a_persons_order_blocks_its_own_symbol_alone_while_it_works() -> None:
    inbox = Inbox().start()
    row(inbox, listed="orders", client_order_id="by-hand", error=None, side="buy", notional=D(100))
    inbox.broker_orders = ["by-hand"]
    inbox.put("InboxBroker", positions=[], open_orders=["by-hand"], request_id="")
    assert not inbox.drops
    assert signalled(inbox, "NVDA") == ["NEEDS_RECONCILE"]
    inbox.signal("AMD")
    assert inbox.of("proposals")[-1]["verdict"] == "APPROVED"
    inbox.broker_orders = [order["client_order_id"] for order in inbox.of("orders")]
    assert signalled(inbox, "NVDA") == []


def test_an_older_process_stops_at_an_inbox_record_of_a_newer_release_at_every_start() -> None:
    log, home = MemoryLog(Layout()), Layout().partition("account_inbox", {"account_id": "large"})
    body = Inbox(tier="large").row("InboxTick", {}).body
    known = record_wire("account_inbox", b"large", body, log.layout, [])
    newer = known._replace(value=PREFIX.pack(0, newest_id() + 1) + encode("account_inbox", body)[5:])
    for wire in (known, newer):
        log.append(wire)
    config = Config(accounts=(example_account("large", "large", URL),))
    stage = make(TOPOLOGY.account, config, xnys(), "large")
    task = SimTask(TOPOLOGY.stage("account"), stage, log, (home,), only_key=b"large")
    for _ in range(2):
        with pytest.raises(NewerSchema, match="topic account_inbox holds a record with a schema id beyond"):
            drain([task])
        task.restart()
    assert not list(log.messages("dead_letters"))


def test_a_state_without_such_rows_is_written_as_the_first_release_wrote_it() -> None:
    plain = pack(AccountState())
    assert plain.startswith(b"[1,") and b"unread" not in plain and b"external" not in plain
    kept = AccountState(external={"c1": "NVDA"})
    assert pack(kept).startswith(b"[2,")
    assert unpack(pack(kept)) == kept and unpack(plain) == AccountState()
