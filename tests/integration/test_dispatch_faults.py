"""A dispatcher whose broker is away, whose credentials are another account's, or that is not alone."""

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tapedeck.agents.process import FAILED_EXIT
from tapedeck.connectors.clock import TapeClock
from tapedeck.connectors.controls import EVERY_ACCOUNT, control
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.kafka.outbox import Outbox
from tapedeck.connectors.paper.book import PaperAccount
from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.postgres.database import downgrade, upgrade
from tapedeck.connectors.tapes.marks import Follower
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import example_account
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.account.rules.gate_types import KillState
from tapedeck.streams.wire import Origin
from tapedeck.tape.local.places import free_port
from tests.conftest import Broker, Database
from tests.support.live import Workers, bodies, eventually
from tests.support.paper import serving
from tests.support.paths import ORDERED_AT, by_minute, cut, morning
from tests.support.sim_tapes import small_tape

pytestmark = pytest.mark.integration
ACCOUNTS = ("large", "medium", "small")
CONFIG = Config(accounts=tuple(example_account(name, name) for name in ACCOUNTS))
MINUTES = slice(ORDERED_AT - 1, ORDERED_AT + 2)
PATIENCE_S = 120.0
CONTAINER = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")
"""As in a container, what runs under this is process 1."""


class Desk:
    """Dispatchers of three accounts on one pipeline, whose third account has the credentials of nobody."""

    def __init__(self, workers: Workers, database: Database, paper: PaperExchange, url: str) -> None:
        self.workers, self.paper, self.url = workers, paper, url
        self._database = database
        self._records = {name: by_minute(morning().log, name) for name in ("bars", "features", "signals")}
        self.labels = [minute.label for minute in small_tape().minutes[MINUTES]]

    def start(
        self, account: str, *, disk: str, keys_of: str = "", url: str = "", under: tuple[str, ...] = ()
    ) -> subprocess.Popen[bytes]:
        names, keys = CONFIG.account(account), keys_of or account
        extra = {
            "DATABASE_URL": self._database.url, "TAPE_EXCHANGE_URL": url or self.url,
            "TAPE_HOME": str(self.workers.folder / disk),
            names.key_ref: f"key-{keys}", names.secret_ref: f"secret-{keys}",
        }  # fmt: skip
        return self.workers.tape("dispatch", account, extra=extra, under=under)

    def play(self, label: int, *accounts: str) -> None:
        """One minute, until the dispatchers of ``accounts`` have settled it."""
        requests.post(f"{self.url}/_paper/advance", json={"label": label}, timeout=10).raise_for_status()
        outbox = Outbox(self.workers.cluster, "test")
        for minutes in self._records.values():
            outbox.write(minutes[label])
        outbox.close()
        stages = tuple(f"dispatch-{account}" for account in accounts)
        where = (self.workers.cluster, ())
        with Follower(*where, stages=stages, patience_s=PATIENCE_S) as follower:
            try:
                follower.wait_for(label)
            except Fatal as error:
                said = [f"{account}:\n{self.log_of(account)[-4000:]}" for account in accounts]
                raise AssertionError("\n".join([str(error), *said])) from error

    def of(self, name: str, account: str) -> list[dict[str, Any]]:
        found = bodies(self.workers.cluster, name)
        return [body for body in found if body["account_id"] == account]

    def log_of(self, account: str) -> str:
        return self.workers.log_of("dispatch", account)

    def inbox(self, account: str, kind: str) -> list[dict[str, Any]]:
        payloads = [body["payload"] for body in self.of("account_inbox", account)]
        return [payload for name, payload in payloads if name == f"tapedeck.{kind}"]


