"""Credentials are in no log, error, record or table, whatever the broker answers and however they change."""

import asyncio
import logging
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tapedeck.connectors.alpaca.trading import AlpacaBroker
from tapedeck.connectors.alpaca.updates import TradeUpdates
from tapedeck.connectors.clock import ManualClock
from tapedeck.connectors.credentials import Keys
from tapedeck.connectors.dispatch.dispatcher import Dispatcher
from tapedeck.connectors.dispatch.lease import Lease, MemoryLeases
from tapedeck.connectors.paper.faults import Fault
from tapedeck.connectors.postgres.database import downgrade, upgrade
from tapedeck.connectors.postgres.documents import keep_document
from tapedeck.schemas.codec import Body
from tapedeck.schemas.errors import Fatal, TapeError
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import example_account
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.task import drain
from tapedeck.streams.stages.account.rules.requests import body
from tapedeck.streams.wire import record_wire
from tapedeck.topics.catalogue import Layout, topic
from tests.support.audit_tables import Schema
from tests.support.desk import Uptime, submit
from tests.support.paper import LARGE, SECOND, TEN, TINY, StepClock, exchange, serving, state
from tests.support.paths import INBOX, OUTPUTS, account_task
from tests.support.paths import bodies as bodies_of
from tests.support.unspoken import spoken, tables

pytestmark = pytest.mark.integration

SECRETS = (LARGE.key, LARGE.secret, TINY.key, TINY.secret)
FAULTS = (
    Fault.GATEWAY_TIMEOUT_BEFORE, Fault.GATEWAY_TIMEOUT_AFTER, Fault.DROP_BEFORE, Fault.DROP_AFTER,
    Fault.RATE_LIMIT, Fault.WRONG_ACCOUNT, Fault.REJECT,
)  # fmt: skip


@pytest.fixture
def store(postgres: Any, prefix: str) -> Iterator[Schema]:
    upgrade(postgres.url, prefix)
    yield Schema(postgres.url, prefix)
    downgrade(postgres.url, prefix)


@dataclass
class Trade:
    """A dispatcher's core over alpaca-py and a served exchange, with its credentials in files."""

    url: str
    folder: Path
    texts: list[tuple[str, str]] = field(default_factory=list)
    told: list[Body] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.write(LARGE.key, LARGE.secret)
        self.keys = Keys(str(self.folder / "key"), str(self.folder / "secret"), {})
        self.broker = AlpacaBroker(self.url, self.keys)
        account = example_account("large", "large", self.url)
        self.config = Config(accounts=(account,))
        uptime = Uptime()
        lease = Lease(MemoryLeases(uptime), "large", "test", monotonic=uptime)
        lease.acquire()
        self.clock = ManualClock(TEN)
        self.core = Dispatcher(self.config, account, self.broker, self.clock, lease=lease, calendar=xnys())

    def write(self, key: str, secret: str) -> None:
        for name, content in (("key", key), ("secret", secret)):
            path = self.folder / name
            path.write_text(content)
            path.chmod(0o600)

    def work(self, number: int) -> None:
        """Everything that a dispatcher asks of its broker, once, when a refused rate is over."""
        self.clock.set(self.clock.now() + 180 * SECOND)
        for check in self.core.self_test("NVDA"):
            self.texts.append(("a self-test", repr(check)))
        self.told += [*self.core.snapshot(), *self.core.perform(body(submit(f"td1-{number}")))]
        for call in (self.broker.clock, self.broker.positions, self.broker.open_orders):
            try:
                call()
            except TapeError as error:
                chain = (error, error.__cause__, error.__context__)
                self.texts += [("an error", f"{each} {each!r}") for each in chain]

    def listen(self) -> None:
        """Hear the stream until it is connected, or refuses."""
        health: list[str] = []
        updates = TradeUpdates(self.url, self.keys, lambda _: None, lambda _, detail: health.append(detail))

        async def hear() -> None:
            task = asyncio.ensure_future(updates.run())
            for _ in range(200):
                await asyncio.sleep(0.01)
                if health or task.done():
                    break
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        try:
            asyncio.run(hear())
        except Fatal as error:
            health.append(repr(error))
        self.texts += [("the stream's health", text) for text in health]


def test_no_secret_is_in_a_log_an_error_a_record_or_a_table(
    store: Schema, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    paper = exchange()
    with serving(paper, StepClock(TEN)) as url:
        trade = Trade(url, tmp_path)
        trade.work(0)
        trade.listen()
        for number, fault in enumerate(FAULTS, 1):
            paper.faults.arm(fault, count=4)
            trade.work(number)
        trade.write(TINY.key, TINY.secret)  # another account's
        trade.work(100)
        trade.write(LARGE.key, TINY.secret)  # a pair that nobody has
        trade.work(101)
        trade.listen()
        trade.write(LARGE.key, f"{LARGE.secret}\n{TINY.secret}")  # no secret at all
        trade.work(102)
        trade.write(LARGE.key, LARGE.secret)
        trade.work(103)
        asked = state(url)
    # the run did what it is about: calls with credentials, refused ones, each fault
    assert asked["requests"]["submit"] >= 3 and "POST /v2/orders" in caplog.text
    assert all(paper.faults.fired[fault] for fault in FAULTS)
    shown = " ".join(text for _, text in trade.texts) + str(trade.told)
    assert "replaced credentials reach account PAPER-TINY" in shown and "not authorized" in shown
    assert "more than one line" in caplog.text

    log = folded(trade)
    keep_document(store.url, store.prefix, trade.config, person="ada", reason="test")
    for name in (INBOX, *OUTPUTS):
        if topic(name).audited:
            store.put(name, *bodies_of(log, name))
    rows = tables(store.url, store.prefix)
    assert {"t_account_inbox", "t_accounts", "config_documents"} <= {name for name, _ in rows}
    records = [
        (message.topic, (message.value or b"") + repr(message.headers).encode())
        for name in (INBOX, *OUTPUTS)
        for message in log.messages(name)
    ]
    places = [("the log", caplog.text), *trade.texts, *records, *rows, ("the core", repr(vars(trade.core)))]
    assert len(records) > 20
    assert spoken(SECRETS, places) == set()
    for place in (0, len(places) // 2, len(places) - 1):  # the search would find one
        name, content = places[place]
        marked = content + (SECRETS[1] if isinstance(content, str) else SECRETS[1].encode())
        assert spoken(SECRETS, [(name, marked)]) == {name}


def folded(trade: Trade) -> MemoryLog:
    """The inbox that was filled, and what the account stage makes of it."""
    log = MemoryLog(Layout())
    for place, each in enumerate(trade.told):
        each["event_id"] = f"{each['event_id'][:24]}{place:08d}"
        log.append(record_wire(INBOX, topic(INBOX).record_key(each), each, log.layout, []))
    drain([account_task(log, "large", trade.config)])
    return log


@pytest.mark.parametrize("secret", ["s3cret/+value=", "plain-secret-value"])
def test_a_secret_is_found_in_each_form(secret: str) -> None:
    data = secret.encode()
    for form in (secret, quote(secret, safe=""), b64encode(data).decode(), data.hex()):
        assert spoken([secret], [("here", f"x{form}y"), ("there", "nothing")]) == {"here"}
    assert spoken([secret], [("there", b"nothing")]) == set()
