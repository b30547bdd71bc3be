"""``tape leave``: take static members that do not come back out of a stage's consumer group."""

from typing import Annotated

import typer

from tapedeck.schemas.errors import Fatal
from tapedeck.tape.cli.pipeline import Bootstrap, Prefix, found
from tapedeck.tape.local.places import say
from tapedeck.tape.topology import topology_in_use


def leave(
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="A stage of `tape topology`.")],
    instances: Annotated[
        list[str], typer.Argument(metavar="INSTANCE...", help="TAPE_GROUP_INSTANCE of each member.")
    ],
    *,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """Take static members out of a stage's group, so that the others own their partitions at once.

    For workers that are gone for good, after a scale-in: else their partitions have no owner until the
    session time-out. A member that still runs ends itself and joins again when it is started.
    """
    from tapedeck.connectors.kafka.leaving import leave as leave_group  # noqa: PLC0415 - it loads for long

    known = [spec.name for spec in topology_in_use().market]
    if stage not in known:
        raise Fatal("there is no such stage", value=stage, remedy=f"there are: {', '.join(known)}")
    cluster = found(bootstrap, prefix).cluster()
    group, strangers = cluster.layout.group(stage), []
    for instance in instances:
        if leave_group(cluster, group, instance):
            say(f"{instance} has left the group {group}")
        else:
            strangers.append(instance)
    if strangers:
        raise Fatal(
            f"not a member of the group {group}",
            value=", ".join(strangers),
            remedy="`kafka-consumer-groups.sh --describe --members --verbose` lists the members",
        )
