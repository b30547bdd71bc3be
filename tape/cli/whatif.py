"""``tape whatif``: the recorded window decided again under another configuration, and what differs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tapedeck.schemas.errors import Fatal
from tapedeck.tape.cli.pipeline import Bootstrap, Prefix, pipeline_of
from tapedeck.tape.local.places import say
from tapedeck.tape.topology import topology_in_use

_ROWS = 20


def whatif(
    *,
    config: Annotated[Path, typer.Option("--config", help="The changed configuration document.")],
    base: Annotated[
        Path | None, typer.Option("--base", help="The document of the run; default: the current one.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--from", help="A date in New York, ISO 8601 with its zone, or 2h: before the newest."),
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="Like --from; exclusive.")] = None,
    account: Annotated[str | None, typer.Option("--account", help="Only this account's proposals.")] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Also write an HTML page to this path.")
    ] = None,
    rows: Annotated[
        int, typer.Option("--rows", min=0, help="How many differences of a list to show.")
    ] = _ROWS,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")] = False,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """Decide the recorded window again under --config, and print which decisions differ and why.

    Direct effects of a changed parameter are listed apart from what follows from an earlier difference.
    """
    # Modules that load the kernels are imported when the command runs.
    from tapedeck.connectors.clock import SystemClock  # noqa: PLC0415 - see above
    from tapedeck.connectors.config_file import load, topology_of  # noqa: PLC0415 - see above
    from tapedeck.connectors.recorded.window import kept  # noqa: PLC0415 - see above
    from tapedeck.tape.notebook.times import moment  # noqa: PLC0415 - see above
    from tapedeck.tape.timed import timed  # noqa: PLC0415 - see above
    from tapedeck.tape.whatif.report import as_html  # noqa: PLC0415 - see above
    from tapedeck.tape.whatif.text import as_text  # noqa: PLC0415 - see above
    from tapedeck.tape.whatif.whatif import whatif_from  # noqa: PLC0415 - see above

    changed = load(config)
    pipeline = pipeline_of(bootstrap, prefix)
    document, topology = pipeline.document(base), topology_in_use(base)
    if changed.topology and topology_of(config) != topology:
        raise Fatal(
            "--config names another topology, but the recording comes from this pipeline's stages",
            value=changed.topology,
            remedy="remove `topology` from it; a what-if changes parameters, not stages",
        )
    with timed(pipeline.cluster, say) as source:
        start, end = (
            None if text is None else moment(text, option, lambda: kept(source).last)
            for text, option in ((since, "--from"), (until, "--to"))
        )
        found = whatif_from(topology, source, document, changed, since=start, until=end, account=account)
    if report is not None:
        _write(report, as_html(found, made_us=SystemClock().now()))
    print(json.dumps(found.as_dict(), indent=1) if as_json else as_text(found, rows=rows))
    if report is not None and not as_json:
        print(f"report: {report}")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise Fatal(f"the report cannot be written: {error.strerror}", value=str(path),
                    remedy="name a file in a folder that exists") from None  # fmt: skip
