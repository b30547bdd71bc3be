"""``tape doctor``: what is wrong with a pipeline, since when, where first, and what mends it."""

import json
import os
from typing import Annotated

import typer

from tapedeck.connectors.kafka.cluster import BOOTSTRAP
from tapedeck.schemas.errors import Fatal
from tapedeck.tape.cli.pipeline import Bootstrap, Prefix
from tapedeck.tape.cli.stack import Name
from tapedeck.tape.local.where import DATABASE, PREFIX


def doctor(
    name: Name = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")] = False,
    check: Annotated[
        str | None, typer.Option(metavar="NAME", help="Run only this check; docs/runbook.md lists them.")
    ] = None,
    alert: Annotated[bool, typer.Option("--alert", help="Send what is not well to the alert sinks.")] = False,
    *,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
    database: Annotated[
        str, typer.Option(envvar="DATABASE_URL", help="The audit store.", show_default=False)
    ] = "",
) -> None:
    """Check a whole pipeline. The first line names the cause, or says that all is green.

    Needs only the cluster, and the database where one is named. Exit code 0 green, 1 amber, 2 red.
    """
    from tapedeck.tape.doctor.diagnose import check_named, diagnose  # noqa: PLC0415 - it loads for long
    from tapedeck.tape.status.collect import examine  # noqa: PLC0415 - see above
    from tapedeck.tape.status.target import SINKS, looked_at  # noqa: PLC0415 - see above
    from tapedeck.tape.status.told import append_alarms, document, lines  # noqa: PLC0415 - see above

    only = [check_named(check)] if check else None
    looked = looked_at(name, {BOOTSTRAP: bootstrap or None, PREFIX: prefix, DATABASE: database or None})
    snapshot, found = examine(looked.target)
    if only is not None:
        found = diagnose(snapshot, only)
    print(
        json.dumps(document(found), indent=1) if as_json else "\n".join(lines(found, whole=only is not None))
    )
    if alert and found.faults:
        if looked.alerts_log is not None:
            append_alarms(looked.alerts_log, found, snapshot.now)
        elif not any(os.environ.get(each) for each in SINKS):
            raise Fatal("no alert sink is set", remedy=f"set {' or '.join(SINKS)}")
        else:
            raise Fatal("this release sends no alarms beyond a local stack's log", remedy="upgrade it")
    raise typer.Exit(found.exit_code)
