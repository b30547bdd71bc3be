"""Ways to break a running stack. Each asserts that it happened, and mends it at its end.

What one yields are variables for the doctor, empty where the stack itself is broken.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import requests
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, ResourceType
from psycopg import sql

from tapedeck.agents.settings import code_version
from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.controls import EVERY_ACCOUNT, control, write_control
from tapedeck.connectors.kafka.admin import admin_of, describe, ensure
from tapedeck.connectors.kafka.identity import cluster_id_of
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.kafka.scan import ends_of
from tapedeck.connectors.postgres.offsets import DEFAULT_GROUP as SINK
from tapedeck.connectors.postgres.resuming import adopt
from tapedeck.connectors.tapes.marks import reached
from tapedeck.schemas.codec import encode
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import Message
from tapedeck.streams.stages.account.rules.gate_types import KillState
from tapedeck.streams.stages.base import derived
from tapedeck.streams.wire import Origin
from tapedeck.tape.begin import write_universe
from tapedeck.tape.doctor.checks.flow import LAG
from tapedeck.tape.local.certificates import Authority
from tapedeck.tape.local.kafka import made_by
from tests.chaos.stack import Desk, until
from tests.conftest import Broker

Told = Mapping[str, str]
Break = Callable[[Desk, Broker], AbstractContextManager[Told]]
_TEN_YEARS_MS = str(3_650 * 24 * 3_600 * 1_000)
QUIET_TOPIC = "market_events"
"""No tape writes it."""


def dead(name: str) -> Break:
    @contextmanager
    def broken(desk: Desk, other: Broker) -> Iterator[Told]:
        desk.kill(name)
        yield {}
        assert not desk.is_alive(name)

    return broken


def frozen(name: str) -> Break:
    @contextmanager
    def broken(desk: Desk, other: Broker) -> Iterator[Told]:
        with desk.frozen(name):
            yield {}

    return broken


@contextmanager
def mute_exchange(desk: Desk, other: Broker) -> Iterator[Told]:
    with desk.frozen("exchange"):
        try:
            requests.get(f"{desk.stack.exchange_url}/_paper/state", timeout=1)
        except requests.Timeout:
            yield {}
        else:
            raise AssertionError("it answers")


@contextmanager
def mute_broker(desk: Desk, other: Broker) -> Iterator[Told]:
    with desk.frozen("kafka"):
        try:
            cluster_id_of(desk.cluster, 1.0)
        except Fatal:
            yield {}
        else:
            raise AssertionError("it answers")


@contextmanager
def another_cluster(desk: Desk, other: Broker) -> Iterator[Told]:
    """The address leads to a broker that is not the stack's."""
    assert other.cluster_id != desk.cluster.expected_id
    yield {"KAFKA_BOOTSTRAP_SERVERS": other.bootstrap, "KAFKA_CLUSTER_ID": desk.cluster.expected_id}


# topics -----------------------------------------------------------------------------------------------


def _there(desk: Desk, name: str) -> int:
    seen = describe(desk.cluster).get(desk.cluster.layout.wire_name(name))
    return seen.partitions if seen else 0


def _done(answers: Mapping[Any, Future[Any]]) -> None:
    """Wait for an admin client, which must be held meanwhile."""
    for answer in answers.values():
        answer.result()


def more_partitions(desk: Desk) -> None:
    """One more for a topic that no tape writes."""
    wire, before = desk.cluster.layout.wire_name(QUIET_TOPIC), _there(desk, QUIET_TOPIC)
    admin = admin_of(desk.cluster)
    _done(admin.create_partitions([NewPartitions(wire, before + 1)]))
    until(lambda: _there(desk, QUIET_TOPIC) == before + 1, "the topic has one partition more")


def no_topic(desk: Desk) -> None:
    """It is deleted. What reads it ends by itself."""
    admin = admin_of(desk.cluster)
    _done(admin.delete_topics([desk.cluster.layout.wire_name(QUIET_TOPIC)]))
    until(lambda: not _there(desk, QUIET_TOPIC), "the topic is gone")


def topic_made_anew(desk: Desk) -> None:
    assert ensure(desk.cluster) == [desk.cluster.layout.wire_name(QUIET_TOPIC)]


