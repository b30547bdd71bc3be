"""A dispatcher process on real Kafka, Postgres and alpaca-py: the account is the fold of its inbox."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
import requests

from tapedeck.connectors.alpaca.market.steps import Kind, market_event
from tapedeck.connectors.clock import TapeClock
from tapedeck.connectors.controls import EVERY_ACCOUNT, control
from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.kafka.outbox import Outbox
from tapedeck.connectors.kafka.scan import read_topic
from tapedeck.connectors.paper.book import PaperAccount
from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.postgres.database import upgrade
from tapedeck.connectors.tapes.marks import Follower
from tapedeck.streams.digests import OutputDigest, of_messages, of_state
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.task import drain
from tapedeck.streams.stages.account.rules.gate_types import KillState
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.wire import Origin, trace_of
from tapedeck.tape.rebuild.whole import live_state, rebuild_account
from tapedeck.topics.catalogue import CATALOGUE
from tests.conftest import Broker, Database
from tests.support.live import Workers, bodies, eventually
from tests.support.paper import serving
from tests.support.paths import (
    CONFIG,
    INBOX,
    ORDERED_AT,
    OUTPUTS,
    account_task,
    by_minute,
    cut,
    morning,
    wire,
)
from tests.support.sim_tapes import small_tape
from tests.support.unspoken import spoken

pytestmark = pytest.mark.integration
ACCOUNT = "large"
KEYS = ("key-large", "secret-large")
BEFORE = 2
MINUTES = slice(ORDERED_AT - BEFORE, ORDERED_AT + 4)
PATIENCE_S = 120.0


class Floor:
    """Topics, the paper exchange's server and the dispatcher of one account, moved a minute at a time."""

    def __init__(
        self, workers: Workers, database: Database, paper: PaperExchange, url: str, minutes: slice
    ) -> None:
        self.workers, self.paper = workers, paper
        self._url, self._database = url, database
        self._outbox = Outbox(workers.cluster, "test")
        self._records = {name: by_minute(morning().log, name) for name in ("bars", "features", "signals")}
        self.labels = [minute.label for minute in small_tape().minutes[minutes]]

    def start(self, disk: str = "disk") -> subprocess.Popen[bytes]:
        names = CONFIG.account(ACCOUNT)
        extra = {
            "DATABASE_URL": self._database.url, "TAPE_EXCHANGE_URL": self._url,
            "TAPE_HOME": str(self.workers.folder / disk),
            names.key_ref: KEYS[0], names.secret_ref: KEYS[1],
        }  # fmt: skip
        return self.workers.tape("dispatch", ACCOUNT, extra=extra)

    def write(self, label: int) -> None:
        """One minute as a tape that is played brings it: the exchange's clock, then the records."""
        requests.post(f"{self._url}/_paper/advance", json={"label": label}, timeout=10).raise_for_status()
        for minutes in self._records.values():
            self._outbox.write(minutes[label])

    def halt(self, symbol: str) -> None:
        """Trading of ``symbol`` is halted, in a feed with another event that is not an account's business."""
        writer = KafkaLogWriter(self.workers.cluster, Origin("test", "test", ""))
        for kind in (Kind.NO_TRADE, Kind.HALTED):
            event = market_event(kind, symbol, CONFIG.bars.feed, event_time=self.labels[0])
            writer.send(event.topic, event.body)
        writer.close()

    def payloads(self, kind: str) -> list[dict[str, object]]:
        found = (record["payload"] for record in self.of(INBOX))
        return [fields for name, fields in found if name == f"tapedeck.{kind}"]  # type: ignore[misc]

    def settled(self, label: int) -> None:
        stage = f"dispatch-{ACCOUNT}"
        with Follower(self.workers.cluster, (), stages=(stage,), patience_s=PATIENCE_S) as follower:
            follower.wait_for(label)

    def play(self, labels: list[int]) -> None:
        for label in labels:
            self.write(label)
            self.settled(label)

    def close(self) -> None:
        self._outbox.close()

    # what came of it

    def live(self) -> dict[str, OutputDigest]:
        read = (self.workers.cluster,)
        return {name: of_messages(name, read_topic(*read, name)) for name in OUTPUTS}

    def live_digests(self) -> dict[str, str]:
        state = live_state(TOPOLOGY.stage("account"), KafkaSource(self.workers.cluster))
        return {n: digest.hexdigest() for n, digest in self.live().items()} | {"state": of_state(state)}

    def rebuilt_digests(self) -> dict[str, str]:
        source = KafkaSource(self.workers.cluster)
        return rebuild_account(TOPOLOGY.account, ACCOUNT, source, CONFIG, xnys()).digests()

    def sim_digests(self) -> dict[str, str]:
        log = MemoryLog(self.workers.layout)
        for message in read_topic(self.workers.cluster, INBOX):
            log.append(wire(message))
        task = account_task(log, ACCOUNT)
        drain([task])
        found = {name: of_messages(name, log.messages(name)).hexdigest() for name in OUTPUTS}
        return found | {"state": of_state(dict(task.disk.items()))}

    def agree(self) -> None:
        """Live, rebuild and sim have the same account; the process may just be folding its last record."""
        eventually(lambda: self.live_digests() == self.rebuilt_digests(), "live and rebuild to agree", 60)
        assert self.live_digests() == self.rebuilt_digests() == self.sim_digests()
        assert not any(digest.conflicts for digest in self.live().values())
        assert spoken(KEYS, self.places()) == set(), "credentials are in no record and no log"

    def places(self) -> list[tuple[str, str | bytes]]:
        """Every record of every topic, and every file that the processes wrote, by what it is called."""
        records = [
            (message.topic, (message.key or b"") + (message.value or b"") + repr(message.headers).encode())
            for each in CATALOGUE
            for message in read_topic(self.workers.cluster, each.name)
        ]
        files = [(path.name, path.read_bytes()) for path in self.workers.folder.rglob("*.log")]
        assert files and records
        return [*records, *files]

    def of(self, name: str) -> list[dict[str, object]]:
        return bodies(self.workers.cluster, name)

    def traces(self, name: str) -> set[str | None]:
        return {trace_of(m) for m in read_topic(self.workers.cluster, name) if m.value is not None}

    def held(self) -> dict[object, object]:
        return {p["instrument"]: p["qty"] for p in self.of("positions") if p["qty"]}

    def at_broker(self) -> dict[object, object]:
        number = CONFIG.account(ACCOUNT).broker_account_id
        return {at["symbol"]: Decimal(at["qty"]) for at in self.paper.positions(number)}

    def sent(self) -> list[dict[str, object]]:
        return self.paper.orders(CONFIG.account(ACCOUNT).broker_account_id, "all")


