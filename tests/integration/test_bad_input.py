"""Bad input is in dead_letters with its reason and its bytes, or the start is refused with a remedy."""

import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from tapedeck.agents import journal
from tapedeck.connectors import dead_letters
from tapedeck.connectors.controls import control
from tapedeck.connectors.kafka.admin import Difference, compare, describe, ensure
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.scan import read_topic
from tapedeck.schemas.codec import PREFIX, decode, encode
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.protocol import Message
from tapedeck.streams.stages.account.rules.gate_types import KillState
from tapedeck.streams.watermarks import LABEL_HEADER
from tapedeck.tape.cli import main
from tapedeck.topics.catalogue import WATERMARK_KEY, Layout
from tests.chaos.clean import a_log, check_clean
from tests.conftest import Broker
from tests.support.live import Workers, bodies, end_of, eventually
from tests.support.sim_tapes import CONFIG

pytestmark = pytest.mark.integration
Body = dict[str, Any]
Spoil = Callable[[Body], bytes | None]
RETRIED = (("x-retry", None), ("x-retry", b"2"))
"""Headers of every bad record: one has no value, and its name comes twice."""
MARKED = 1234.5678
"""A volume that is found again among the bytes of a record."""


def with_nan(bar: Body) -> bytes:
    wire = encode("bars", bar | {"volume": MARKED})
    assert wire.count(struct.pack("<d", MARKED)) == 1
    return wire.replace(struct.pack("<d", MARKED), struct.pack("<d", float("nan")))


def changed(**changes: Any) -> Spoil:
    return lambda bar: encode("bars", bar | changes)


def unknown_schema(bar: Body) -> bytes:
    return PREFIX.pack(0, 987_654) + encode("bars", bar)[PREFIX.size :]


def another_record(bar: Body) -> bytes:
    return encode("controls", control("*", KillState.ACTIVE, person="p", reason="r", now=bar["t"]))


BAD: tuple[tuple[str, Spoil, str, str], ...] = (
    ("cut short", lambda bar: encode("bars", bar)[:-3], "MALFORMED", "bars record cannot be decoded"),
    ("too long", lambda bar: encode("bars", bar) + b"!", "MALFORMED", "bytes are left"),
    ("JSON", lambda bar: b'{"symbol": "NVDA"}', "BAD_PREFIX", "no Confluent prefix"),
    ("tombstone", lambda bar: None, "BAD_PREFIX", "no Confluent prefix"),
    ("unknown schema id", unknown_schema, "UNKNOWN_SCHEMA", "got 987654"),
    ("another record", another_record, "WRONG_SCHEMA", "which the id log knows as controls"),
    ("NaN", with_nan, "NOT_FINITE", "bars.volume"),
    ("negative volume", changed(volume=-5.0), "BAD_BAR", "volume = -5.0 is not between 0"),
    ("no price", changed(open=0.0), "BAD_BAR", "open = 0.0 is not a price"),
    ("upside down", changed(low=1e6), "BAD_BAR", "is not between low = 1000000.0"),
    ("beyond all prices", changed(high=1e300), "BAD_BAR", "high = 1e+300 is not a price"),
    (
        "off the minute",
        lambda bar: encode("bars", bar | {"t": bar["t"] + 1_000_000}),
        "BAD_BAR",
        "is not on a whole minute",
    ),
)


@pytest.fixture
def workers(kafka: Broker, prefix: str, tmp_path: Path) -> Iterator[Workers]:
    started = Workers(kafka.bootstrap, prefix, tmp_path, CONFIG)
    yield started
    started.stop()


def spoilt(messages: list[Message]) -> Iterator[Message]:
    """The log with a bad record behind every tenth bar, of each kind in turn, and a mark without label."""
    left = list(BAD)
    bars = 0
    for message in messages:
        yield message
        if message.value is None:
            continue
        bars += 1
        if bars % 10 == 0 and left:
            _, spoil, _, _ = left.pop()
            yield message._replace(value=spoil(decode("bars", message.value)), headers=RETRIED)
        if bars == 5:
            yield message._replace(key=WATERMARK_KEY, value=None, headers=((LABEL_HEADER, None),))
    assert not left


