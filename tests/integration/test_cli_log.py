"""``tape topics``, ``tail``, ``pause`` and ``release`` against a real broker."""

import json

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.schemas.codec import encode
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.identity import event_id
from tapedeck.streams.wire import Origin
from tapedeck.tape.cli import tail
from tapedeck.tape.cli.main import app
from tapedeck.topics.catalogue import Layout
from tests.support import desks

pytestmark = pytest.mark.integration

MINUTE = 60_000_000
OPEN = 1_381_498_200_000_000


@pytest.fixture
def cluster(kafka, prefix, monkeypatch, tmp_path):
    config = tmp_path / "tape.toml"
    config.write_text(Config(accounts=EXAMPLE_ACCOUNTS).to_toml())
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap)
    monkeypatch.setenv("TAPE_PREFIX", prefix)
    monkeypatch.setenv("TAPE_CONFIG", str(config))
    return Cluster(kafka.bootstrap, Layout(prefix))


@pytest.fixture
def made(cluster):
    ensure(cluster)
    return cluster


def tape(*arguments, expect=0):
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == expect, result.output
    return result.stdout


def lines(*arguments):
    return [json.loads(line) for line in tape(*arguments).splitlines()]


def bar(symbol, minute):
    t = OPEN + minute * MINUTE
    return {
        "event_id": event_id("bars", ("iex", symbol, t)),
        "event_time": t + MINUTE,
        "symbol": symbol,
        "feed": "iex",
        "t": t,
        "revision": 0,
        "open": 15.5,
        "high": 15.75,
        "low": 15.25,
        "close": 15.625,
        "volume": 1200.0,
        "origin": "synthetic/1",
    }


def play(cluster, minutes, symbols=("NVDA", "AMD", "META")):
    writer = KafkaLogWriter(cluster, Origin("play", "0", ""))
    writer.watermark("bars", OPEN - MINUTE)
    for minute in range(minutes):
        for symbol in symbols:
            writer.send("bars", bar(symbol, minute))
        writer.watermark("bars", OPEN + minute * MINUTE)
    writer.flush()
    writer.close()


def test_topics_are_listed_missing_then_created_then_as_they_should_be(cluster):
    assert "MISSING" in tape("topics", expect=1)
    listed = tape("topics", "--create")
    assert cluster.layout.wire_name("bars") in listed
    assert "MISSING" not in listed
    tape("topics")


def test_tail_prints_the_newest_records_over_all_partitions_in_time_order(made):
    play(made, minutes=120)
    found = lines("tail", "bars", "-n", "4")
    assert [(row["time"], row["key"]) for row in found][1:] == [
        ("2013-10-11T15:30:00Z", key) for key in [row["key"] for row in found[1:]]
    ]
    assert {row["key"] for row in found[1:]} == {"NVDA", "AMD", "META"}
    assert found[-1]["value"]["t"] == "2013-10-11T15:29:00Z"
    assert found[-1]["value"]["close"] == 15.625
    assert {"partition", "offset"} <= set(found[-1])


def test_tail_of_one_key_reaches_further_back_than_its_first_look(made):
    play(made, minutes=100)
    found = lines("tail", "bars", "--key", "NVDA", "-n", "95")
    assert len(found) == 95
    assert {row["key"] for row in found} == {"NVDA"}
    assert found[-1]["time"] == "2013-10-11T15:10:00Z"
    assert lines("tail", "bars", "--key", "NONE") == []


def test_tail_of_one_key_finds_what_another_partitioner_put_elsewhere_and_says_so_once(made):
    play(made, minutes=20)
    home = made.layout.partition("bars", {"symbol": "NVDA"})
    strays = [bar("NVDA", minute) for minute in (20, 21)]
    producer = Producer({"bootstrap.servers": made.bootstrap})
    for each in strays:
        producer.produce(
            made.layout.wire_name("bars"), value=encode("bars", each), key=b"NVDA",
            partition=(home + 1) % 4, timestamp=each["event_time"] // 1000,
        )  # fmt: skip
    producer.flush(10)
    done = CliRunner().invoke(app, ["tail", "bars", "--key", "NVDA", "-n", "5"])
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["partition"] for row in found] == [home] * 3 + [(home + 1) % 4] * 2
    told = f"key NVDA are in bars/{(home + 1) % 4} instead of bars/{home}"
    assert done.exit_code == 0 and done.stderr.count(told) == 1


def test_watermarks_are_shown_as_such_only_where_asked(made):
    play(made, minutes=1)
    assert len(lines("tail", "bars")) == 3
    marks = [row for row in lines("tail", "bars", "--watermarks", "-n", "20") if "watermark" in row]
    assert len(marks) == 8, "two per partition"
    assert {row["watermark"] for row in marks} == {"2013-10-11T13:29:00Z", "2013-10-11T13:30:00Z"}


def test_following_starts_where_the_newest_records_ended(made):
    play(made, minutes=1)
    spans = tail.ends_of(made, ("bars",))
    play(made, minutes=2)
    arrived = tail.arriving(made, spans)
    first = next(message for message in arrived if message.value is not None)
    arrived.close()
    assert first.offset >= spans["bars", first.partition][1]


def test_a_value_that_cannot_be_decoded_is_shown_as_bytes_with_its_reason(made):
    producer = Producer({"bootstrap.servers": made.bootstrap})
    producer.produce(made.layout.wire_name("bars"), value=b"\x01not avro", key=b"NVDA", partition=0)
    producer.flush(10)
    (row,) = lines("tail", "bars")
    assert (row["error"], row["bytes"]) == ("BAD_PREFIX", b"\x01not avro".hex())


