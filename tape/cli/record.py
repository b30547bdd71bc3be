"""``tape record``: a window of the source topics as a small tape with its digests, and a check of one."""

from pathlib import Path
from typing import Annotated

import typer

from tapedeck.schemas.errors import Fatal
from tapedeck.tape.cli.pipeline import Bootstrap, Prefix, pipeline_of
from tapedeck.tape.local.places import say
from tapedeck.tape.topology import topology_in_use

DIFFERENT = 1


def record(
    *,
    since: Annotated[
        str, typer.Option("--from", help="2026-02-17T09:30-05:00, a date, or 2h before the newest record.")
    ] = "",
    until: Annotated[str, typer.Option("--to", help="The window's end, exclusive; the same forms.")] = "",
    out: Annotated[Path | None, typer.Option(help="The folder to write.")] = None,
    symbols: Annotated[str, typer.Option(help="Only these, like AMD,BAC; the universe stays whole.")] = "",
    account: Annotated[
        list[str] | None, typer.Option(help="Record this account's inbox up to --to; may be repeated.")
    ] = None,
    sessions_before: Annotated[
        int, typer.Option(min=0, help="Sessions of history before the window's day, to warm up.")
    ] = 1,
    name: Annotated[str, typer.Option(help="Default: the folder's name.")] = "",
    note: Annotated[str, typer.Option(help="Why the tape is kept.")] = "",
    check: Annotated[
        list[Path] | None, typer.Option(help="Play this tape in memory and compare digests; may be repeated.")
    ] = None,
    update: Annotated[
        list[Path] | None, typer.Option(help="Recompute this tape's digests: the rules changed on purpose.")
    ] = None,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """Write the window as a regression tape: records, configuration, and the digests that must result.

    --check and --update work on existing tapes, without a cluster; exit code 1 if digests differ.
    """
    # Modules that load the kernels are imported when the command runs.
    if check or update:
        _on_folders(check or [], update or [])
        return
    if out is None or not since or not until:
        remedy = "`tape record --from TIME --to TIME --out FOLDER`, or --check FOLDER"
        raise Fatal("--from, --to and --out are needed to record a window", remedy=remedy)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Fatal("--out already exists", value=str(out), remedy="name another folder")
    from tapedeck.connectors.recorded.format import save  # noqa: PLC0415 - see above
    from tapedeck.connectors.recorded.window import kept, window_of  # noqa: PLC0415 - see above
    from tapedeck.streams.sessions import xnys  # noqa: PLC0415 - see above
    from tapedeck.tape.notebook.times import moment  # noqa: PLC0415 - see above
    from tapedeck.tape.record.making import record as make  # noqa: PLC0415 - see above
    from tapedeck.tape.timed import timed  # noqa: PLC0415 - see above

    pipeline = pipeline_of(bootstrap, prefix)
    config = pipeline.document()
    with timed(pipeline.cluster, say) as source:
        start, end = (
            moment(text, option, lambda: kept(source).last)
            for text, option in ((since, "--from"), (until, "--to"))
        )
        window = window_of(source, start, end, sessions_before=sessions_before, calendar=xnys())
        tape = make(
            topology_in_use(), source, window, config, xnys(), name=name or out.name, note=note,
            symbols=[each.strip() for each in symbols.split(",") if each.strip()], accounts=account or [],
        )  # fmt: skip
    save(out, tape)
    size = sum(path.stat().st_size for path in out.iterdir())
    counted = ", ".join(f"{count} {topic}" for topic, count in tape.manifest.records.items())
    print(f"{out}: {window}, {counted}, {size / 1000:.0f} kB")


def _on_folders(check: list[Path], update: list[Path]) -> None:
    from tapedeck.connectors.recorded.format import load  # noqa: PLC0415 - see above
    from tapedeck.streams.sessions import xnys  # noqa: PLC0415 - see above
    from tapedeck.tape.record import making as recording  # noqa: PLC0415 - see above

    for folder in update:
        changed = recording.update(topology_in_use(), folder, xnys())
        print(f"{folder}: {len(changed)} digests changed")
        for each in changed:
            print(f"  {each}")
    different = False
    for folder in check:
        tape = load(folder)
        for driver, found in recording.check(topology_in_use(), tape, xnys()).items():
            verdict = f"DIFFERENT, first {found[0]}" if found else "EQUAL"
            print(f"{folder}: {driver} {verdict}")
            different = different or bool(found)
    if different:
        raise typer.Exit(DIFFERENT)
