"""The registry client against a registry on loopback: its ids are used, its refusals are told."""

import pytest
import typer
from typer.testing import CliRunner

from tapedeck.connectors.registry import Registry, register, use_registry
from tapedeck.schemas import codec, ids
from tapedeck.schemas.errors import DeadLetter, Fatal, Retry
from tapedeck.schemas.golden import samples_of
from tapedeck.tape.cli import main
from tapedeck.tape.cli.main import app
from tapedeck.tape.notebook.connection import Connection
from tapedeck.tape.notebook.decoding import RecordsLeftOut
from tapedeck.tape.notebook.memory import MemoryTape
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.support.registry import FIRST_ID, running
from tests.support.taps import MINUTE, START, bar, log_of


@pytest.fixture
def registry():
    with running() as server:
        yield server


def test_every_topic_with_a_schema_is_a_subject_with_every_version(registry):
    found = register(Registry(url=registry.url), Layout("p"))
    assert set(registry.subjects) == {f"p.{t.name}-value" for t in CATALOGUE if t.schema}
    for topic in CATALOGUE:
        if topic.schema:
            assert len(registry.subjects[f"p.{topic.name}-value"]) == len(ids.versions(topic.schema))
            assert found.to_wire[topic.schema] == registry.subjects[f"p.{topic.name}-value"][-1]
    assert sorted(found.to_log.values()) == sorted(ids.log_ids().to_log)


def test_registering_twice_gives_the_same_ids(registry):
    with_slash = Registry.described({"SCHEMA_REGISTRY_URL": registry.url + "/"})
    assert register(Registry(url=registry.url), Layout()) == register(with_slash, Layout())


def test_the_registrys_ids_are_on_the_wire_and_are_read_back(registry):
    body = samples_of(codec.load_schema("bars"))[0]
    own = codec.encode("bars", body)
    try:
        use_registry(Registry(url=registry.url), "")
        wire = codec.encode("bars", body)
        assert int.from_bytes(wire[1:5]) >= FIRST_ID
        assert wire[5:] == own[5:]
        assert codec.decode("bars", wire) == body
        with pytest.raises(DeadLetter, match="id log"):
            codec.decode("bars", own)
    finally:
        codec.use_ids(None)


def test_a_command_that_speaks_to_the_log_registers_first(registry, monkeypatch):
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", registry.url)
    monkeypatch.setenv("TAPE_PREFIX", "shadow")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    try:
        CliRunner().invoke(app, ["config", "show"])
        assert registry.subjects == {}
        CliRunner().invoke(app, ["tail", "nothing"])
        assert "shadow.bars-value" in registry.subjects
        assert int.from_bytes(codec.encode("bars", samples_of(codec.load_schema("bars"))[0])[1:5]) >= FIRST_ID
    finally:
        codec.use_ids(None)


def test_an_id_that_clashes_with_the_logs_is_named_and_not_taken_for_that_record(registry):
    registry.first_id = 1
    body = samples_of(codec.load_schema("orders"))[0]
    try:
        use_registry(Registry(url=registry.url), "")
        wire = codec.encode("orders", body)
    finally:
        codec.use_ids(None)
    wire_id = int.from_bytes(wire[1:5])
    other = ids.schema_of(wire_id)[0]
    assert other != "orders"
    with pytest.raises(DeadLetter, match=f"schema id {wire_id}, which the id log knows as {other}") as caught:
        codec.decode("orders", wire)
    assert caught.value.reason == "WRONG_SCHEMA" and "SCHEMA_REGISTRY_URL" in str(caught.value)
    words = codec.foreign_in_words(codec.take_foreign())
    assert "1 of orders" in words and "Set SCHEMA_REGISTRY_URL" in words
    assert codec.foreign_in_words(codec.take_foreign()) == ""


def test_a_record_of_no_registry_is_named_where_one_is_used(registry):
    own = codec.encode("bars", samples_of(codec.load_schema("bars"))[0])
    try:
        use_registry(Registry(url=registry.url), "")
        with pytest.raises(DeadLetter, match="without the registry, or with another's"):
            codec.decode("bars", own)
    finally:
        codec.use_ids(None)
        codec.take_foreign()


def test_a_command_that_met_foreign_ids_says_so_once(monkeypatch):
    bars = codec.encode("bars", samples_of(codec.load_schema("bars"))[0])
    foreign = codec.PREFIX.pack(0, 5077) + bars[codec.PREFIX.size :]

    def reading():
        for _ in range(3):
            with pytest.raises(DeadLetter):
                codec.decode("bars", foreign)

    tool = typer.Typer(add_completion=False)
    tool.command("tail")(reading)
    monkeypatch.setattr(main, "load", lambda name: typer.main.get_command(tool))
    monkeypatch.delenv("SCHEMA_REGISTRY_URL", raising=False)
    done = CliRunner().invoke(app, ["tail"])
    assert done.exit_code == 0, done.output
    assert done.stderr.count("tape: records that cannot be read here: 3 of bars") == 1
    assert "schema id 5077, which the id log does not know" in done.stderr
    assert "Set SCHEMA_REGISTRY_URL" in done.stderr


def test_a_tap_names_the_registry_where_ids_are_foreign():
    messages = log_of("bars", [bar("AMD", START + n * MINUTE) for n in range(3)])
    foreign = [m._replace(value=codec.PREFIX.pack(0, 5077) + m.value[codec.PREFIX.size :]) for m in messages]
    with pytest.warns(RecordsLeftOut, match="5077.*SCHEMA_REGISTRY_URL") as told:
        frame = Connection(source=MemoryTape(Layout(), foreign)).tap("bars")
    assert len(frame) == 0 and len(told) == 1


def test_a_refused_schema_stops_the_process_and_names_the_subject(registry):
    registry.status = 409
    with pytest.raises(Fatal, match="bars-value") as caught:
        register(Registry(url=registry.url), Layout())
    assert "409" in str(caught.value)


def test_a_registry_that_fails_is_tried_again_later(registry):
    registry.status = 503
    with pytest.raises(Retry, match="503"):
        register(Registry(url=registry.url), Layout())


def test_a_registry_that_is_not_there_names_the_variable():
    with pytest.raises(Retry, match="SCHEMA_REGISTRY_URL"):
        register(Registry(url="http://127.0.0.1:1"), Layout())


def test_one_id_for_two_schemas_is_refused(registry):
    registry.schemas = _Same()
    with pytest.raises(Fatal, match="two schemas"):
        register(Registry(url=registry.url), Layout())


class _Same(list):
    """A registry that gives every schema the same id."""

    def index(self, *_):
        return 0
