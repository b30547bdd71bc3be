"""``tape replay``: a recorded window through live agents beside production, under its own prefix."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tapedeck.connectors.kafka.acls import ADMIN
from tapedeck.schemas.errors import Fatal
from tapedeck.tape.cli.pipeline import Bootstrap, Pipeline, Prefix, found
from tapedeck.tape.interrupts import raise_on_stops
from tapedeck.tape.local.places import replays_folder, say
from tapedeck.tape.local.where import DATABASE
from tapedeck.tape.topology import topology_in_use

if TYPE_CHECKING:
    from tapedeck.tape.replay.replay import Wanted

DIFFERENT = 1


def replay(
    *,
    since: Annotated[
        str, typer.Option("--from", help="2026-02-17T09:30-05:00, a date, or 2h before the newest record.")
    ] = "",
    until: Annotated[str, typer.Option("--to", help="The window's end, exclusive; the same forms.")] = "",
    into: Annotated[str, typer.Option(metavar="PREFIX", help="An empty topic prefix to play into.")],
    speed: Annotated[str, typer.Option(help="1x, 60x, any Nx, or max: in lock-step.")] = "max",
    sessions_before: Annotated[
        int, typer.Option(min=0, help="Sessions of history before the window's day, to warm up.")
    ] = 1,
    accounts: Annotated[
        bool, typer.Option("--accounts/--no-accounts", help="Run a shadow dispatcher for each account.")
    ] = True,
    database: Annotated[
        str, typer.Option(envvar="DATABASE_URL", help="Where dispatchers keep leases.", show_default=False)
    ] = "",
    purge: Annotated[
        bool,
        typer.Option("--purge", help="Remove the prefix at the end; without --from, of an earlier replay."),
    ] = False,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """Play a recorded window through live agents in PREFIX; accounts decide but never send orders.

    Exit code 1 if decisions differ from the recorded ones, or none are recorded. Topics stay until --purge.
    """
    # Modules that load the kernels are imported when the command runs.
    where = found(bootstrap, prefix, database=database)
    pipeline, database = Pipeline(where.cluster(ADMIN), where.config), where.get(DATABASE)
    if not since and not until and purge:
        _purge(pipeline, into, database)
        return
    if not since or not until:
        remedy = "`tape replay --from TIME --to TIME --into PREFIX`"
        raise Fatal("--from and --to are needed to replay a window", remedy=remedy)
    wanted = _wanted(
        pipeline, since=since, until=until, into=into, speed=speed, sessions_before=sessions_before,
        database=database if accounts else "",
    )  # fmt: skip
    if accounts and wanted.config.accounts and not database:
        remedy = "set DATABASE_URL, or leave out the accounts with --no-accounts"
        raise Fatal("no database is named, and dispatchers need one for their leases", remedy=remedy)
    from tapedeck.tape.replay.replay import Replay  # noqa: PLC0415 - see above

    replayed = Replay(wanted)
    raise_on_stops()
    with replayed:
        summary = replayed.run()
        say("stopping the workers")
    print(summary)
    if purge:
        _purge(pipeline, into, database)
    else:
        print(f"look with `tape topics --prefix {into}`, remove with `tape replay --purge --into {into}`")
    if not summary.agrees:
        raise typer.Exit(DIFFERENT)


def _wanted(
    pipeline: Pipeline,
    *,
    since: str,
    until: str,
    into: str,
    speed: str,
    sessions_before: int,
    database: str,
) -> "Wanted":
    from tapedeck.connectors.recorded.window import kept, window_of  # noqa: PLC0415 - see above
    from tapedeck.connectors.tapes.player import Pace  # noqa: PLC0415 - see above
    from tapedeck.streams.sessions import xnys  # noqa: PLC0415 - see above
    from tapedeck.tape.notebook.times import moment  # noqa: PLC0415 - see above
    from tapedeck.tape.replay.replay import Wanted  # noqa: PLC0415 - see above
    from tapedeck.tape.timed import timed  # noqa: PLC0415 - see above

    live, pace = pipeline.cluster, Pace.parse(speed)
    with timed(live, say) as source:
        start, end = (
            moment(text, option, lambda: kept(source).last)
            for text, option in ((since, "--from"), (until, "--to"))
        )
        window = window_of(source, start, end, sessions_before=sessions_before, calendar=xnys())
    return Wanted(
        topology=topology_in_use(),
        live=live,
        into=live.under(into),
        config=pipeline.document(),
        window=window,
        pace=pace,
        folder=_folder(into),
        database_url=database,
    )


def _folder(into: str) -> Path:
    if not into:
        raise Fatal("a replay needs its own prefix", remedy="name it with --into")
    return replays_folder() / into


def _purge(pipeline: Pipeline, into: str, database: str) -> None:
    """Remove what a replay from this folder left behind: its topics, groups, schema and files."""
    import shutil  # noqa: PLC0415 - only here

    from tapedeck.connectors.config_file import load  # noqa: PLC0415 - see above
    from tapedeck.tape.local.state import only_stack  # noqa: PLC0415 - see above
    from tapedeck.tape.replay.prefix import purge  # noqa: PLC0415 - see above
    from tapedeck.tape.replay.replay import CONFIG  # noqa: PLC0415 - see above

    folder = _folder(into)
    if not (folder / CONFIG).is_file():
        remedy = "name a prefix that `tape replay --into` created from this folder"
        raise Fatal("this prefix is not that of a replay", value=into, remedy=remedy)
    with only_stack(folder):
        accounts = [each.account_id for each in load(folder / CONFIG).accounts]
        gone = purge(pipeline.cluster.under(into), database if accounts else "")
        shutil.rmtree(folder)
    print(f"removed the prefix {into}: {gone} topics, and {folder}")
