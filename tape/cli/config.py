"""``tape config``: the default document, and the check of one."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tapedeck.streams.config.deployment import Deployment
from tapedeck.streams.config.document import Config, load
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Show the default configuration document, or check one."
)

_HEADER = "# tapedeck.config: every key with its default. An unknown key is refused.\n"
_DEPLOYMENT = """
# Where it runs. No part of the digest; an environment variable of the same meaning has precedence.
# [deployment]
"""


@app.command()
def show() -> None:
    """Print the whole default document as TOML, with the example accounts `large` and `tiny`."""
    print(_HEADER + Config(accounts=EXAMPLE_ACCOUNTS).to_toml(), end="")
    print(_DEPLOYMENT, end="")
    for name, value in Deployment().model_dump().items():
        print(f"# {name} = {json.dumps(value)}")


@app.command()
def check(file: Annotated[Path, typer.Argument(help="The document, as TOML.")]) -> None:
    """Validate a document and print its digest; exit code 2 with the key path where it is refused."""
    config = load(file)
    names = ", ".join(account.account_id for account in config.accounts) or "none"
    print(f"{file}: valid, digest {config.digest}, accounts: {names}")
