"""``tape check``: what a market file contains, whether and how it plays, and a clean copy as a tape."""

import json
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from tapedeck.connectors.recorded.format import is_recorded
from tapedeck.connectors.tapes.checking.spool import Spool
from tapedeck.connectors.tapes.checking.survey import Survey, few
from tapedeck.connectors.tapes.checking.write import refuse_target, write
from tapedeck.connectors.tapes.files import beside, origin_of
from tapedeck.connectors.tapes.market_files.columns import BARS, QUOTES, Matched, Spec
from tapedeck.connectors.tapes.market_files.options import DEFAULT_FEED, Duplicates, Reading, Tell
from tapedeck.connectors.tapes.market_files.stamp import Stamp
from tapedeck.connectors.tapes.market_files.tables import Reader
from tapedeck.connectors.tapes.source import TapeSource, session_date
from tapedeck.schemas.errors import Fatal, TapeError
from tapedeck.streams.sessions import iso_date, xnys
from tapedeck.tape.cli.file_options import (
    Columns,
    Quotes,
    Repeated,
    Scale,
    Symbols,
    Zone,
    progress,
    reading_of,
)

_UNPLAYABLE = 2
_COLUMNS = (
    "symbols",
    "bars",
    "in_hours",
    "gaps",
    "equal_duplicates",
    "differing_duplicates",
    "zero_volume",
    "dead_letters",
)


