"""``tape config``: the default document, and the check of one."""

from pathlib import Path
from typing import Annotated

import typer

from tapedeck.streams.config.document import Config, load
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Show the default configuration document, or check one."
)

_HEADER = "# tapedeck.config: every key with its default. An unknown key is refused.\n"


@app.command()
def show() -> None:
    """Print the whole default document as TOML, with the example accounts `large` and `tiny`."""
    print(_HEADER + Config(accounts=EXAMPLE_ACCOUNTS).to_toml(), end="")


@app.command()
def check(file: Annotated[Path, typer.Argument(help="The document, as TOML.")]) -> None:
    """Validate a document and print its digest; exit code 2 with the key path where it is refused."""
    config = load(file)
    names = ", ".join(account.account_id for account in config.accounts) or "none"
    print(f"{file}: valid, digest {config.digest}, accounts: {names}")