def test_every_bad_bar_is_a_dead_letter_with_its_bytes_and_the_rest_is_as_if_it_had_not_been(
    workers: Workers,
) -> None:
    workers.put(spoilt(list(a_log().messages("bars"))))
    features = workers.start("features")
    check_clean(workers)
    where = (workers.cluster,)
    written = {(m.partition, m.offset): m for m in read_topic(*where, "bars")}
    letters = read_topic(*where, dead_letters.TOPIC)
    told: dict[str, list[str]] = {}
    for letter in letters:
        said = {name: content.decode() for name, content in letter.headers if content is not None}
        source = written[letter.partition, int(said[dead_letters.SOURCE_OFFSET])]
        assert (letter.key, letter.value) == (b"bars", source.value)
        assert tuple(letter.headers[: len(source.headers)]) == source.headers
        assert said[dead_letters.SOURCE_KEY].encode() == source.key
        assert said[dead_letters.STAGE] == "features"
        told.setdefault(said[dead_letters.REASON], []).append(said[dead_letters.ERROR_MESSAGE])
    assert len(letters) == len(BAD) + 1
    assert sum(RETRIED[0] in letter.headers for letter in letters) == len(BAD), "no header was null"
    for _, _, reason, part in BAD:
        assert any(part in text for text in told[reason]), (reason, part, told[reason])
    assert "has no readable label" in told["BAD_WATERMARK"][0]
    assert all("write it again with a higher revision" in text for text in told["BAD_BAR"])
    eventually(lambda: _counted(workers, "BAD_BAR") == 5, "bad bars are counted in the heartbeats")
    assert _counted(workers, "UNKNOWN_SCHEMA") == 1
    assert features.poll() is None


def _counted(workers: Workers, reason: str) -> int:
    newest = {body["partition"]: body["counts"] for body in bodies(workers.cluster, "heartbeats")}
    return sum(counts.get(reason, 0) for counts in newest.values())


@pytest.fixture
def told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., str]:
    """Runs ``tape`` in this process with this environment; what it says where it refuses to start."""
    document = tmp_path / "tape.toml"
    document.write_text(Config(accounts=EXAMPLE_ACCOUNTS).to_toml())
    monkeypatch.setattr(journal, "set_up", lambda: None)

    def run(*words: str, **environment: str | None) -> str:
        given: dict[str, str | None] = {
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
            "TAPE_CONFIG": str(document),
            "TAPE_HOME": str(tmp_path / "home"),
            "TAPE_PREFIX": None,
            **environment,
        }
        for name, value in given.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["tape", *words])
        with pytest.raises(SystemExit) as ended:
            main.run()
        assert ended.value.code == main.USER_ERROR
        said = capsys.readouterr().err
        assert said.startswith("tape: ") and "Traceback" not in said
        return said

    return run


@pytest.mark.parametrize("words", [("worker", "features"), ("dispatch", "large"), ("sink",)], ids=" ".join)
@pytest.mark.parametrize(
    ("environment", "parts"),
    [
        ({"KAFKA_BOOTSTRAP_SERVERS": None}, ("KAFKA_BOOTSTRAP_SERVERS is not set", "[deployment]")),
        ({"TAPE_CONFIG": None}, ("TAPE_CONFIG is not set", "the document of this pipeline")),
        ({"TAPE_CONFIG": "/nowhere/tape.toml"}, ("there is no configuration file", "/nowhere/tape.toml")),
        ({"TAPE_PREFIX": "my prefix!"}, ("'my prefix!'", "letters, digits")),
        ({"TAPE_PREFIX": "-x"}, ("'-x'", "a letter or digit first")),
        ({"TAPE_SYMBOL_PARTITIONS": "four"}, ("TAPE_SYMBOL_PARTITIONS", "'four'", "1 or more")),
        ({"TAPE_SYMBOL_PARTITIONS": "0"}, ("at least one partition", "got 0")),
    ],
    ids=lambda case: next(iter(case)) if isinstance(case, dict) else "",
)
def test_a_process_with_a_wrong_environment_refuses_to_start(
    told: Callable[..., str],
    words: tuple[str, ...],
    environment: dict[str, str | None],
    parts: tuple[str, ...],
) -> None:
    said = told(*words, **environment)
    for part in parts:
        assert part in said


