"""``tape doctor``: what is wrong with a pipeline, since when, where first, and what mends it."""

import json
import logging
import os
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from tapedeck.connectors.kafka.cluster import BOOTSTRAP
from tapedeck.schemas.errors import Fatal
from tapedeck.tape.cli.pipeline import Bootstrap, Prefix
from tapedeck.tape.cli.stack import Name
from tapedeck.tape.local.where import DATABASE, PREFIX

if TYPE_CHECKING:
    from tapedeck.tape.alerting.deliver import Delivery
    from tapedeck.tape.alerting.watch import Stop
    from tapedeck.tape.doctor.findings import Diagnosis
    from tapedeck.tape.status.target import Looked

log = logging.getLogger("tapedeck.doctor")


def doctor(
    name: Name = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")] = False,
    check: Annotated[
        str | None, typer.Option(metavar="NAME", help="Run only this check; docs/runbook.md lists them.")
    ] = None,
    alert: Annotated[bool, typer.Option("--alert", help="Send what is not well to the alert sinks.")] = False,
    watch: Annotated[
        int | None,
        typer.Option(
            metavar="SECONDS",
            min=5,
            help="Look for ever, so often, and send what changes to the alert sinks.",
        ),
    ] = None,
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
    from tapedeck.tape.status.target import looked_at  # noqa: PLC0415 - see above
    from tapedeck.tape.status.told import append_alarms, document, lines  # noqa: PLC0415 - see above

    typed = {BOOTSTRAP: bootstrap or None, PREFIX: prefix, DATABASE: database or None}
    if watch is not None:
        if as_json or check is not None:
            raise Fatal("--watch goes with neither --json nor --check", remedy="leave them out")
        return _watch(name, typed, watch)
    checks = [check_named(check)] if check else None
    looked = looked_at(name, typed)
    delivery = _delivery(looked) if alert else None
    with delivery.memory.alone() if delivery is not None else nullcontext():
        snapshot, found = examine(looked.target)
        if checks is not None:
            found = diagnose(snapshot, checks)
        if delivery is not None:
            delivery.memory.load()
            found = delivery.deliver(snapshot, checks) if checks else delivery.deliver(snapshot)
    print(
        json.dumps(document(found), indent=1) if as_json else "\n".join(lines(found, whole=check is not None))
    )
    if alert and found.faults and looked.alerts_log is not None:
        append_alarms(looked.alerts_log, found, snapshot.now)
    raise typer.Exit(found.exit_code)


def _delivery(looked: "Looked") -> "Delivery":
    """The sinks of a pipeline. Raises Fatal if there are none, or the time of repeats is wrong."""
    from tapedeck.connectors.alerts.settings import EMAIL, WEBHOOK, repeat_us, sinks_in  # noqa: PLC0415 - rare
    from tapedeck.tape.alerting.deliver import Delivery, Memory  # noqa: PLC0415 - see above

    named = sinks_in(os.environ)
    if not named.usable and not named.refused and looked.alerts_log is None:
        raise Fatal("no alert sink is set", remedy=f"set {WEBHOOK} or {EMAIL}")
    return Delivery(
        sinks=named.usable,
        memory=Memory(looked.alert_state),
        pipeline=looked.pipeline,
        repeat_us=repeat_us(os.environ),
        sent=lambda sink, notice: log.info("%s took %s: %s", sink, notice.kind, notice.title),
    )


def _watch(name: str | None, typed: Mapping[str, str | None], every_s: int) -> None:
    """Look until a stop signal. A local stack's log has what changes as well."""
    from tapedeck.agents import journal  # noqa: PLC0415 - see above
    from tapedeck.connectors.alerts.log_file import LogFile  # noqa: PLC0415 - see above
    from tapedeck.tape.alerting.watch import watch  # noqa: PLC0415 - see above
    from tapedeck.tape.status.collect import examine  # noqa: PLC0415 - see above
    from tapedeck.tape.status.target import looked_at  # noqa: PLC0415 - see above

    journal.set_up()
    looked = looked_at(name, typed)
    delivery = _delivery(looked)
    if looked.alerts_log is not None:
        delivery.sinks = {**delivery.sinks, str(looked.alerts_log): LogFile(path=looked.alerts_log)}

    def look(stop: "Stop") -> "Diagnosis":
        nonlocal looked
        try:
            looked = looked_at(name, typed, again=True)
        except Fatal as error:  # the stack was stopped: the last one known is looked at, and is red
            log.warning("looking at what was there last: %s", error.what)
        snapshot, _ = examine(looked.target)
        with stop.held():
            return delivery.deliver(snapshot)

    with delivery.memory.alone():
        delivery.memory.load()
        config = looked.target.config
        watch(look, every_s, digest=config.digest if config is not None else "")
