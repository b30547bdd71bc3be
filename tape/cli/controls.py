"""``tape pause`` and ``tape resume``: kill-switch changes by a named person, with a reason."""

import difflib
from typing import Annotated

import typer

from tapedeck.agents.settings import code_version
from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.config_file import load
from tapedeck.connectors.controls import EVERY_ACCOUNT, control, write_control
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.stages.account.rules.gate_types import KillState
from tapedeck.streams.wire import Origin
from tapedeck.tape.cli.pipeline import Bootstrap, Pipeline, Prefix, pipeline_of

ALL = "all"
Who = Annotated[str, typer.Argument(metavar="ACCOUNT|all", help="An account id, or `all`.")]
Person = Annotated[str, typer.Option("--person", help="Who decides this.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is stored with the change.")]


def pause(
    account: Who, person: Person, reason: Reason, bootstrap: Bootstrap = "", prefix: Prefix = None
) -> None:
    """Stop opening positions. Closing them stays allowed."""
    _change(account, KillState.REDUCING, person, reason, pipeline_of(bootstrap, prefix))


def resume(
    account: Who, person: Person, reason: Reason, bootstrap: Bootstrap = "", prefix: Prefix = None
) -> None:
    """Allow opening positions again. A pause of `all` and one of the account must both be lifted."""
    _change(account, KillState.ACTIVE, person, reason, pipeline_of(bootstrap, prefix))


def scope_of(account: str, config: Config | None) -> str:
    """The scope of a change. Raises Fatal for an account that the configuration does not have."""
    if account in (ALL, EVERY_ACCOUNT):
        return EVERY_ACCOUNT
    known = [each.account_id for each in config.accounts] if config else []
    if config is not None and account not in known:
        near = difflib.get_close_matches(account, [*known, ALL], n=1, cutoff=0.5)
        meant = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join([*known, ALL])}"
        raise Fatal("no such account", value=account, remedy=meant)
    return account


def _change(account: str, state: KillState, person: str, reason: str, pipeline: Pipeline) -> None:
    config = load(pipeline.config) if pipeline.config else None
    scope = scope_of(account, config)
    body = control(scope, state, person=person, reason=reason, now=SystemClock().now())
    origin = Origin("operators", code_version(), config.digest if config else "")
    writer = KafkaLogWriter(pipeline.cluster, origin)
    try:
        write_control(writer, body)
    finally:
        writer.close()
    whom = "all accounts" if scope == EVERY_ACCOUNT else f"account {scope}"
    print(f"{whom}: {state}, by {body['person']}: {body['reason']}")
