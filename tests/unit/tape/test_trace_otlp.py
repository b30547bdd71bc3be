"""Spans on their way to a collector, and the command ``tape trace`` where something is missing."""

import subprocess
import sys

import pytest

from tapedeck.connectors.otlp import Collector, Span, SpanLink, traces_url
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.tape.lacking import lacking
from tapedeck.tape.local.places import free_port
from tapedeck.tape.trace.follow import follow, ratio_in, sampled
from tests.support.otlp import attributes, fake_collector

BAR = Span(
    trace_id="0a" * 16,
    span_id="0a" * 8,
    name="send bars",
    service="ingest",
    start_us=5_000_000,
    end_us=5_250_001,
)
FEATURE = Span(
    trace_id="0a" * 16,
    span_id="0b" * 8,
    parent_id="0a" * 8,
    name="send features",
    service="features",
    version="0.1.0",
    start_us=5_250_001,
    end_us=6_000_000,
    attributes={"messaging.system": "kafka", "messaging.kafka.offset": 7},
    links=(SpanLink(trace_id="0c" * 16, span_id="0c" * 8, attributes={"messaging.kafka.offset": 9}),),
)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds that the exporter tries for."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")


def test_a_collector_gets_the_spans_with_their_ids_times_services_and_links() -> None:
    with fake_collector() as server:
        Collector(server.url).send([BAR, FEATURE])
        assert server.paths == ["/v1/traces"]
    (bars, bar), (features, feature) = sorted(server.spans, key=lambda each: each[1].name)
    assert bars == {"service.name": "ingest", "service.namespace": "tapedeck"}
    assert features["service.version"] == "0.1.0"
    assert (bar.trace_id.hex(), bar.span_id.hex(), bar.parent_span_id) == ("0a" * 16, "0a" * 8, b"")
    assert (bar.start_time_unix_nano, bar.end_time_unix_nano) == (5_000_000_000, 5_250_001_000)
    assert (feature.trace_id.hex(), feature.parent_span_id.hex()) == ("0a" * 16, "0a" * 8)
    assert feature.kind == 4, "a producer"
    assert attributes(feature) == {"messaging.system": "kafka", "messaging.kafka.offset": 7}
    (link,) = feature.links
    assert (link.trace_id.hex(), link.span_id.hex()) == ("0c" * 16, "0c" * 8)
    assert attributes(link) == {"messaging.kafka.offset": 9}


def test_a_long_trace_is_sent_in_parts() -> None:
    with fake_collector() as server:
        Collector(server.url).send([BAR] * 600)
        assert len(server.paths) == 2 and len(server.spans) == 600


def test_a_collector_that_refuses_is_named_with_what_it_answered() -> None:
    with fake_collector() as server:
        server.status = 404
        with pytest.raises(Retry, match=rf"404.*{server.server_port}/v1/traces.*4317"):
            Collector(server.url).send([BAR])
        assert server.paths == ["/v1/traces"]


def test_a_collector_that_is_not_there_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    with pytest.raises(Retry, match=rf"did not take the spans: .*http://127.0.0.1:{port}/v1/traces"):
        Collector(f"http://127.0.0.1:{port}").send([BAR])
    assert capfd.readouterr().err == "", "one error, from tape"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://c:4318", "http://c:4318/v1/traces"),
        ("http://c:4318/", "http://c:4318/v1/traces"),
        ("https://c/otlp?key=1", "https://c/otlp/v1/traces?key=1"),
        ("http://c:4318/v1/traces/", "http://c:4318/v1/traces"),
    ],
)
def test_spans_are_posted_below_the_address(given: str, url: str) -> None:
    assert traces_url(given) == url


@pytest.mark.parametrize(
    "given", ["", "localhost:4318", "grpc://c:4317", "http://", "http://c:x", "http://[", "4318"]
)
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(Fatal, match=r"no address of a collector.*http://localhost:4318"):
        traces_url(given)


def test_a_password_in_an_address_is_not_shown() -> None:
    with pytest.raises(Fatal) as refused:
        traces_url("ftp://me:secret@c:4318")
    assert "secret" not in str(refused.value) and "c:4318" in str(refused.value)


def test_without_the_extra_the_command_for_pip_is_named() -> None:
    blocked = (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'opentelemetry':\n"
        "            raise ModuleNotFoundError('no', name=name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "from tapedeck.tape.cli.main import run\nrun()"
    )
    command = [sys.executable, "-c", blocked, "trace", "12345678", "--otlp", "http://127.0.0.1:4318"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "pip install 'tapedeck[otel]'" in done.stderr
    assert lacking(ModuleNotFoundError("no", name="opentelemetry.sdk")) is not None


@pytest.mark.parametrize("text", ["", "x", "-0.1", "1.1", "nan"])
def test_what_is_no_ratio_is_refused(text: str) -> None:
    with pytest.raises(Fatal, match="from 0"):
        ratio_in(text, "the sampling ratio")


def test_the_sample_is_that_of_opentelemetrys_own_sampler() -> None:
    from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

    ids = [f"{place * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}" for place in range(1, 400)]
    sampler = TraceIdRatioBased(0.25)
    theirs = [
        sampler.should_sample(None, int(each, 16), "").decision is Decision.RECORD_AND_SAMPLE for each in ids
    ]
    assert [sampled(each, 0.25) for each in ids] == theirs
    assert 60 < sum(theirs) < 140


class Looks:
    """A follower whose looks raise, or return, what ``answers`` says."""

    waiting = 3

    def __init__(self, *answers: int | Exception) -> None:
        self._answers = list(answers)

    def look(self, source: object, now_us: int) -> int:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def left(self) -> bool:
        return bool(self._answers)


def test_a_collector_that_is_away_is_told_once_and_its_return_too() -> None:
    from contextlib import nullcontext

    said: list[str] = []
    looks = Looks(0, Retry("away"), Retry("away"), 0, 7, 0)
    follow(looks, nullcontext, now=lambda: 0, pause=lambda: looks.left, tell=said.append)
    assert [line.partition(";")[0] for line in said] == ["away", "sent 0 spans", "sent 7 spans"]
