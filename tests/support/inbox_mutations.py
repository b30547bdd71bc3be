"""Seeded changes to records of an account's inbox: of their values, and of their bytes."""

import random
from copy import deepcopy
from decimal import Decimal as D
from typing import Any

from tapedeck.schemas.codec import decode, encode
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.protocol import Row
from tests.support.account import SECOND, Inbox, day

BIG = D("9999999999999999999999.999999")
"""The largest number that fits into a decimal of the log."""
_BY_KIND: dict[type, list[Any]] = {
    bool: [True, False],
    int: [0, -1, 1, 1 << 40, -(1 << 40), 2**62, 253_402_300_799_000_000],
    float: [0.0, -1.0, 1e300, -1e300, 5e-324],
    str: ["", "?", "x" * 3000, "*", "large", "NVDA", "AMD260306C00100000", "a|b", "\x00", "ACTIVE", "🙂"],
    D: [D(0), D(-1), D("0.000001"), BIG, -BIG, D("0.5")],
}


def busy() -> Inbox:
    """A day with every kind of record in it: openings, closes, doubt, adjustments, an expiry, a halt."""
    inbox = Inbox(ticker_cooldown_minutes=1).start()
    inbox.signal("AMD", "BUY_STOCK")
    order = inbox.of("orders")[-1]
    inbox.reply(order["client_order_id"], "ACCEPTED")
    for number in (1, 2):
        inbox.pass_time(1).reply(
            order["client_order_id"], "PARTIAL", filled_qty=D(number), filled_avg_price=D(100)
        )
        inbox.execute(order, f"part-{number}", "1", "100")
    inbox.pass_time(6).put("InboxTick")
    inbox.reply(order["client_order_id"], "CANCELED", filled_qty=D(2))
    inbox.fill(inbox.of("orders")[-1])
    inbox.pass_time(61).signal("NVDA")
    inbox.doubt(inbox.of("orders")[-1]["client_order_id"])
    inbox.missing(inbox.of("orders")[-1]["client_order_id"])
    inbox.fill(inbox.of("orders")[-1])
    inbox.put(
        "InboxBar", bar_event_id="b", symbol="AMD", bar_t=inbox.now - 60 * SECOND, revision=0, close=100.0
    )
    inbox.execute({"client_order_id": "theirs", "instrument": "IBM", "side": "BUY"}, "theirs", "3.5", "50")
    option = {"instrument": "CRM260217P00100000", "side": "BUY", "client_order_id": "theirs-2"}
    inbox.execute(option, "theirs-2", "1", "1.5")
    inbox.put("InboxBrokerRow", listed="orders", instrument="IBM", client_order_id="x", raw="{}")
    inbox.put("InboxBrokerRow", listed="positions", instrument="", error="no side", raw="[1]")
    inbox.halt("NVDA")
    inbox.regime(18.0)
    inbox.earnings("CRM", day("2026-02-17"), "AFTER_CLOSE")
    held = {each["instrument"]: each["qty"] for each in inbox.of("positions")} | {"ORCL": D(2)}
    inbox.broker_positions = [{"instrument": name, "qty": qty} for name, qty in held.items() if qty]
    inbox.put("InboxBroker", positions=inbox.broker_positions, open_orders=[])
    inbox.pass_time(31).put("InboxTick")
    position = next(each for each in inbox.of("positions") if each["instrument"] == "AMD")
    command = {"scope": "large", "state": "ACTIVE", "person": "ann", "reason": "x", "control_event_id": "c1"}
    inbox.put("InboxControl", command="CLOSE_POSITION", target=position["position_id"], **command)
    inbox.fill(inbox.of("orders")[-1])
    adjusted = next((each for each in inbox.of("executions") if each["reason"] == "RECON_ADJUST"), None)
    assert adjusted is not None, "the difference stood, and was adjusted"
    inbox.put("InboxControl", command="RESOLVE", target=adjusted["execution_id"], price=D(9), **command)
    inbox.put("InboxStream", healthy=False, detail="cut")
    inbox.signal("AMD", "BUY_PUT", strategy="swing_trade")
    inbox.put("InboxStarted", lease_epoch=2)
    inbox.put("InboxStream", healthy=True, detail="again")
    inbox.put(
        "InboxActivity", activity_id="a", activity_type="OPEXP", date=day("2026-02-17"),
        instrument=option["instrument"], qty=D(-1), price=D(0),
    )  # fmt: skip
    inbox.control("large", "HALTED")
    for _ in range(4):
        inbox.pass_time(10).put("InboxTick")
    return inbox


def changed(row: Row, rng: random.Random) -> Row | None:
    """``row`` with one to three of its values changed; None where the log cannot hold the result."""
    body = deepcopy(row.body)
    for _ in range(rng.randint(1, 3)):
        _change(body["payload"][1], rng)
    return _through_the_log(body, row)


def shifted(row: Row, rng: random.Random) -> Row | None:
    """``row`` at another time, up to years away."""
    body = deepcopy(row.body)
    body["event_time"] += rng.choice([-1, 1]) * rng.choice([1, 86_400, 400 * 86_400]) * SECOND
    return _through_the_log(body, row)


def damaged(row: Row, rng: random.Random) -> Row | None:
    """``row`` after changes of its bytes; None for what is a dead letter before it reaches the stage."""
    raw = bytearray(encode("account_inbox", row.body))
    for _ in range(rng.randint(1, 3)):
        raw[rng.randrange(5, len(raw))] = rng.randrange(256)
    try:
        body = decode("account_inbox", bytes(raw))
    except DeadLetter:
        return None
    return row._replace(body=body, now=body["event_time"])


def _through_the_log(body: dict[str, Any], row: Row) -> Row | None:
    try:
        body = decode("account_inbox", encode("account_inbox", body))
    except Exception:  # the writer would not have written it: the stage never sees such a record
        return None
    return row._replace(body=body, now=body["event_time"])


def _change(content: dict[str, Any], rng: random.Random) -> None:
    names = sorted(content)
    if not names:
        return
    name = rng.choice(names)
    known = content[name]
    if isinstance(known, list) and known and isinstance(known[0], dict) and rng.random() < 0.8:
        _change(rng.choice(known), rng)
    elif isinstance(known, list):
        content[name] = [] if rng.random() < 0.5 else known * 2
    elif known is None or rng.random() < 0.2:
        content[name] = None if rng.random() < 0.5 else rng.choice(rng.choice(list(_BY_KIND.values())))
    else:
        content[name] = rng.choice(_BY_KIND.get(type(known), [None]))
