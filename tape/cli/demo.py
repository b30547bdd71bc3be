"""``tape demo``: one market session through a fresh local stack, and the proof of what happened."""

from pathlib import Path
from typing import Annotated

import typer

from tapedeck.connectors.tapes.market_files.options import Duplicates
from tapedeck.connectors.tapes.source import TapeSource, session_date
from tapedeck.schemas.errors import Fatal
from tapedeck.tape.cli.file_options import Columns, News, Repeated, Scale, Symbols, Zone, reading_of
from tapedeck.tape.interrupts import raise_on_stops
from tapedeck.tape.local.places import say, stack_folder

FAILED = 1
_NAME = "demo"


def demo(
    tape: Annotated[
        Path | None, typer.Option(help="Minute bars: a file, a folder or pattern; default: synthetic.")
    ] = None,
    *,
    session: Annotated[
        str | None, typer.Option(help="New York date, YYYY-MM-DD; default: the newest.")
    ] = None,
    quotes: Annotated[
        Path | None, typer.Option(help="Default: TAPE with quotes for trades in its name.")
    ] = None,
    news: News = None,
    zone: Zone = None,
    columns: Columns = None,
    symbols: Symbols = None,
    scale: Scale = None,
    duplicates: Repeated = Duplicates.REFUSE,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the synthetic session.")] = None,
    minutes: Annotated[
        int | None, typer.Option(min=1, help="Play only the first minutes; no order is expected.")
    ] = None,
    secure: Annotated[
        bool, typer.Option("--secure", help="Use a secured Kafka, like `tape up --secure`.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running until Ctrl-C.")] = False,
) -> None:
    """Play a session from bars to filled orders and prove what happened; exit code 1 if a proof fails."""
    # Modules that load the kernels are imported when the command runs.
    from tapedeck.tape.demo.demo import Demo, Wanted  # noqa: PLC0415 - see above
    from tapedeck.tape.demo.report import report  # noqa: PLC0415 - see above

    folder = stack_folder(_NAME)
    source = TapeSource(
        tape=_tape_name(tape, seed),
        session=session_date(session),
        quotes=quotes,
        news=news,
        reading=reading_of(zone, columns, symbols, scale, duplicates),
    )
    raise_on_stops()
    try:
        with Demo(Wanted(folder=folder, source=source, minutes=minutes, secure=secure)) as running:
            summary = running.run()
            if keep:
                report(summary, folder, kept=True)
                running.hold()
        running.write(summary)
        if not keep:
            report(summary, folder, kept=False)
    except KeyboardInterrupt:
        say("interrupted; everything was stopped")
        raise
    if summary.failures:
        raise typer.Exit(FAILED)


def _tape_name(tape: Path | None, seed: int | None) -> str:
    if tape is None:
        return "synthetic" if seed is None else f"synthetic:{seed}"
    if seed is not None:
        raise Fatal(
            "a seed applies only to the synthetic session", value=seed, remedy="leave out --seed or --tape"
        )
    return str(tape.absolute())
