"""``tape pause``, ``halt``, ``release`` and ``close``: what a named person decides, with a reason."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Annotated

import typer

from tapedeck.agents.settings import code_version
from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.config_file import load
from tapedeck.connectors.controls import EVERY_ACCOUNT, Command, command, control, write_control
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.schemas.codec import Body
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.stages.account.rules.gate_types import KillState
from tapedeck.streams.wire import Origin
from tapedeck.tape.cli.pipeline import Bootstrap, Pipeline, Prefix, pipeline_of

ALL = "all"
_BACK = 20_000
"""Records of a partition among which a position is looked for."""
Who = Annotated[str, typer.Argument(metavar="ACCOUNT|all", help="An account id, or `all`.")]
Person = Annotated[str, typer.Option("--person", help="Who decides this.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is stored with the change.")]


def pause(
    account: Who, person: Person, reason: Reason, bootstrap: Bootstrap = "", prefix: Prefix = None
) -> None:
    """Stop opening positions. Closing them stays allowed."""
    _change(account, KillState.REDUCING, person, reason, pipeline_of(bootstrap, prefix))


def halt(
    account: Who, person: Person, reason: Reason, bootstrap: Bootstrap = "", prefix: Prefix = None
) -> None:
    """Stop an account, or all: cancel opening orders, close every position, see that it is flat.

    It stays halted until `tape release`, through restarts too. With `kill.flatten_on_halt = false` positions
    are kept.
    """
    _change(account, KillState.HALTED, person, reason, pipeline_of(bootstrap, prefix))


def release(
    account: Who, person: Person, reason: Reason, bootstrap: Bootstrap = "", prefix: Prefix = None
) -> None:
    """Allow opening positions again. A stop of `all` and one of the account must both be lifted."""
    _change(account, KillState.ACTIVE, person, reason, pipeline_of(bootstrap, prefix))


def close(
    position: Annotated[str, typer.Argument(help="A position id, or an unambiguous beginning of one.")],
    person: Person,
    reason: Reason,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """Close one position by a person's command. `tape positions` shows their ids."""
    from tapedeck.tape.desk.rows import newest_positions  # noqa: PLC0415 - a pause needs none of it
    from tapedeck.tape.status.readers import newest_bodies  # noqa: PLC0415 - see above

    pipeline = pipeline_of(bootstrap, prefix)
    cluster = pipeline.cluster
    body = held(position, list(newest_positions(newest_bodies(cluster, "positions", _BACK))))
    asked = command(
        body["account_id"], Command.CLOSE_POSITION, body["position_id"],
        state=state_of(body["account_id"], newest_bodies(cluster, "controls")),
        person=person, reason=reason, now=SystemClock().now(),
    )  # fmt: skip
    write(asked, pipeline)
    print(
        f"account {body['account_id']}: {body['qty'].normalize():f} {body['instrument']} is to be closed, "
        f"by {asked['person']}: {asked['reason']}"
    )


def held(wanted: str, bodies: Sequence[Body]) -> Body:
    """The held position whose id begins with ``wanted``. Raises Fatal if there is none, or several."""
    open_ = [body for body in bodies if body["qty"]]
    found = [body for body in open_ if wanted and body["position_id"].startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if any(wanted and body["position_id"].startswith(wanted) for body in bodies) and not found:
        raise Fatal(
            "the position is closed already", value=wanted, remedy="`tape positions --closed` shows it"
        )
    listed = ", ".join(f"{body['position_id']} ({body['instrument']})" for body in found or open_)
    what = "several positions begin so" if found else "no such position is held"
    raise Fatal(what, value=wanted, remedy=f"there are: {listed}" if listed else "none is held")


def state_of(scope: str, controls: Iterable[Body]) -> KillState:
    """What an account's own switch says. A command's record repeats it: an older release obeys its state."""
    from tapedeck.tape.status.readers import newest_changes  # noqa: PLC0415 - see above

    known = newest_changes(controls).get(scope)
    return KillState(known["state"]) if known else KillState.ACTIVE


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
    scope = scope_of(account, load(pipeline.config) if pipeline.config else None)
    body = control(scope, state, person=person, reason=reason, now=SystemClock().now())
    write(body, pipeline)
    whom = "all accounts" if scope == EVERY_ACCOUNT else f"account {scope}"
    print(f"{whom}: {state}, by {body['person']}: {body['reason']}")


def write(body: Body, pipeline: Pipeline) -> None:
    """Append one record of ``controls`` and wait until the broker has it."""
    config = load(pipeline.config) if pipeline.config else None
    origin = Origin("operators", code_version(), config.digest if config else "")
    writer = KafkaLogWriter(pipeline.cluster, origin)
    try:
        write_control(writer, body)
    finally:
        writer.close()
