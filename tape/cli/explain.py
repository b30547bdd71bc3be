"""``tape explain``: why an order, a signal or any record exists, with each part of it recomputed."""

import json
from typing import Annotated

import typer

from tapedeck.tape.cli.pipeline import Bootstrap, Prefix, RunConfig, pipeline_of
from tapedeck.tape.local.places import say
from tapedeck.tape.topology import topology_in_use

NOT_SAME = 1


def explain(
    id: Annotated[
        str,
        typer.Argument(
            help="A client or broker order id, a signal_id, ACCOUNT|SIGNAL_ID, or an event_id; eight or more "
            "of its first characters are enough."
        ),
    ],
    *,
    config: RunConfig = None,
    depth: Annotated[int | None, typer.Option("--depth", min=0, help="How many levels to show.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Show all of it, without folding.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")] = False,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """Print the tree of a record's inputs, back to the bars, and whether recomputing it gives the same.

    Exit code 1 if a record came out different, or could not be recomputed.
    """
    # Modules that load the kernels are imported when the command runs.
    from tapedeck.tape.explain.explanation import explain_from  # noqa: PLC0415 - see above
    from tapedeck.tape.explain.reevaluate import Verdict  # noqa: PLC0415 - see above
    from tapedeck.tape.timed import timed  # noqa: PLC0415 - see above

    pipeline = pipeline_of(bootstrap, prefix)
    document = pipeline.document(config)
    with timed(pipeline.cluster, say) as source:
        topology = topology_in_use(config)
        found = explain_from(topology, source, document, id, depth=depth, everything=everything)
    print(json.dumps(found.as_dict(), indent=1) if as_json else found.text())
    if found.checks and found.verdict is not Verdict.SAME:
        raise typer.Exit(NOT_SAME)
