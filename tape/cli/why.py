"""``tape why``: why there was no trade in a symbol, over a session or in one minute."""

import json
import os
from collections.abc import Callable
from datetime import datetime, time
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import Fatal
from streams.sessions import NEW_YORK, Session, iso_date, micros
from tape.cli.cluster import Bootstrap, Prefix, cluster_of
from tape.local.places import cache_dir


def why(
    symbol: Annotated[str, typer.Argument(help="The symbol, as in the universe.")],
    *,
    at: Annotated[
        str | None,
        typer.Option(
            "--at", help="One minute: 10:42 in New York on the newest session, or ISO 8601 with its zone."
        ),
    ] = None,
    account: Annotated[str | None, typer.Option("--account", help="Only this account's gates.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="The document of the run; by default the one in force.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")] = False,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """Print where each minute of SYMBOL ended on its way to a trade, why, and how far it was from passing."""
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_dir() / "numba"))  # before the kernels are imported
    from connectors.bulk.source import KafkaSource  # noqa: PLC0415 - see above
    from streams.config.document import Config, load  # noqa: PLC0415 - see above
    from streams.sessions import xnys  # noqa: PLC0415 - see above
    from tape.explain.lookup import Lookup  # noqa: PLC0415 - see above
    from tape.why.reading import newest_session  # noqa: PLC0415 - see above
    from tape.why.report import why_from  # noqa: PLC0415 - see above

    cluster = cluster_of(bootstrap, prefix)
    chosen = config or cluster.config
    document = load(chosen) if chosen else Config()
    with KafkaSource(cluster.bootstrap, cluster.layout) as source:
        moment = None if at is None else time_of(at, lambda: newest_session(Lookup(source), xnys()))
        found = why_from(source, document, symbol, at=moment, account=account)
    print(json.dumps(found.as_dict(), indent=1) if as_json else found.text())


def time_of(text: str, newest: Callable[[], Session]) -> int:
    """``text`` in UTC microseconds: ISO 8601 with its zone, or a New York time of day on the newest session.

    Raises Fatal for anything else.
    """
    try:
        if len(text) <= len("10:42:00"):
            of_day = time.fromisoformat(text)
            return micros(datetime.combine(iso_date(newest().date), of_day, tzinfo=NEW_YORK))
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Fatal("this is no time", value=text, remedy="write 10:42 or 2026-02-17T15:42:00Z")
    return micros(moment)
