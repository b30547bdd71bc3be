"""``tape backtest``: what the rules would have earned on a tape, and whether that can be believed."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from tapedeck.connectors.tapes.market_files.options import Duplicates
from tapedeck.connectors.tapes.source import TapeSource, session_date
from tapedeck.schemas.errors import Fatal
from tapedeck.tape.cli.file_options import (
    Columns,
    News,
    Quotes,
    Repeated,
    Scale,
    Symbols,
    Zone,
    progress,
    reading_of,
)
from tapedeck.tape.local.places import say
from tapedeck.tape.topology import topology_in_use

_ROWS = 10
_WARM_UP = 5


def backtest(
    tape: Annotated[
        str, typer.Argument(help="A file, a folder of files, a recorded folder, or synthetic[:SEED].")
    ],
    *,
    since: Annotated[
        str | None, typer.Option("--from", help="First session, YYYY-MM-DD in New York.")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="Last session, inclusive.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="Default: the default document, two accounts.")
    ] = None,
    accounts: Annotated[
        str | None, typer.Option("--accounts", metavar="A,B", help="Only these accounts of the document.")
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--compare", metavar="A B", help="Two documents, with paired differences per session."),
    ] = None,
    fees: Annotated[str, typer.Option("--fees", help="alpaca, none, or a TOML file of rates.")] = "alpaca",
    cash: Annotated[
        list[str] | None,
        typer.Option("--cash", metavar="ACCOUNT=USD", help="Starting cash; by tier without."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the fills.")] = 0,
    quotes: Quotes = None,
    news: News = None,
    regime: Annotated[
        Path | None, typer.Option("--regime", help="CSV of a volatility index, as of `tape ingest regime`.")
    ] = None,
    earnings: Annotated[
        Path | None, typer.Option("--earnings", help="CSV of coming earnings, as of `tape ingest earnings`.")
    ] = None,
    zone: Zone = None,
    columns: Columns = None,
    symbols: Symbols = None,
    scale: Scale = None,
    duplicates: Repeated = Duplicates.REFUSE,
    market_since: Annotated[
        str | None, typer.Option("--market-since", help="First day of a synthetic market; default: --from.")
    ] = None,
    check_lookahead: Annotated[
        bool,
        typer.Option("--check-lookahead", help="Run again with the future cut off at each session's end."),
    ] = False,
    check_startup: Annotated[
        bool, typer.Option("--check-startup", help="Run again with more warm-up before the first session.")
    ] = False,
    warm_up: Annotated[
        int, typer.Option("--warm-up", min=1, help="Sessions of more warm-up for --check-startup.")
    ] = _WARM_UP,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="1: everything in one process; default: as many as there are cores."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Also write an HTML page to this path.")
    ] = None,
    rows: Annotated[int, typer.Option("--rows", min=0, help="How many trades to show.")] = _ROWS,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")] = False,
) -> None:
    """Run every session of TAPE through the stages and dispatchers, and print what they would have earned.

    The decisions are those that live would have made. Fees and fills are a model, which the output states.
    Exits with 1 if a check fails.
    """
    # Modules that load the kernels are imported when the command runs.
    from tapedeck.connectors.clock import SystemClock  # noqa: PLC0415 - see above
    from tapedeck.tape.backtest import command  # noqa: PLC0415 - see above
    from tapedeck.tape.backtest.document import as_document  # noqa: PLC0415 - see above
    from tapedeck.tape.backtest.report import as_html  # noqa: PLC0415 - see above
    from tapedeck.tape.backtest.text import as_text, compared_as_text  # noqa: PLC0415 - see above

    excluded = {"--config": config, "--check-lookahead": check_lookahead, "--check-startup": check_startup}
    for option in (name for name, given in excluded.items() if compare is not None and given):
        value = " ".join(map(str, compare or ()))
        raise Fatal(f"--compare excludes {option}", value=value, remedy=f"leave out {option}")
    wanted = command.Wanted(check_lookahead, warm_up if check_startup else 0)
    asked = command.Asked(
        source=TapeSource(
            tape=tape,
            since=session_date(market_since),
            quotes=quotes,
            news=news,
            reading=reading_of(zone, columns, symbols, scale, duplicates),
        ),
        since=session_date(since),
        until=session_date(until),
        accounts=None if accounts is None else tuple(filter(None, map(str.strip, accounts.split(",")))),
        fees=command.fees_of(fees),
        cash=command.cash_of(cash or ()),
        seed=seed,
        workers=workers or os.cpu_count() or 1,
        daily=wanted.any,
        outlook=command.outlook_of({"regime": regime, "earnings": earnings}),
        tell=_told if as_json else say,
        reading=progress(),
    )
    made_us = SystemClock().now()
    if compare is not None:
        both = command.run_both(asked, *compare)
        page, printed = as_html(both.b, both, made_us=made_us), compared_as_text(both)
        told, failed = as_document(both.b, both), False
    else:
        topology = topology_in_use(config)
        found = command.run_one(topology, asked, config)
        checks = command.check(topology, asked, found, wanted)
        page = as_html(found, None, checks, made_us=made_us)
        printed = "\n".join([as_text(found, rows=rows), *map(str, checks)])
        told, failed = as_document(found, None, checks), not all(each.passed for each in checks)
    if report is not None:
        _write(report, page)
    print(json.dumps(told, indent=1) if as_json else printed)
    if report is not None and not as_json:
        print(f"report: {report}")
    if failed:
        raise typer.Exit(1)


def _told(line: str) -> None:
    """Progress has no place beside a JSON document."""


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise Fatal(f"the report cannot be written: {error.strerror}", value=str(path),
                    remedy="name a file in a folder that exists") from None  # fmt: skip
