"""The registry client against a registry on loopback: its ids are used, its refusals are told."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from tapedeck.connectors.registry import register, use_registry
from tapedeck.schemas import codec, ids
from tapedeck.schemas.errors import DeadLetter, Fatal, Retry
from tapedeck.schemas.golden import samples_of
from tapedeck.tape.cli.main import app
from tapedeck.topics.catalogue import CATALOGUE, Layout

FIRST_ID = 5001


class Registry(ThreadingHTTPServer):
    """Gives each schema one id, however many subjects have it. ``status`` other than 200 is its answer."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.schemas = []
        self.subjects = {}

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        registry = self.server
        schema = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["schema"]
        if schema not in registry.schemas:
            registry.schemas.append(schema)
        subject = self.path.removeprefix("/subjects/").removesuffix("/versions")
        found = FIRST_ID + registry.schemas.index(schema)
        registry.subjects.setdefault(subject, []).append(found)
        answer = {"id": found} if registry.status == 200 else {"error_code": 409, "message": "incompatible"}
        content = json.dumps(answer).encode()
        self.send_response(registry.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def registry():
    server = Registry()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_every_topic_with_a_schema_is_a_subject_with_every_version(registry):
    found = register(registry.url, Layout("p"))
    assert set(registry.subjects) == {f"p.{t.name}-value" for t in CATALOGUE if t.schema}
    for topic in CATALOGUE:
        if topic.schema:
            assert len(registry.subjects[f"p.{topic.name}-value"]) == len(ids.versions(topic.schema))
            assert found.to_wire[topic.schema] == registry.subjects[f"p.{topic.name}-value"][-1]
    assert sorted(found.to_log.values()) == sorted(ids.log_ids().to_log)


def test_registering_twice_gives_the_same_ids(registry):
    assert register(registry.url, Layout()) == register(registry.url + "/", Layout())


def test_the_registrys_ids_are_on_the_wire_and_are_read_back(registry):
    body = samples_of(codec.load_schema("bars"))[0]
    own = codec.encode("bars", body)
    try:
        use_registry(registry.url, "")
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


def test_a_refused_schema_stops_the_process_and_names_the_subject(registry):
    registry.status = 409
    with pytest.raises(Fatal, match="bars-value") as caught:
        register(registry.url, Layout())
    assert "409" in str(caught.value)


def test_a_registry_that_fails_is_tried_again_later(registry):
    registry.status = 503
    with pytest.raises(Retry, match="503"):
        register(registry.url, Layout())


def test_a_registry_that_is_not_there_names_the_variable():
    with pytest.raises(Retry, match="SCHEMA_REGISTRY_URL"):
        register("http://127.0.0.1:1", Layout())


def test_one_id_for_two_schemas_is_refused(registry):
    registry.schemas = _Same()
    with pytest.raises(Fatal, match="two schemas"):
        register(registry.url, Layout())


class _Same(list):
    """A registry that gives every schema the same id."""

    def index(self, *_):
        return 0
