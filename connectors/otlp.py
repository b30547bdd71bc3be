"""Spans to a collector of OpenTelemetry by OTLP over HTTP. The packages are those of the extra ``otel``.

The exporter reads its usual variables: ``OTEL_EXPORTER_OTLP_HEADERS``, ``OTEL_EXPORTER_OTLP_CERTIFICATE``,
``OTEL_EXPORTER_OTLP_TIMEOUT`` and the others. A span is given whole, with its ids and times: it is of a
record that was written already, and nothing here is measured.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tapedeck.schemas.errors import Fatal, Retry

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_PATH = "/v1/traces"
_BATCH = 512
"""Spans in a request: what the SDK's own batches have."""
_EXPORTERS_LOG = "opentelemetry.exporter.otlp.proto.http"

Value = str | int | float | bool


@dataclass(frozen=True, kw_only=True)
class SpanLink:
    """A span of another trace: 32 and 16 hex digits."""

    trace_id: str
    span_id: str
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Span:
    """One span. Ids are hex digits as in ``traceparent``; ``parent_id`` is empty for the first one.

    ``start_us`` and ``end_us``: UTC microseconds. ``service`` and ``version``: the process that did it.
    """

    trace_id: str
    span_id: str
    parent_id: str = ""
    name: str
    service: str
    version: str = ""
    start_us: int
    end_us: int
    attributes: Mapping[str, Value] = field(default_factory=dict)
    links: tuple[SpanLink, ...] = ()


def traces_url(url: str) -> str:
    """Where spans are posted, for a collector's address: ``/v1/traces`` below it. Raises Fatal for no URL."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise Fatal(
            "this is no address of a collector",
            value=url.rpartition("@")[2],
            remedy="give its OTLP address over HTTP, such as http://localhost:4318",
        )
    path = parts.path.rstrip("/")
    return parts._replace(path=path if path.endswith(_PATH) else path + _PATH, fragment="").geturl()


class Collector:
    """A collector at ``url``. Raises Fatal for an address that is none, and ModuleNotFoundError without the
    extra, which the ``tape`` command puts in words."""

    def __init__(self, url: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - an extra
            OTLPSpanExporter,
        )

        self._url = traces_url(url)
        self._exporter = OTLPSpanExporter(endpoint=self._url)

    def send(self, spans: Sequence[Span]) -> None:
        """Send ``spans``. Raises Retry if the collector does not take them."""
        from opentelemetry.sdk.trace.export import SpanExportResult  # noqa: PLC0415 - an extra

        for at in range(0, len(spans), _BATCH):
            with _Said() as said:
                result = self._exporter.export([_readable(each) for each in spans[at : at + _BATCH]])
            if result is not SpanExportResult.SUCCESS:
                raise Retry(
                    f"the collector did not take the spans{said.words}",
                    value=urlsplit(self._url)._replace(query="").geturl().rpartition("@")[2],
                    remedy="see whether it runs and listens for OTLP over HTTP (port 4318, not gRPC's 4317)",
                )


class _Said(logging.Handler):
    """Keeps what the exporter logs, which is the only place where it says why, and off standard error."""

    def __enter__(self) -> "_Said":
        self._lines: list[str] = []
        self._log = logging.getLogger(_EXPORTERS_LOG)
        self._was, self._log.propagate = self._log.propagate, False
        self._log.addHandler(self)
        return self

    def __exit__(self, *error: object) -> None:
        self._log.removeHandler(self)
        self._log.propagate = self._was

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage().strip())

    @property
    def words(self) -> str:
        """The last line, short."""
        return f": {self._lines[-1][:200]}" if self._lines else ""


def _readable(span: Span) -> "ReadableSpan":
    """``span`` as the SDK knows spans."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
    from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415 - an extra
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415 - an extra
    from opentelemetry.trace import Link, SpanKind  # noqa: PLC0415 - an extra

    about: dict[str, Any] = {"service.name": span.service, "service.namespace": "tapedeck"}
    if span.version:
        about["service.version"] = span.version
    return ReadableSpan(
        span.name,
        context=_context(span.trace_id, span.span_id),
        parent=_context(span.trace_id, span.parent_id) if span.parent_id else None,
        resource=Resource(about),
        attributes=dict(span.attributes),
        links=[Link(_context(each.trace_id, each.span_id), dict(each.attributes)) for each in span.links],
        kind=SpanKind.PRODUCER,
        start_time=span.start_us * 1000,
        end_time=span.end_us * 1000,
        instrumentation_scope=InstrumentationScope("tapedeck.trace"),
    )


def _context(trace_id: str, span_id: str) -> Any:
    from opentelemetry.trace import SpanContext, TraceFlags  # noqa: PLC0415 - an extra

    sampled = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=sampled)
