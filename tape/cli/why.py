"""``tape why``: why there was no trade in a symbol, and why what is held was not closed."""

import json
from typing import Annotated

import typer

from tapedeck.tape.cli.pipeline import Bootstrap, Prefix, RunConfig, pipeline_of
from tapedeck.tape.local.places import say
from tapedeck.tape.topology import topology_in_use


def why(
    symbol: Annotated[str, typer.Argument(help="The symbol, as in the universe.")],
    *,
    at: Annotated[
        str | None,
        typer.Option(
            "--at", help="One minute: 10:42 in New York on the newest session, or ISO 8601 with its zone."
        ),
    ] = None,
    held: Annotated[
        bool,
        typer.Option("--held", help="Why what is held of it was not closed; SYMBOL may be a position id."),
    ] = False,
    account: Annotated[str | None, typer.Option("--account", help="Only this account.")] = None,
    config: RunConfig = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")] = False,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """Print where each minute of SYMBOL ended on its way to a trade, why, and how far it was from passing.

    With --held: what each exit rule lacks to close what is held, now or at a time.
    """
    # Modules that load the kernels are imported when the command runs.
    from tapedeck.streams.sessions import xnys  # noqa: PLC0415 - see above
    from tapedeck.tape.desk.held import why_held  # noqa: PLC0415 - see above
    from tapedeck.tape.explain.lookup import Lookup  # noqa: PLC0415 - see above
    from tapedeck.tape.timed import timed  # noqa: PLC0415 - see above
    from tapedeck.tape.why.report import why_from  # noqa: PLC0415 - see above
    from tapedeck.tape.why.symbol_tape import newest_session, time_of  # noqa: PLC0415 - see above

    pipeline = pipeline_of(bootstrap, prefix)
    document = pipeline.document(config)
    with timed(pipeline.cluster, say) as source:
        moment = None if at is None else time_of(at, lambda: newest_session(Lookup(source), xnys()))
        found = (
            why_held(source, document, symbol, at=moment, account=account)
            if held
            else why_from(topology_in_use(config), source, document, symbol, at=moment, account=account)
        )
    print(json.dumps(found.as_dict(), indent=1) if as_json else found.text())