def check(
    file: Annotated[Path, typer.Argument(help="Minute bars: a file, a folder of files, or a pattern.")],
    *,
    session: Annotated[
        str | None, typer.Option(help="New York date, YYYY-MM-DD; default: the newest.")
    ] = None,
    quotes: Quotes = None,
    zone: Zone = None,
    columns: Columns = None,
    symbols: Symbols = None,
    scale: Scale = None,
    duplicates: Repeated = Duplicates.REFUSE,
    feed: Annotated[str, typer.Option(help="The feed of bars that do not name one.")] = DEFAULT_FEED,
    out: Annotated[
        Path | None,
        typer.Option("--write", metavar="OUT.parquet", help="Write it as a tape that plays without options."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Report what FILE contains and how it would play; exit code 2 if it would not."""
    reading = reading_of(zone, columns, symbols, scale, duplicates)
    if is_recorded(file):
        raise Fatal("this is a recorded tape", value=str(file), remedy="check it with `tape record --check`")
    if out is not None:
        refuse_target(out)
    tell = progress()
    with TemporaryDirectory(prefix="tape-check-") as scratch:
        spool, found = _survey(file, reading, Path(scratch), tell)
        source = TapeSource(
            tape=str(file), session=session_date(session), quotes=quotes, feed=feed, reading=reading
        )
        found |= _playing(source, found, tell)
        print(json.dumps(found, indent=2) if as_json else _text(found))
        if found["refused"]:
            raise typer.Exit(_UNPLAYABLE)
        if out is not None:
            print(_written(spool, source, out, Path(scratch), tell))


def _spooled(file: Path, spec: Spec, reading: Reading, folder: Path, tell: Tell) -> Spool:
    folder.mkdir()
    spool = Spool(Reader(file, spec, reading, tell), folder)
    spool.fill()
    return spool


def _survey(file: Path, reading: Reading, scratch: Path, tell: Tell) -> tuple[Spool, dict[str, Any]]:
    spool = _spooled(file, BARS, reading, scratch / "bars", tell)
    reader, survey = spool.reader, Survey(xnys())
    unclear = None
    try:
        notes = reader.prices.notes()
    except Fatal as error:
        unclear = str(error)
        reader.prices.leave()
        notes = []
    sessions = [asdict(each) for each in survey.sessions(spool)]
    found = {
        "file": str(file),
        "form": "; ".join(reader.forms),
        "files": len(reader.parts),
        "rows": reader.rows,
        "columns": _columns(reader.matched),
        "ignored_columns": sorted({name for each in reader.matched for name in each.ignored}),
        "times": reader.remarks,
        "order": spool.order.words(),
        "symbols": sorted(survey.symbols),
        "sessions": sessions,
        "suspected": [*notes, *(note for each in sessions for note in each["notes"])],
        "splits": survey.splits,
    }
    return spool, found | {"refused": unclear}


def _columns(matched: list[Matched]) -> dict[str, str]:
    """Our columns to the file's; a list where files differ."""
    told: dict[str, dict[str, None]] = {}
    for each in matched:
        for ours, theirs in each.taken.items():
            told.setdefault(ours, {})[" + ".join(theirs)] = None
    return {ours: " or ".join(theirs) for ours, theirs in told.items()}


def _playing(source: TapeSource, found: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """How the tape plays, from actually loading it; or why it does not."""
    if found["refused"]:
        return {"plays": None}
    try:
        tape = source.load(tell)
    except TapeError as error:
        return {"plays": None, "refused": str(error)}
    differing = [each["date"] for each in found["sessions"] if each["differing_duplicates"]]
    refused = None
    if differing and source.reading.duplicates is Duplicates.REFUSE:
        refused = f"{few(differing)}: minutes with two different rows; add --duplicates last to use the last"
    plays = {
        "session": str(iso_date(tape.session)),
        "symbols": len(tape.symbols),
        "minutes": len(tape.minutes),
        "bars": sum(len(minute.bars) for minute in tape),
        "warm_up_bars": len(tape.history),
        "quotes": sum(len(minute.quotes) for minute in tape),
        "digest": tape.digest(),
        "notes": list(tape.notes),
    }
    return {"plays": plays, "refused": refused}


def _written(spool: Spool, source: TapeSource, out: Path, scratch: Path, tell: Tell) -> str:
    """Write bars, and quotes if there are any, and say so."""
    file = Path(source.tape)
    found = beside(file, source.quotes)
    quotes = None if found is None else out.with_name(f"{out.stem}.quotes.parquet")
    words = ""
    if found is not None and quotes is not None:
        refuse_target(quotes)
        (scratch / "tidy-quotes").mkdir()
        other = _spooled(found, QUOTES, source.reading, scratch / "quotes", tell)
        count = write(other, quotes, scratch / "tidy-quotes", xnys(), feed=None, stamp=Stamp())
        words = f", and {quotes} with {count:,} quotes"
    (scratch / "tidy").mkdir()
    stamp = Stamp(origin_of(file), quotes.name if quotes else None)
    rows = write(spool, out, scratch / "tidy", xnys(), feed=source.feed, stamp=stamp)
    return f"wrote {out} with {rows:,} bars{words}"


def _text(found: dict[str, Any]) -> str:
    many = f", {found['files']} files" if found["files"] > 1 else ""
    sessions = [each for each in found["sessions"] if each["session"]]
    span = f": {sessions[0]['date']} to {sessions[-1]['date']}" if sessions else ""
    lines = [
        f"{found['file']}: {found['form']}{many}, {found['rows']:,} rows",
        f"{len(found['symbols'])} symbols: {few(found['symbols'])}",
        f"{len(sessions)} sessions{span}; rows are sorted {found['order']}",
        "columns: " + ", ".join(_named(ours, theirs) for ours, theirs in found["columns"].items()),
    ]
    lines += [f"ignored columns: {', '.join(found['ignored_columns'])}"] if found["ignored_columns"] else []
    lines += [f"{column}: {words}" for column, words in found["times"].items()]
    widths = [max(len(name), 7) for name in _COLUMNS]
    titles = (name.replace("_", " ") for name in _COLUMNS)
    lines += [
        "",
        " " * 10 + "".join(f"  {title:>{width}}" for title, width in zip(titles, widths, strict=True)),
    ]
    for each in found["sessions"]:
        cells = "".join(f"  {each[name]:>{width},}" for name, width in zip(_COLUMNS, widths, strict=True))
        lines.append(each["date"] + cells)
    lines += ["", *(f"note: {each}" for each in (*found["suspected"], *found["splits"]))]
    if found["plays"] is not None:
        plays = found["plays"]
        lines.append(
            f"plays the session of {plays['session']}: {plays['bars']:,} bars of {plays['symbols']} symbols"
            f" in {plays['minutes']} minutes, {plays['warm_up_bars']:,} bars of warm-up,"
            f" {plays['quotes']:,} quotes"
        )
        lines += [f"  {note}" for note in plays["notes"]] + [f"  digest {plays['digest']}"]
    if found["refused"]:
        lines.append(f"does not play: {found['refused']}")
    return "\n".join(lines)


def _named(ours: str, theirs: str) -> str:
    return ours if ours == theirs else f"{ours} from {theirs}"
