"""``tape explain``, ``tape why`` and ``tape trace`` over a recorded morning on a real broker."""

import json
import os

import pytest
from typer.testing import CliRunner

from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.otlp import Span
from tapedeck.schemas.errors import TapeError
from tapedeck.schemas.readable import iso_time
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.wire import Origin, event_id_in
from tapedeck.tape.cli.main import app
from tapedeck.tape.timed import timed
from tapedeck.tape.trace.follow import Follower
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.support.otlp import fake_collector
from tests.support.paths import bodies, morning

pytestmark = pytest.mark.integration


@pytest.fixture
def recorded(kafka, prefix, monkeypatch, tmp_path):
    """The morning's topics on the cluster, every record at its offset; returns the configuration's path."""
    config = tmp_path / "tape.toml"
    config.write_text(Config(accounts=EXAMPLE_ACCOUNTS).to_toml())
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap)
    monkeypatch.setenv("TAPE_PREFIX", prefix)
    monkeypatch.setenv("TAPE_CONFIG", str(config))
    layout = Layout(prefix)
    ensure(Cluster(kafka.bootstrap, layout))
    writer = KafkaLogWriter(Cluster(kafka.bootstrap, layout), Origin("test", "test", ""), linger_ms=5)
    log = morning().log
    writer.write_messages(m for each in CATALOGUE if each.schema for m in log.messages(each.name))
    writer.close()
    return config


def tape(*arguments, expect=0):
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == expect, result.output
    return result.stdout


def test_an_order_is_explained_and_its_symbol_and_what_is_wrong_is_said(recorded, tmp_path):
    order = next(body for body in bodies(morning().log, "orders") if body["state"] == "FILLED")
    order_id, signal_id = order["client_order_id"], order["signal_id"]

    shown = tape("explain", order_id)
    assert shown.splitlines()[-1].startswith(f"SAME: order {order_id}")
    assert "bars/" in shown and "account_inbox/" in shown and "DIFFERENT" not in shown
    document = json.loads(tape("explain", f"{order['account_id']}|{signal_id}", "--json", "--depth", "2"))
    assert (document["kind"], document["verdict"]) == ("proposal", "SAME")

    other = tmp_path / "other.toml"
    other.write_text(recorded.read_text().replace("stretch = 0.02", "stretch = 0.03"))
    assert "--config FILE" in tape("explain", order_id, "--config", str(other), expect=1)
    with pytest.raises(TapeError, match=f"the nearest is {order_id}"):
        tape("explain", order_id[:-1] + "x")

    whole = tape("why", order["underlying"])
    assert "OPTIONS_CONFIDENCE_TOO_LOW" in whole and "TRADED" in whole
    when = next(body["bar_t"] for body in bodies(morning().log, "signals") if body["signal_id"] == signal_id)
    minute = json.loads(tape("why", order["underlying"], "--at", iso_time(when), "--json"))
    assert {each["reason"] for each in minute["outcomes"]} >= {"TRADED"}

    with fake_collector() as collector:
        (trace,) = json.loads(tape("trace", order_id, "--json", "--otlp", collector.url))["traces"]
    assert [trace["hops"][0]["topic"], trace["hops"][0]["parent"]] == ["bars", None]
    assert {"executions", "orders", "signals"} <= {hop["topic"] for hop in trace["hops"]}
    assert {span.span_id.hex() for _, span in collector.spans} == {hop["span_id"] for hop in trace["hops"]}
    assert tape("trace", order["underlying"], "--at", iso_time(when)).startswith(f"trace {trace['trace_id']}")
    assert {span.span_id for span in followed(order)} >= {hop["span_id"] for hop in trace["hops"]}


def followed(order: dict[str, object]) -> list[Span]:
    """What is sent when ``order`` is written once more while the topics are followed."""
    cluster = Cluster(os.environ["KAFKA_BOOTSTRAP_SERVERS"], Layout(os.environ["TAPE_PREFIX"]))
    sent: list[Span] = []
    follower = Follower(TOPOLOGY, sent.extend, ratio=0, settle_us=0)
    for again in (False, True):
        if again:
            with KafkaLogWriter(cluster, Origin("test", "test", "")) as writer:
                mine = (
                    m for m in morning().log.messages("orders") if event_id_in(m.value) == order["event_id"]
                )
                writer.write_messages(mine)
        with timed(cluster, print) as source:
            follower.look(source, 0)
        assert bool(sent) == again
    return sent
