"""``tape migrate``: brings the audit's tables to the newest revision."""

from typing import Annotated

import typer

from tapedeck.tape.cli.init import Database, database_of
from tapedeck.tape.local.where import DATABASE, PREFIX, look


def migrate(
    *,
    database: Database = "",
    prefix: Annotated[
        str | None,
        typer.Option("--prefix", envvar="TAPE_PREFIX", help="The topic prefix.", show_default=False),
    ] = None,
) -> None:
    """Create the tables of this pipeline's audit, or bring them to the newest revision. Needs no broker."""
    from tapedeck.tape import begin  # noqa: PLC0415 - see `tape.cli.play`

    where = look({DATABASE: database or None, PREFIX: prefix}).say()
    if begin.migrate(database_of(where), where.get(PREFIX)):
        print("the tables were created, or upgraded to the newest revision")
    else:
        print("the tables are at the newest revision: nothing was changed")
