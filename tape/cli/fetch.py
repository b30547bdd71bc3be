"""``tape fetch``: history of Alpaca's minute bars into a tape file."""

import sys
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from tapedeck.connectors.alpaca.market.endpoints import DATA_URL
from tapedeck.connectors.tapes.checking.write import refuse_target
from tapedeck.schemas.errors import Fatal


def fetch(
    symbols: Annotated[list[str], typer.Argument(help="Symbols; several, by spaces or commas.")],
    *,
    first: Annotated[str, typer.Option("--from", metavar="DATE", help="First session, YYYY-MM-DD.")],
    last: Annotated[str, typer.Option("--to", metavar="DATE", help="Last session, YYYY-MM-DD.")],
    out: Annotated[Path, typer.Option(help="The tape file, which ends in .parquet.")],
    feed: Annotated[str, typer.Option(help="iex, sip or delayed_sip.")] = "iex",
    data_url: Annotated[
        str, typer.Option(envvar="TAPE_DATA_URL", help="Alpaca's market data, or `tape exchange` here.")
    ] = DATA_URL,
    key: Annotated[
        str, typer.Option(envvar="TAPE_DATA_KEY_REF", help="Where the key is: a variable, or a file's path.")
    ] = "APCA_API_KEY_ID",
    secret: Annotated[
        str, typer.Option(envvar="TAPE_DATA_SECRET_REF", help="Where the secret is, likewise.")
    ] = "APCA_API_SECRET_KEY",
) -> None:
    """Fetch minute bars from Alpaca into a tape file that `tape play` and `tape sim` take.

    Each session is kept on disk as it comes. After an error or Ctrl-C, the same command goes on where it
    stopped. A refused rate is waited for.
    """
    from tapedeck.connectors.alpaca.market.history import History  # noqa: PLC0415 - it loads for long
    from tapedeck.connectors.clock import SystemClock  # noqa: PLC0415 - see above
    from tapedeck.connectors.credentials import credentials  # noqa: PLC0415 - see above
    from tapedeck.streams.sessions import xnys  # noqa: PLC0415 - see above
    from tapedeck.tape.fetch import tape_file  # noqa: PLC0415 - see above

    refuse_target(out)
    request = tape_file.Request(_symbols(symbols), feed, _date(first), _date(last))
    if request.last < request.first:
        raise Fatal("the last session is before the first", value=last, remedy=f"--to {first} or later")
    source = History(data_url, feed, credentials(key, secret), clock=SystemClock())
    try:
        found = tape_file.fetch(source, request, out, xnys(), _say)
    except KeyboardInterrupt:
        _say(f"stopped; the same command goes on with what is in {tape_file.parts_of(out)}")
        raise
    told = f", {found.kept} of them fetched before" if found.kept else ""
    print(f"wrote {out}: {found.bars:,} bars of {found.sessions} sessions{told}")
    if found.without:
        print(f"no bar of {', '.join(found.without)}")
    if found.unread:
        print(f"{found.unread:,} rows could not be read and were left out")


def _symbols(given: list[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(each for text in given for each in text.upper().replace(",", " ").split()))
    if not found:
        raise Fatal(
            "no symbol is named", remedy="`tape fetch NVDA AMD --from DATE --to DATE --out FILE.parquet`"
        )
    return found


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Fatal("not a session date", value=text, remedy="write YYYY-MM-DD") from None


def _say(line: str) -> None:
    print(f"tape: {line}", file=sys.stderr, flush=True)
