"""A hand-driven inbox for tests of the account stage: does the work of the dispatcher's shell."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from tapedeck.schemas.codec import decode, encode
from tapedeck.streams.config.accounts import Account
from tapedeck.streams.config.document import Config
from tapedeck.streams.identity import event_id
from tapedeck.streams.protocol import MINUTE_US, REQUESTS, Drop, Out, Row
from tapedeck.streams.sessions import day_number, micros, xnys
from tapedeck.streams.stages.account.rules.occ import Occ, Right, build
from tapedeck.streams.stages.account.stage import AccountStage
from tapedeck.topics.catalogue import topic

SECOND = 1_000_000
NUMBER = "PA0000001"
URL = "http://127.0.0.1:8100"
D = Decimal


def at(text: str) -> int:
    """UTC microseconds of an ISO time that names its offset."""
    return micros(datetime.fromisoformat(text))


def day(text: str) -> int:
    return day_number(date.fromisoformat(text))


TODAY = day("2026-02-17")
ELEVEN = at("2026-02-17T11:00:00-05:00")


def make_account(tier: str = "large", **changes: Any) -> Account:
    fields = {
        "account_id": tier,
        "tier": tier,
        "base_url": URL,
        "broker_account_id": NUMBER,
        "key_ref": "TAPE_TEST_KEY",
        "secret_ref": "TAPE_TEST_SECRET",
    }
    return Account.model_validate(fields | changes)


def make_stage(rules: dict[str, Any] | None = None, **changes: Any) -> AccountStage:
    """The stage of an account with ``changes``, under the groups ``rules`` of the document."""
    account = make_account(**changes)
    document = Config.model_validate({**(rules or {}), "accounts": (account,)})
    return AccountStage(document, account, xnys())


def contract(symbol: str, right: Right, strike: str, expiry: int, now: int, **changes: Any) -> dict[str, Any]:
    """A liquid contract at 1.98 / 2.02."""
    fields = {
        "symbol": build(Occ(symbol, expiry, right, D(strike))),
        "expiry": expiry,
        "right": right.value,
        "strike": D(strike),
        "size": 100,
        "bid": D("1.98"),
        "ask": D("2.02"),
        "quote_time": now - SECOND,
        "volume": 1200,
        "open_interest": 900,
        "delta": 0.4 if right is Right.CALL else -0.4,
    }
    return fields | changes


class Inbox:
    """Appends records, runs the stage on each, and keeps the outputs.

    ``answers`` False leaves requests to the test. Every input and output passes through its schema.
    """

    def __init__(
        self,
        *,
        answers: bool = True,
        now: int = ELEVEN,
        rules: dict[str, Any] | None = None,
        **account: Any,
    ) -> None:
        self.stage = make_stage(rules, **account)
        self.account_id = self.stage._rules.account.account_id
        self.now = now
        self.answers = answers
        self.state: bytes | None = None
        self.rows: list[Row] = []
        self.outs: list[Out] = []
        self.drops: list[Drop] = []
        self.equity, self.power = D(100_000), D(100_000)
        self.stock = (D("99.99"), D("100.01"))
        self.number = NUMBER
        self.broker_positions: list[dict[str, Any]] = []
        self.broker_orders: list[str] = []

    def row(self, kind: str, payload: dict[str, Any]) -> Row:
        body = {
            "event_id": event_id("account_inbox", (self.account_id, kind, len(self.rows))),
            "event_time": self.now,
            "account_id": self.account_id,
            "payload": (f"tapedeck.{kind}", payload),
        }
        body = decode("account_inbox", encode("account_inbox", body))
        return Row("account_inbox", self.account_id.encode(), body, 0, self.now)

    def put(self, kind: str, **payload: Any) -> list[Out]:
        """Append one record and fold it; then, if ``answers``, the answers to its requests."""
        row = self.row(kind, payload)
        self.rows.append(row)
        step = self.stage.step(self.account_id.encode(), self.state, [row])
        self.state = step.state
        self.outs += step.outs
        self.drops += step.drops
        check_schemas(step.outs)
        for out in step.outs:
            if out.topic == REQUESTS and self.answers:
                self.answer(out.body)
        return step.outs

    def answer(self, request: dict[str, Any]) -> None:
        """The broker's reply to a reading request."""
        match request["kind"]:
            case "FETCH_ACCOUNT":
                self.snapshot(request["request_id"])
            case "FETCH_BROKER":
                self.put(
                    "InboxBroker",
                    positions=self.broker_positions,
                    open_orders=self.broker_orders,
                    request_id=request["request_id"],
                )
            case "FETCH_QUOTE":
                self.quote(request)
            case "FETCH_CHAIN":
                self.chain(request)

    def snapshot(self, request_id: str = "") -> list[Out]:
        return self.put(
            "InboxAccount",
            request_id=request_id,
            broker_account_id=self.number,
            status="ACTIVE",
            base_url=URL,
            equity=self.equity,
            cash=self.equity,
            buying_power=self.power,
            options_buying_power=self.power,
        )

    def quote(self, request: dict[str, Any], **changes: Any) -> None:
        option = request["instrument"] != request["underlying"]
        bid, ask = (D("1.98"), D("2.02")) if option else self.stock
        fields = {"quote_time": self.now - SECOND, "bid": bid, "ask": ask, "feed": "iex", "origin": "test"}
        asked = {name: request[name] for name in ("request_id", "instrument", "underlying")}
        self.put("InboxQuote", **(asked | fields | changes))

    def chain(self, request: dict[str, Any]) -> None:
        right, middle = request["right"], (request["strike_from"] + request["strike_to"]) / 2
        made = [
            contract(
                request["underlying"], right, str(int(middle) + offset), request["expiry_from"], self.now
            )
            for offset in (-1, 0, 1, 2)
        ]
        self.put(
            "InboxChain",
            request_id=request["request_id"],
            underlying=request["underlying"],
            feed="indicative",
            origin="test",
            contracts=made,
        )

    def start(self) -> "Inbox":
        """A healthy, ACTIVE account that agrees with its broker."""
        self.put("InboxStarted", lease_epoch=1)
        self.put("InboxStream", healthy=True, detail="subscribed")
        self.control("*")
        return self

    def control(self, scope: str, state: str = "ACTIVE") -> list[Out]:
        return self.put(
            "InboxControl",
            control_event_id=f"c{len(self.rows)}",
            scope=scope,
            state=state,
            person="ann",
            reason="x",
        )

    def halt(self, symbol: str, halted: bool = True, since: int | None = None) -> list[Out]:
        return self.put(
            "InboxHalt",
            market_event_id=f"m{len(self.rows)}",
            symbol=symbol,
            halted=halted,
            since=self.now if since is None else since,
        )

    def regime(self, value: float, *, at: int | None = None, available_at: int | None = None) -> list[Out]:
        measured = self.now if at is None else at
        return self.put(
            "InboxRegime",
            regime_event_id=f"r{len(self.rows)}",
            value=value,
            measured_at=measured,
            available_at=measured if available_at is None else available_at,
        )

    def earnings(
        self, symbol: str, report_date: int | None, time: str, *, available_at: int | None = None
    ) -> list[Out]:
        return self.put(
            "InboxEarnings",
            earnings_event_id=f"n{len(self.rows)}",
            symbol=symbol,
            report_date=report_date,
            report_time=time,
            available_at=self.now if available_at is None else available_at,
        )

    def signal(self, symbol: str = "NVDA", action: str = "BUY_CALL", **changes: Any) -> list[Out]:
        bar_t = self.now // MINUTE_US * MINUTE_US - MINUTE_US
        fields = {
            "signal_event_id": f"e-{symbol}-{bar_t}",
            "signal_id": f"sg_{symbol}_{bar_t}",
            "symbol": symbol,
            "action": action,
            "strategy": "day_trade",
            "reason": "OPTION_DAY_TRADE",
            "confidence": 0.8,
            "direction": "BULL",
            "bar_t": bar_t,
            "as_of": bar_t + MINUTE_US,
            "close": 100.0,
            "universe_version": 1,
            "newest_bar_t": bar_t,
            "newest_feature_t": bar_t,
        }
        return self.put("InboxSignal", **(fields | changes))

    def reply(self, client_order_id: str, state: str | None, **changes: Any) -> list[Out]:
        fields = {
            "found": True,
            "broker_order_id": "b-" + client_order_id,
            "state": state,
            "raw_status": state.lower() if state else None,
            "filled_qty": D(0),
            "filled_avg_price": None,
            "error": None,
            "doubt": False,
            "source": "REST",
        }
        return self.put("InboxOrder", client_order_id=client_order_id, **(fields | changes))

    def doubt(self, client_order_id: str) -> list[Out]:
        return self.reply(client_order_id, None, found=False, broker_order_id=None, doubt=True, error="504")

    def missing(self, client_order_id: str) -> list[Out]:
        return self.reply(client_order_id, None, found=False, broker_order_id=None, error="404")

    def execute(
        self, order: dict[str, Any], identity: str, qty: str, price: str, **changes: Any
    ) -> list[Out]:
        fields = {
            "execution_id": identity,
            "client_order_id": order["client_order_id"],
            "instrument": order["instrument"],
            "side": order["side"],
            "qty": D(qty),
            "price": D(price),
            "fee": D(0),
            "executed_at": self.now,
            "source": "STREAM",
        }
        return self.put("InboxExecution", **(fields | changes))

    def fill(self, order: dict[str, Any]) -> None:
        """A fill of the whole order at its limit."""
        filled = {"filled_qty": order["qty"], "filled_avg_price": order["limit_price"], "source": "STREAM"}
        self.reply(order["client_order_id"], "FILLED", **filled)
        self.execute(order, f"x-{order['client_order_id']}", str(order["qty"]), str(order["limit_price"]))

    def of(self, name: str) -> list[dict[str, Any]]:
        """Bodies of one output topic, in order."""
        return [out.body for out in self.outs if out.topic == name]

    def requests(self, kind: str) -> list[dict[str, Any]]:
        return [out.body for out in self.outs if out.topic == REQUESTS and out.body["kind"] == kind]

    def pass_time(self, seconds: float) -> "Inbox":
        self.now += int(seconds * SECOND)
        return self


def check_schemas(outs: list[Out]) -> None:
    for out in outs:
        if out.topic == REQUESTS:
            continue
        encode(out.topic, out.body)
        assert out.record_key == topic(out.topic).record_key(out.body)
        assert out.event_id == out.body["event_id"]


def gates_of(proposal: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {gate["gate"]: gate for gate in proposal["gates"]}


def failed(proposal: dict[str, Any]) -> list[str]:
    return [gate["reason"] for gate in proposal["gates"] if not gate["passed"]]