def test_a_worker_with_an_unknown_configuration_key_refuses_to_start(
    told: Callable[..., str], tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[bars]\nrollbak_min = 16\n")
    said = told("worker", "features", TAPE_CONFIG=str(wrong))
    assert "unknown configuration key bars.rollbak_min" in said
    assert "'rollback_min'" in said


@pytest.mark.parametrize("words", [("dispatch", "large"), ("sink",)], ids=" ".join)
def test_a_process_that_needs_a_database_refuses_to_start_without_one(
    told: Callable[..., str], kafka: Broker, prefix: str, words: tuple[str, ...]
) -> None:
    ensure(Cluster(kafka.bootstrap, Layout(prefix)))
    broker = {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap, "TAPE_PREFIX": prefix}
    keys = {"TAPE_LARGE_KEY": "k", "TAPE_LARGE_SECRET": "s", "TAPE_EXCHANGE_URL": "http://127.0.0.1:1"}
    assert "DATABASE_URL is not set" in told(*words, **broker, **keys, DATABASE_URL=None)
    if words[0] == "dispatch":
        assert "TAPE_EXCHANGE_URL" in told(*words, **broker, **keys | {"TAPE_EXCHANGE_URL": None})
        assert "TAPE_LARGE_KEY" in told(*words, **broker, **keys | {"TAPE_LARGE_KEY": None})


def test_a_stage_or_an_account_that_does_not_exist_is_named_with_those_that_do(
    told: Callable[..., str], kafka: Broker, prefix: str
) -> None:
    said = told("worker", "feature")
    assert "'feature'" in said and "scores, watchlist, signals" in said
    ensure(Cluster(kafka.bootstrap, Layout(prefix)))
    said = told("dispatch", "huge", KAFKA_BOOTSTRAP_SERVERS=kafka.bootstrap, TAPE_PREFIX=prefix)
    assert "'huge'" in said and "large, tiny" in said


def _differences(kafka: Broker, layout: Layout) -> list[Difference]:
    return compare(describe(Cluster(kafka.bootstrap, layout)), layout)


@pytest.mark.parametrize("words", [("worker", "features"), ("dispatch", "large")], ids=" ".join)
def test_a_missing_topic_is_named_and_nothing_starts(
    told: Callable[..., str], kafka: Broker, prefix: str, words: tuple[str, ...]
) -> None:
    layout = Layout(prefix)
    ensure(Cluster(kafka.bootstrap, layout))
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for answer in admin.delete_topics([layout.wire_name("features")]).values():
        answer.result(30)
    eventually(lambda: bool(_differences(kafka, layout)), "the broker tells of the deletion")
    said = told(*words, KAFKA_BOOTSTRAP_SERVERS=kafka.bootstrap, TAPE_PREFIX=prefix)
    assert f"{prefix}.features: the topic is missing, expected 4 partitions" in said
    assert "create it with `tape topics --create`" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("words", [("worker", "features"), ("dispatch", "large")], ids=" ".join)
def test_a_wrong_partition_count_is_named_with_both_numbers_and_nothing_starts(
    told: Callable[..., str], kafka: Broker, prefix: str, words: tuple[str, ...]
) -> None:
    layout = Layout(prefix)
    ensure(Cluster(kafka.bootstrap, layout))
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for answer in admin.create_partitions([NewPartitions(layout.wire_name("bars"), 6)]).values():
        answer.result(30)
    eventually(lambda: bool(_differences(kafka, layout)), "the broker tells of the partitions")
    said = told(*words, KAFKA_BOOTSTRAP_SERVERS=kafka.bootstrap, TAPE_PREFIX=prefix)
    assert f"{prefix}.bars: the number of partitions is 6, expected 4; it is fixed at creation" in said


def test_a_tape_with_missing_columns_is_refused_before_anything_is_written(
    told: Callable[..., str], kafka: Broker, prefix: str, tmp_path: Path
) -> None:
    layout = Layout(prefix)
    ensure(Cluster(kafka.bootstrap, layout))
    path = tmp_path / "thin.parquet"
    pl.DataFrame({"symbol": ["NVDA"], "ts": [1], "open": [1.0]}).write_parquet(path)
    said = told("play", str(path), KAFKA_BOOTSTRAP_SERVERS=kafka.bootstrap, TAPE_PREFIX=prefix)
    assert "thin.parquet lacks the column" in said and "close" in said
    assert [end_of(Cluster(kafka.bootstrap, layout), name) for name in ("bars", "quotes", "universe")] == [
        0,
        0,
        0,
    ]