def adopted(desk: Desk) -> None:
    """As `tape sink --adopt` does, which the doctor names."""
    assert list(adopt(desk.stack.database_url, desk.cluster, [QUIET_TOPIC], group=SINK))


@contextmanager
def short_retention(desk: Desk, other: Broker) -> Iterator[Told]:
    """Ten years, where the stack keeps everything."""
    wire = desk.cluster.layout.wire_name("quotes")

    def kept() -> str:
        return describe(desk.cluster)[wire].config["retention.ms"]

    def keep(value: str) -> None:
        entry = ConfigEntry("retention.ms", value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, wire, incremental_configs=[entry])
        _done(admin.incremental_alter_configs([resource]))

    admin, before = admin_of(desk.cluster), kept()
    keep(_TEN_YEARS_MS)
    try:
        until(lambda: kept() == _TEN_YEARS_MS, "it keeps ten years")
        yield {}
    finally:
        keep(before)


def unreadable(number: int) -> Break:
    """So many records that no stage can decode: each becomes a dead letter."""

    @contextmanager
    def broken(desk: Desk, other: Broker) -> Iterator[Told]:
        before = _end(desk, "dead_letters")
        label = reached(desk.cluster, "bars") or 0
        rubbish = [
            Message("bars", 0, 0, label // 1_000, b"AAPL", b"rubbish %d" % n, ()) for n in range(number)
        ]
        with closing(_writer(desk)) as writer:
            writer.write_messages(rubbish)
        until(lambda: _end(desk, "dead_letters") >= before + number, "dead letters are written", 60)
        try:
            yield {}
        finally:  # deleted, as only a quarter of an hour of the market would make them old
            until(lambda: _is_stored(desk, before + number), "the sink has stored them", 60)
            wire, admin = desk.cluster.layout.wire_name("dead_letters"), admin_of(desk.cluster)
            parts = ends_of(desk.cluster, ("dead_letters",))
            ends = [TopicPartition(wire, part, end) for (_, part), (_, end) in parts.items()]
            _done(admin.delete_records(ends))

    return broken


def _is_stored(desk: Desk, number: int, table: str = "t_dead_letters") -> bool:
    with psycopg.connect(desk.stack.database_url) as connection:
        row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
    return row is not None and row[0] >= number


def _end(desk: Desk, name: str) -> int:
    return sum(end for _, end in ends_of(desk.cluster, (name,)).values())


def _writer(desk: Desk) -> KafkaLogWriter:
    return KafkaLogWriter(desk.cluster, Origin("test", code_version(), desk.config.digest))


# processes that start in another way ------------------------------------------------------------------


def another_document(name: str) -> Break:
    """It is started under another document."""

    @contextmanager
    def broken(desk: Desk, other: Broker) -> Iterator[Told]:
        document = desk.folder / "other.toml"
        signal = desk.config.signal.model_copy(update={"cooldown_min": desk.config.signal.cooldown_min + 1})
        changed = desk.config.model_copy(update={"signal": signal})
        assert changed.digest != desk.config.digest
        document.write_text(changed.to_toml())
        with desk.under(name, {"TAPE_CONFIG": str(document)}):
            yield {}

    return broken


def another_version(name: str) -> Break:
    """It is started from a folder whose distribution says that it is another release."""

    @contextmanager
    def broken(desk: Desk, other: Broker) -> Iterator[Told]:
        about = desk.folder / "release" / "tapedeck-9.9.9.dist-info"
        about.mkdir(parents=True, exist_ok=True)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tapedeck\nVersion: 9.9.9\n")
        with desk.under(name, _first_on_path(about.parent)):
            yield {}

    return broken


def clock_ahead(name: str) -> Break:
    """Its machine's clock runs a minute ahead."""

    @contextmanager
    def broken(desk: Desk, other: Broker) -> Iterator[Told]:
        folder = desk.folder / "ahead"
        folder.mkdir(exist_ok=True)
        (folder / "sitecustomize.py").write_text(
            "import time\nright = time.time_ns\ntime.time_ns = lambda: right() + 60 * 10**9\n"
        )
        with desk.under(name, _first_on_path(folder)):
            yield {}

    return broken


def _first_on_path(folder: Path) -> dict[str, str]:
    return {"PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}"}


@contextmanager
def wrong_account(desk: Desk, other: Broker) -> Iterator[Told]:
    """The dispatcher of one account has the keys of the other."""
    keys = {"TAPE_TINY_KEY": "paper-large", "TAPE_TINY_SECRET": "paper-large-secret"}
    with desk.under("dispatch-tiny", keys):
        yield {}


# what it stands on ------------------------------------------------------------------------------------


@contextmanager
def old_tables(desk: Desk, other: Broker) -> Iterator[Told]:
    def say(revision: str) -> str:
        with psycopg.connect(desk.stack.database_url) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            connection.execute("UPDATE alembic_version SET version_num = %s", (revision,))
        assert row is not None
        return str(row[0])

    before = say("0001")
    try:
        yield {}
    finally:
        assert say(before) == "0001"


@contextmanager
def stalled_sink(desk: Desk, other: Broker) -> Iterator[Told]:
    """One of its tables is locked, and more records come for it than it may be behind."""

    def waiting() -> bool:
        with psycopg.connect(desk.stack.database_url) as second:
            row = second.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
        return row is not None and row[0] > 0

    number, now = LAG + 500, SystemClock().now()
    with psycopg.connect(desk.stack.database_url) as first, closing(_writer(desk)) as writer:
        first.execute("LOCK TABLE t_revision_audit IN ACCESS EXCLUSIVE MODE")
        writer.write_messages(_audits(desk, number, now))
        until(waiting, "the sink waits for the lock", 60)
        yield {}
        assert waiting()
    until(lambda: _is_stored(desk, number, "t_revision_audit"), "all are stored", 120)


def _audits(desk: Desk, number: int, now: int) -> list[Message]:
    """So many records that only the sink reads."""
    found = []
    for place in range(number):
        body = {
            "event_time": now, "symbol": "AAPL", "bar_t": now + place, "revision": 1, "would_differ": True,
            "old_action": "HOLD", "new_action": "HOLD",
        }  # fmt: skip
        out = derived(0, "revision_audit", body, desk.config.digest, ["0" * 32], revision=1)
        value = encode(out.topic, out.body)
        found.append(Message(out.topic, 0, 0, now // 1_000, out.record_key, value, ()))
    return found


@contextmanager
def other_data(desk: Desk, other: Broker) -> Iterator[Told]:
    """The folder says that another version of Kafka wrote it."""
    path = desk.folder / "kafka" / "data" / "kafka.version"
    before = path.read_text()
    path.write_text("3.9.1\n")
    assert made_by(desk.folder / "kafka") == "3.9.1"
    try:
        yield {}
    finally:
        path.write_text(before)


@contextmanager
def expired_certificate(desk: Desk, other: Broker) -> Iterator[Told]:
    folder = desk.folder / "certificates"
    authority = Authority.load(folder) if folder.exists() else Authority.make(folder)
    issued = authority.issue("registry", days=-3)
    yield {"SCHEMA_REGISTRY_SSL_CA_LOCATION": str(issued.certificate)}


# what trades ------------------------------------------------------------------------------------------


@contextmanager
def smaller_universe(desk: Desk, other: Broker) -> Iterator[Told]:
    def write(config: Config) -> None:
        assert write_universe(desk.cluster, config, first=SystemClock().now()) is not None

    few = desk.config.universe.model_copy(update={"symbols": desk.config.universe.symbols[-2:]})
    write(desk.config.model_copy(update={"universe": few}))
    try:
        yield {}
    finally:
        write(desk.config)


@contextmanager
def paused(desk: Desk, other: Broker) -> Iterator[Told]:
    def set_to(state: KillState) -> None:
        body = control(EVERY_ACCOUNT, state, person="ada", reason="a drill", now=SystemClock().now())
        with closing(_writer(desk)) as writer:
            write_control(writer, body)
        time.sleep(0.01)  # the next one is later than this one

    set_to(KillState.REDUCING)
    try:
        yield {}
    finally:
        set_to(KillState.ACTIVE)
