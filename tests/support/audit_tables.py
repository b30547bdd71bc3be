"""The audit store's tables for one test, and records to fill them with."""

from dataclasses import dataclass, field
from decimal import Decimal
from decimal import Decimal as D
from typing import Any

from tapedeck.connectors.postgres.connection import READ_ROLE, connect
from tapedeck.connectors.postgres.mapping import maps
from tapedeck.connectors.postgres.store import Store, Written
from tapedeck.schemas.codec import encode, load_schema
from tapedeck.streams.protocol import Message
from tapedeck.topics.catalogue import topic

# 2023-11-14 22:14 UTC: the evening of a New York session.
T = 1_700_000_040_000_000
SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE
CALL = "NVDA231117C00500000"


def schema_of(name: str) -> str:
    """The record that a topic holds."""
    schema = topic(name).schema
    assert schema is not None
    return schema


class Schema:
    """One test's tables, and short ways to fill and read them."""

    def __init__(self, url: str, prefix: str) -> None:
        self.url, self.prefix = url, prefix
        self.offset = 0

    def put(self, name: str, *rows: dict[str, Any]) -> Written:
        target, written = maps([name])[name], Written()
        with connect(self.url, self.prefix) as connection, connection.transaction():
            Store(connection).write(target, [self._message(name, body) for body in rows], written)
        return written

    def _message(self, name: str, body: dict[str, Any]) -> Message:
        self.offset += 1
        return Message(name, 0, self.offset, 0, b"k", encode(schema_of(name), body), ())

    def read(self, statement: str) -> list[tuple[Any, ...]]:
        with connect(self.url, self.prefix, role=READ_ROLE) as connection:
            return connection.execute(statement.encode()).fetchall()

    def names(self, kind: str) -> set[str]:
        with connect(self.url, self.prefix, role=None) as connection:
            found = connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
                " AND relkind = %s",
                (kind,),
            )
            return {row[0] for row in found}


def record(name: str, **given: Any) -> dict[str, Any]:
    """A record of ``name`` whose other fields are null, empty or the first symbol."""

    def blank(kind: Any) -> Any:
        if isinstance(kind, list):
            return None if "null" in kind else blank(kind[0])
        kind_name = kind["type"] if isinstance(kind, dict) else kind
        if kind_name == "enum":
            return kind["symbols"][0]
        if kind_name == "record":
            return {field["name"]: blank(field["type"]) for field in kind["fields"]}
        empty = {"string": "", "int": 0, "long": 0, "double": 0.0, "boolean": False, "array": []}
        return empty.get(kind_name, Decimal(0))

    fields = load_schema(name)["fields"]
    body = {field["name"]: blank(field["type"]) for field in fields} | {"event_time": T} | given
    if "event_id" not in given:
        body["event_id"] = "|".join(str(given[key]) for key in sorted(given))
    if "config_digest" in body and "config_digest" not in given:
        body["config_digest"] = "cafe"
    return body


@dataclass
class Book:
    """Writes what a dispatcher writes of positions that open and close."""

    store: Schema
    number: int = 0
    known: set[str] = field(default_factory=set)

    def account(self, account_id: str, mode: str = "PAPER", at: int = T - DAY) -> None:
        row = record("accounts", account_id=account_id, mode=mode, event_time=at)
        self.store.put("accounts", row | {"event_id": f"a|{account_id}|{at}"})

    def trade(
        self,
        entry: str,
        exit_: str,
        *,
        qty: int = 1,
        fee: str = "0",
        account_id: str = "tiny",
        at: int = T,
        **told: Any,
    ) -> None:
        """One position, bought at ``at`` and sold two minutes later; ``told`` of its records."""
        if account_id not in self.known:
            self.known.add(account_id)
            self.account(account_id)
        self.number += 1
        name, n = f"p{self.number}", self.number
        told = {"instrument": f"S{n}", "multiplier": 1, "strategy": "day_trade"} | told
        reason = told.pop("exit_reason", "PROFIT_TARGET")
        realised = (D(exit_) - D(entry)) * qty * told["multiplier"]
        common = {"account_id": account_id, "position_id": name, "opened_at": at, "owner": "TAPEDECK", **told}
        open_ = {"qty": D(qty), "average_cost": D(entry)}
        shut = {"qty": D(0), "exit_reason": reason, "realised": realised}
        steps = [(0, "OPEN", open_, 0), (1, "CLOSING", open_ | {"exit_reason": reason}, 1),
                 (2, "CLOSED", shut, 2)]  # fmt: skip
        self.store.put(
            "positions",
            *(
                record("positions", **common, **more, seq=seq, state=state, event_time=at + late * MINUTE,
                       event_id=f"{name}|{seq}", inputs=[f"x{name}|{seq}"])
                for seq, state, more, late in steps
            ),
        )  # fmt: skip
        for seq, side, price, late in ((0, "BUY", entry, 0), (2, "SELL", exit_, 2)):
            self.execution(
                f"x{name}|{seq}", account_id, told["instrument"], side, qty, price, fee, at + late * MINUTE
            )

    def execution(self, name: str, account_id: str, instrument: str, *more: Any, **told: Any) -> None:
        side, qty, price, fee, at = more
        self.store.put(
            "executions",
            record("executions", event_id=name, execution_id=name, account_id=account_id,
                   instrument=instrument, side=side, qty=D(qty), price=None if price is None else D(price),
                   fee=D(fee), event_time=at, **told),
        )  # fmt: skip

    def signalled(
        self, name: str, confidence: float, sentiment: float | None, direction: str = "BULL"
    ) -> str:
        """A signal, by its id. ``sentiment``: None where there was none."""
        self.store.put(
            "signals",
            record("signals", event_id=name, signal_id=name, confidence=confidence, direction=direction,
                   sentiment_n=0 if sentiment is None else 3, sentiment_avg=sentiment or 0.0),
        )  # fmt: skip
        return name