@contextmanager
def a_floor(workers: Workers, database: Database, minutes: slice = MINUTES) -> Iterator[Floor]:
    upgrade(database.url, workers.layout.prefix)
    writer = KafkaLogWriter(workers.cluster, Origin("test", "test", ""))
    first = small_tape().minutes[minutes][0].label
    writer.send(
        "controls", control(EVERY_ACCOUNT, KillState.ACTIVE, person="test", reason="start", now=first)
    )
    writer.close()
    number = CONFIG.account(ACCOUNT).broker_account_id
    account = PaperAccount(number, *KEYS, Decimal(100_000))
    tape = cut(small_tape(), minutes)
    paper = PaperExchange(tape.market, xnys(), [account], now=tape.first_live)
    with serving(paper, TapeClock(None)) as url:  # type: ignore[arg-type]
        floor = Floor(workers, database, paper, url, minutes)
        yield floor
        floor.close()


@pytest.fixture
def floor(kafka: Broker, postgres: Database, prefix: str, tmp_path: Path) -> Iterator[Floor]:
    workers = Workers(kafka.bootstrap, prefix, tmp_path, CONFIG)
    with a_floor(workers, postgres) as made:
        yield made
        workers.stop()


def test_a_signal_is_filled_and_rebuild_and_sim_agree_with_the_live_account(floor: Floor) -> None:
    floor.write(floor.labels[0])
    floor.halt("XOM")
    floor.start()
    floor.settled(floor.labels[0])
    floor.play(floor.labels[1:])
    eventually(lambda: floor.held() == floor.at_broker() != {}, "the position that the broker has", 60)
    assert [order["status"] for order in floor.sent()] == ["filled"]
    assert {proposal["verdict"] for proposal in floor.of("proposals")} == {"APPROVED"}
    floor.agree()
    assert list(read_topic(floor.workers.cluster, "dead_letters")) == []
    traces = {name: floor.traces(name) for name in ("signals", "proposals", "orders", "executions")}
    assert traces["executions"] == traces["orders"] == traces["proposals"] <= traces["signals"]
    assert floor.payloads("InboxHalt")[0]["symbol"] == "XOM"
    # one comparison of the start, one of the account's own, one of the first connection
    assert len(floor.payloads("InboxBroker")) == 3


@pytest.mark.long
def test_a_dispatcher_killed_at_its_order_comes_back_on_an_empty_disk_and_sends_nothing_twice(
    floor: Floor,
) -> None:
    floor.write(floor.labels[0])
    first = floor.start("one")
    floor.settled(floor.labels[0])
    floor.play(floor.labels[1:BEFORE])
    floor.write(floor.labels[BEFORE])
    eventually(lambda: bool(floor.of("orders")), "the first order's INTENT", 60)
    first.send_signal(signal.SIGKILL)
    assert first.wait(10) == -signal.SIGKILL
    floor.start("two")
    floor.settled(floor.labels[BEFORE])
    floor.play(floor.labels[BEFORE + 1 :])
    eventually(lambda: floor.held() == floor.at_broker(), "the position that the broker has", 60)
    assert len(floor.sent()) <= 1
    told = [record["payload"] for record in floor.of(INBOX)]
    starts = [at for at, (kind, _) in enumerate(told) if kind == "tapedeck.InboxStarted"]  # type: ignore[misc]
    assert len(starts) == 2
    back = [content for kind, content in told[starts[1] :] if kind == "tapedeck.InboxStream"]  # type: ignore[misc]
    assert back and back[-1]["healthy"], "the account knows that its stream is there again"
    assert not of_messages(INBOX, read_topic(floor.workers.cluster, INBOX)).conflicts
    assert len({order["client_order_id"] for order in floor.of("orders")}) == 1
    floor.agree()
