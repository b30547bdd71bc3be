"""``tape migrate``: brings the audit's tables to the newest revision."""

from typing import Annotated

import typer

from tapedeck.connectors.secrets import secret_of
from tapedeck.schemas.errors import Fatal
from tapedeck.tape.cli.init import Database, database_of
from tapedeck.tape.local.where import DATABASE, PREFIX, look

APP_PASSWORD = "TAPE_APP_PASSWORD"


def migrate(
    *,
    database: Database = "",
    prefix: Annotated[
        str | None,
        typer.Option("--prefix", envvar="TAPE_PREFIX", help="The topic prefix.", show_default=False),
    ] = None,
    app_login: Annotated[
        str,
        typer.Option(
            envvar="TAPE_APP_LOGIN",
            help="Also create this login for the processes, or change its password, to that of"
            " TAPE_APP_PASSWORD or the file in TAPE_APP_PASSWORD_FILE.",
        ),
    ] = "",
) -> None:
    """Create the tables of this pipeline's audit, or bring them to the newest revision. Needs no broker."""
    from tapedeck.tape import begin  # noqa: PLC0415 - see `tape.cli.play`

    password = _app_password() if app_login else ""
    where = look({DATABASE: database or None, PREFIX: prefix}).say()
    if begin.migrate(database_of(where), where.get(PREFIX)):
        print("the tables were created, or upgraded to the newest revision")
    else:
        print("the tables are at the newest revision: nothing was changed")
    if app_login:
        from tapedeck.connectors.postgres.logins import grant_login  # noqa: PLC0415 - see above

        is_new = grant_login(database_of(where), app_login, password)
        print(f"login {app_login}: {'created' if is_new else 'has its password again'}")


def _app_password() -> str:
    if not (given := secret_of(APP_PASSWORD)):
        raise Fatal(
            "the login of the processes needs a password",
            value=APP_PASSWORD,
            remedy=f"set it, or {APP_PASSWORD}_FILE to a file that holds it",
        )
    return given.read()