def test_tail_of_a_topic_that_the_cluster_lacks_says_how_to_create_it(cluster):
    with pytest.raises(Fatal, match="tape topics --create"):
        tape("tail", "bars")


def test_pause_and_release_write_controls_of_the_account_and_of_all(made):
    tape("pause", "tiny", "--person", "Ada", "--reason", "odd fills")
    tape("pause", "all", "--person", "Ada", "--reason", "broker outage")
    tape("release", "all", "--person", "Ada", "--reason", "outage over")
    tiny, every, released = lines("tail", "controls")
    assert [row["value"]["state"] for row in (tiny, every, released)] == ["REDUCING", "REDUCING", "ACTIVE"]
    assert [row["key"] for row in (tiny, every, released)] == ["tiny", "*", "*"]
    assert tiny["partition"] == made.layout.partition("controls", {"scope": "tiny"})
    assert every["partition"] == released["partition"] == made.layout.partition("controls", {"scope": "*"})
    assert tiny["value"]["seq"] < every["value"]["seq"] < released["value"]["seq"]
    assert (tiny["value"]["person"], tiny["value"]["reason"]) == ("Ada", "odd fills")
    assert tiny["time"][:19] == tiny["value"]["event_time"][:19]


def test_accounts_orders_and_positions_are_read_from_the_topics_and_a_close_is_written(made):
    writer = KafkaLogWriter(made, Origin("test", "0", ""))
    rows = {"accounts": desks.account(), "orders": desks.order(), "positions": desks.position("abc1"),
            "executions": desks.adjustment()}  # fmt: skip
    for name, row in rows.items():
        writer.send(name, row | {"event_id": name})
    for number, row in enumerate((desks.quote("2.30", "2.50"), desks.broker({desks.CALL: 1}))):
        writer.send("account_inbox", row | {"event_id": f"{number:032d}"})
    writer.flush()
    writer.close()
    (large, tiny) = json.loads(tape("accounts", "--json"))
    assert (large["equity"], tiny["equity"], tiny["positions"]) == (None, "5012.340000", 1)
    (order,) = json.loads(tape("orders", "tiny", "--json"))
    assert (order["state"], order["works"]) == ("ACCEPTED", True)
    (held,) = json.loads(tape("positions", "--json"))
    assert (held["mark"], held["pnl"]) == ("2.400000", "0.200000")
    shown = tape("reconcile", "tiny")
    assert "differs" in shown and "Adjustments (1 wait for a person)" in shown
    tape("close", "abc", "--person", "Ada", "--reason", "odd")
    tape(
        "reconcile",
        "tiny",
        "--resolve",
        "adj-1",
        "--price",
        "2.05",
        "--person",
        "Ada",
        "--reason",
        "statement",
    )
    assert "at 2.05 by Ada: statement" in tape("reconcile", "tiny")
    close, resolve = (row["value"] for row in lines("tail", "controls"))
    assert (close["command"], close["target"], close["state"]) == ("CLOSE_POSITION", "abc1", "ACTIVE")
    assert (resolve["command"], resolve["target"], resolve["price"]) == ("RESOLVE", "adj-1", "2.050000")


def test_files_of_an_index_and_of_earnings_are_written_once(made, tmp_path):
    index, dates = tmp_path / "vix.csv", tmp_path / "dates.csv"
    index.write_text("at,available_at,value\n2026-02-17T14:30:00Z,2026-02-17T14:30:05Z,18.42\n")
    dates.write_text(
        "symbol,report_date,report_time,available_at\nNVDA,2026-02-25,AFTER_CLOSE,2026-01-15T12:00:00Z\n"
    )
    off = "no account goes by them, as regime.enabled is false"
    assert tape("ingest", "regime", str(index)) == f"regime: 1 records written, 0 were there; {off}\n"
    with index.open("a") as more:
        more.write("2026-02-17T14:31:00Z,2026-02-17T14:31:05Z,18.5\n")
    assert tape("ingest", "regime", str(index)) == f"regime: 1 records written, 1 were there; {off}\n"
    assert tape("ingest", "earnings", str(dates)) == "earnings: 1 records written, 0 were there\n"
    assert tape("ingest", "earnings", str(dates)) == "earnings: 0 records written, 1 were there\n"
    assert [row["value"]["value"] for row in lines("tail", "regime")] == [18.42, 18.5]
    (report,) = lines("tail", "earnings")
    assert (report["key"], report["value"]["report_date"]) == ("NVDA", "2026-02-25")
    dates.write_text(dates.read_text().replace("02-25", "02-26"))
    with pytest.raises(
        Fatal, match=r"topic earnings says something else of NVDA.*an available_at of its own"
    ):
        tape("ingest", "earnings", str(dates))
    assert len(lines("tail", "earnings")) == 1


def test_pausing_an_account_that_is_not_configured_names_the_nearest(made):
    with pytest.raises(Fatal, match="did you mean 'tiny'"):
        tape("pause", "tinny", "--person", "Ada", "--reason", "typo")
    assert lines("tail", "controls") == []


def test_a_change_without_a_reason_is_refused(made):
    with pytest.raises(Fatal, match="needs a reason"):
        tape("release", "tiny", "--person", "Ada", "--reason", " ")
    assert "Missing option" in CliRunner().invoke(app, ["release", "tiny", "--person", "Ada"]).output
