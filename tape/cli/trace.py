"""``tape trace``: the trace of an order or a minute, from bar to fill, as a tree or to a collector."""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from tapedeck.schemas.errors import Fatal
from tapedeck.tape.cli.pipeline import Bootstrap, Pipeline, Prefix, pipeline_of
from tapedeck.tape.local.places import say
from tapedeck.tape.topology import topology_in_use

if TYPE_CHECKING:
    from tapedeck.connectors.otlp import Collector
    from tapedeck.streams.blocks import Source
    from tapedeck.streams.topology import Topology
    from tapedeck.tape.trace.hops import Trace


def trace(
    id: Annotated[
        str | None,
        typer.Argument(help="An id as `tape explain` takes it; with --at, a symbol.", show_default=False),
    ] = None,
    *,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            help="A symbol's minute: 10:42 in New York on the newest session, or ISO 8601.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")] = False,
    otlp: Annotated[
        str | None, typer.Option(metavar="URL", help="Send the spans to this collector too (OTLP over HTTP).")
    ] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Send the traces of new orders, and of a sample of minutes, for ever."),
    ] = False,
    ratio: Annotated[
        str | None,
        typer.Option(
            envvar="OTEL_TRACES_SAMPLER_ARG",
            metavar="0..1",
            help="With --follow: the part of the minutes to send; default 0.01.",
            show_default=False,
        ),
    ] = None,
    every: Annotated[float, typer.Option(min=0.5, help="With --follow: seconds between looks.")] = 5.0,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """Print a trace: each hop from the bar to the fill, with its start and duration. Reads only the topics.

    With --otlp or --follow, spans go to a collector of OpenTelemetry: pip install 'tapedeck[otel]'.
    """
    # Modules that load the kernels are imported when the command runs.
    from tapedeck.tape.timed import timed  # noqa: PLC0415 - see above

    if follow:
        if id is not None or at is not None or as_json:
            raise Fatal("--follow goes with no id, --at or --json", remedy="leave them out")
        return _follow(lambda: pipeline_of(bootstrap, prefix), otlp, ratio, every)
    if id is None:
        raise Fatal("what to trace is not named", remedy="give an order id, an event_id, or SYMBOL --at TIME")
    collector = _collector(otlp) if otlp else None
    pipeline, topology = pipeline_of(bootstrap, prefix), topology_in_use(None)
    with timed(pipeline.cluster, say) as source:
        found = _found(topology, source, id, at)
    _print(topology, found, as_json=as_json)
    if collector is not None:
        from tapedeck.tape.trace.spans import spans_of  # noqa: PLC0415 - see above

        spans = [span for each in found for span in spans_of(topology, pipeline.cluster.layout, each)]
        collector.send(spans)
        print(f"tape: sent {len(spans)} spans to {otlp}", file=sys.stderr)
    return None


def _found(topology: "Topology", source: "Source", asked: str, at: str | None) -> "list[Trace]":
    from tapedeck.streams.sessions import xnys  # noqa: PLC0415 - see above
    from tapedeck.tape.explain.lookup import Lookup  # noqa: PLC0415 - see above
    from tapedeck.tape.trace.asked import traces_at, traces_of  # noqa: PLC0415 - see above
    from tapedeck.tape.why.symbol_tape import newest_session, time_of  # noqa: PLC0415 - see above

    lookup = Lookup(source)
    if at is None:
        return traces_of(topology, lookup, asked)
    return traces_at(topology, lookup, asked, time_of(at, lambda: newest_session(lookup, xnys())))


def _print(topology: "Topology", found: "list[Trace]", *, as_json: bool) -> None:
    from tapedeck.tape.trace.show import as_dict, text  # noqa: PLC0415 - see above

    if as_json:
        print(json.dumps({"traces": [as_dict(topology, each) for each in found]}, indent=1))
    else:
        print("\n\n".join(text(topology, each) for each in found))


def _collector(url: str) -> "Collector":
    from tapedeck.connectors.otlp import Collector  # noqa: PLC0415 - an extra

    return Collector(url)


def _follow(found: Callable[[], Pipeline], url: str | None, ratio: str | None, every_s: float) -> None:
    from tapedeck.connectors.clock import SystemClock  # noqa: PLC0415 - see above
    from tapedeck.connectors.otlp import ENDPOINT, TRACES_ENDPOINT  # noqa: PLC0415 - see above
    from tapedeck.tape.timed import timed  # noqa: PLC0415 - see above
    from tapedeck.tape.trace.follow import RATIO, Follower, follow, ratio_in  # noqa: PLC0415 - see above

    url = url or os.environ.get(TRACES_ENDPOINT) or os.environ.get(ENDPOINT)
    if not url:
        raise Fatal("no collector is named", remedy=f"give --otlp URL or set {ENDPOINT}")
    part = RATIO if ratio is None else ratio_in(ratio, "the sampling ratio")
    collector, topology = _collector(url), topology_in_use(None)
    pipeline = found()
    say(f"sending the traces of new orders, and of {part:g} of the minutes, to {url}; Ctrl-C ends it")

    def pause() -> bool:
        time.sleep(every_s)
        return True

    follow(
        Follower(topology, collector.send, ratio=part),
        lambda: timed(pipeline.cluster, say),
        now=SystemClock().now,
        pause=pause,
        tell=say,
    )