@pytest.fixture
def desk(kafka: Broker, postgres: Database, prefix: str, tmp_path: Path) -> Iterator[Desk]:
    workers = Workers(kafka.bootstrap, prefix, tmp_path, CONFIG)
    upgrade(postgres.url, prefix)
    tape = cut(small_tape(), MINUTES)
    writer = KafkaLogWriter(Cluster(kafka.bootstrap, workers.layout), Origin("test", "test", ""))
    change = control(
        EVERY_ACCOUNT, KillState.ACTIVE, person="test", reason="start", now=tape.minutes[0].label
    )
    writer.send("controls", change)
    writer.close()
    accounts = [
        PaperAccount(account.broker_account_id, f"key-{name}", f"secret-{name}", Decimal(100_000))
        for name in ACCOUNTS
        if (account := CONFIG.account(name))
    ]
    paper = PaperExchange(tape.market, xnys(), accounts, now=tape.first_live)
    with serving(paper, TapeClock(None)) as url:  # type: ignore[arg-type]
        yield Desk(workers, postgres, paper, url)
        workers.stop()
    downgrade(postgres.url, prefix)


@pytest.mark.long
def test_nothing_is_opened_without_an_exchange_or_with_the_credentials_of_another_account(
    desk: Desk,
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    away = desk.start("large", disk="one", url=nowhere)
    stranger = desk.start("medium", disk="two", keys_of="small")
    nobody = desk.start("small", disk="three", keys_of="nobody")
    for label in desk.labels:
        desk.play(label, "large", "medium")

    said = desk.log_of("large")
    assert f"self-test account failed at {nowhere}: no answer from the broker" in said
    assert "no position is opened until it passes" in said
    assert "these credentials reach account PAPER-SMALL, configured is PAPER-MEDIUM" in desk.log_of("medium")
    reasons = {"large": "ACCOUNT_UNVERIFIED", "medium": "ACCOUNT_MISMATCH"}
    for account, reason in reasons.items():
        proposals = desk.of("proposals", account)
        assert {(each["verdict"], each["primary_reason"]) for each in proposals} == {("REFUSED", reason)}
        assert len(desk.inbox(account, "InboxSignal")) == len(proposals) > 0
        assert desk.of("orders", account) == []
    assert (away.poll(), stranger.poll()) == (None, None)

    assert nobody.wait(30) == FAILED_EXIT
    said = desk.log_of("small")
    assert "the broker refused the credentials" in said
    assert "check the variables that key_ref and secret_ref name" in said
    assert "secret-nobody" not in said
    for account in ACCOUNTS:
        assert desk.paper.orders(CONFIG.account(account).broker_account_id, "all") == []


@pytest.mark.long
def test_a_second_dispatcher_of_an_account_waits_says_so_and_takes_over_when_the_first_is_gone(
    desk: Desk,
) -> None:
    before, ordered, after = desk.labels
    container = CONTAINER if can_contain() else ()
    first = desk.start("large", disk="one", under=container)
    desk.play(before, "large")
    twin = desk.start("large", disk="two", under=container)
    pid = 1 if container else first.pid
    held = re.compile(rf"large waits: the account large is held by [0-9a-f]{{32}} \(pid {pid} on ")
    eventually(lambda: bool(held.search(desk.log_of("large"))), "the second one says who holds the account")
    desk.play(ordered, "large")
    first.send_signal(signal.SIGKILL)
    assert first.wait(10) == -signal.SIGKILL
    desk.play(after, "large")
    assert twin.poll() is None
    assert [record["lease_epoch"] for record in desk.inbox("large", "InboxStarted")] == [1, 2]
    orders = desk.paper.orders(CONFIG.account("large").broker_account_id, "all")
    assert len(orders) == 1
    (worker,) = psutil.Process(twin.pid).children() if container else [psutil.Process(twin.pid)]
    worker.send_signal(signal.SIGTERM)
    assert twin.wait(15) == 0, desk.log_of("large")

    waited = len(held.findall(desk.log_of("large")))
    desk.start("large", disk="two")
    eventually(lambda: len(desk.inbox("large", "InboxStarted")) == 3, "the next one starts")
    said = re.findall("large waits: the account large is held by", desk.log_of("large"))
    assert len(said) == waited, "a lease that was let go is not waited for"


def can_contain() -> bool:
    """Whether this machine lets a test make namespaces."""
    return (
        shutil.which("unshare") is not None
        and subprocess.run([*CONTAINER, "true"], check=False).returncode == 0
    )
