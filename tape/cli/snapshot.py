"""``tape snapshot``: tables at one moment under a name, to start a rebuild from or to go back to."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tapedeck.connectors.kafka.acls import ADMIN, OPERATOR
from tapedeck.tape.cli.pipeline import Bootstrap, Prefix, pipeline_of
from tapedeck.tape.local.places import say, snapshots_folder
from tapedeck.tape.topology import topology_in_use

if TYPE_CHECKING:
    from tapedeck.streams.columnar.job import TaskId
    from tapedeck.tape.rebuild.work import Place

app = typer.Typer(no_args_is_help=True, add_completion=False)
Name = Annotated[str, typer.Argument(help="The snapshot.", show_default=False)]
Stages = Annotated[
    list[str] | None, typer.Argument(help="Stages, or `account` for every account; default: all.")
]


@app.command()
def save(
    name: Name,
    stages: Stages = None,
    *,
    verify: Annotated[
        bool, typer.Option("--verify", help="Rebuild first, and save only if live is equal.")
    ] = False,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Processes; default: one per core.", show_default=False)
    ] = os.cpu_count() or 1,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """Save the live tables under NAME while they are at rest."""
    place, tasks = _place(bootstrap, prefix, stages, OPERATOR)
    from tapedeck.agents.settings import code_version  # noqa: PLC0415 - after the cache is named
    from tapedeck.tape.rebuild import snapshot, tables  # noqa: PLC0415 - see above
    from tapedeck.tape.rebuild.rebuild import spooled  # noqa: PLC0415 - see above

    with spooled(place) as here:
        read = tables.verified_tables if verify else tables.live_tables
        found = read(here, tasks, workers)
    ids = tables.ids_of(place, tasks)
    made = snapshot.save(snapshots_folder(), name, found, tables.fits_of(place), code_version(), ids=ids)
    print(f"saved {sum(len(table.values) for table in found)} values")
    print(snapshot.told(made))


@app.command(name="list")
def every() -> None:
    """List the snapshots, oldest first."""
    from tapedeck.tape.rebuild import snapshot  # noqa: PLC0415 - polars is slow to import

    for each in snapshot.listed(snapshots_folder()):
        print(snapshot.told(each))
    for wrong in snapshot.unreadable(snapshots_folder()):
        say(str(wrong))


@app.command()
def show(name: Name) -> None:
    """Show what a snapshot contains and what it belongs to."""
    from tapedeck.tape.rebuild import snapshot  # noqa: PLC0415 - polars is slow to import

    found = snapshot.load(snapshots_folder(), name)
    print(snapshot.told(found))
    for field in ("cluster", "config_digest", "rules_version", "code_version", "symbol_partitions"):
        print(f"  {field:<18} {found.manifest[field]}")
    for task in found.manifest["tasks"]:
        of = task["account"] or task["home"]
        offsets = ", ".join(f"{part}@{at}" for part, at in task["offsets"].items())
        print(f"  {task['stage']}/{of}: {task['keys']} values, resumes at {offsets}")


@app.command()
def restore(
    name: Name,
    stages: Stages = None,
    *,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """Activate the tables of NAME; the workers must be stopped, and then continue from there."""
    place, tasks = _place(bootstrap, prefix, stages, ADMIN)
    from tapedeck.tape.rebuild import snapshot, tables  # noqa: PLC0415 - after the cache is named

    found = snapshot.load(snapshots_folder(), name)
    for plan in tables.restore(found, place, tasks, say):
        print(f"{plan.task}: {len(plan.values)} values active")


def _place(
    bootstrap: str, prefix: str | None, stages: list[str] | None, login: str
) -> "tuple[Place, list[TaskId]]":
    # Modules that load the kernels are imported when the command runs.
    from tapedeck.tape.rebuild.rebuild import tasks_for  # noqa: PLC0415 - see above
    from tapedeck.tape.rebuild.work import Place  # noqa: PLC0415 - see above

    pipeline = pipeline_of(bootstrap, prefix, login)
    config = pipeline.document()
    topology = topology_in_use()
    tasks = tasks_for(topology, stages or (), pipeline.cluster.layout, config, None)
    return Place(pipeline.cluster, topology, config, Path()), tasks
