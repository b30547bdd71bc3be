"""``tape watermark``: makes bars usable whose producer writes no watermarks."""

from importlib.metadata import version
from typing import Annotated

import typer
from rich.console import Console

from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.kafka.acls import ADMIN, INGEST
from tapedeck.connectors.tapes.marking import GRACE_S
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.wire import Origin
from tapedeck.tape.cli.pipeline import Bootstrap, Prefix, pipeline_of
from tapedeck.tape.marking import copy_marked, follow
from tapedeck.tape.notebook.times import moment
from tapedeck.tape.topology import topology_in_use


def watermark(
    *,
    into: Annotated[
        str | None,
        typer.Option(metavar="PREFIX", help="Copy the existing records, with watermarks, and exit."),
    ] = None,
    first: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="The first minute to come, if there is no watermark yet; default: now."
        ),
    ] = None,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds after a later minute's bar before a minute is over.")
    ] = GRACE_S,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """Write the watermarks of bars, quotes and universe when the producer of bars writes none.

    Follows the bars until it is stopped. With --into PREFIX it copies the current records of the topics into
    that prefix, in the order of their event time, with watermarks in between, each in the partition of its
    key.
    """
    pipeline = pipeline_of(bootstrap, prefix, ADMIN if into else INGEST)
    topology = topology_in_use()
    console = Console(stderr=True, highlight=False, markup=False)
    origin = Origin("watermark", version("tapedeck"), pipeline.document().digest)
    if into is None:
        follow(topology, pipeline.cluster, origin, console, opening=_first(first), grace_s=grace)
    elif first is not None:
        raise Fatal("a copy starts with its first bar", value=first, remedy="leave out --first")
    else:
        copy_marked(topology, pipeline.cluster, pipeline.cluster.under(into), origin, console)


def _first(named: str | None) -> int:
    """The minute of the first bar to come, micros: those of the minute just ended may be under way."""
    if named is None:
        return SystemClock().now() // MINUTE_US * MINUTE_US - MINUTE_US
    return moment(named, "--first", lambda: None) // MINUTE_US * MINUTE_US
