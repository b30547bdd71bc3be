"""``tape health``: whether the process here is ready, or lives. The entry point answers it without this."""

from typing import Annotated

import typer

from tapedeck.connectors.health.asked import main


def health(
    live: Annotated[bool, typer.Option("--live", help="Ask whether it makes progress.")] = False,
    ready: Annotated[bool, typer.Option("--ready", help="Ask whether it is ready; the default.")] = False,
) -> None:
    """Ask the process at 127.0.0.1:TAPE_HEALTH_PORT (default 9464) how it is; exit code 1 if not well."""
    raise typer.Exit(main(["--live"] * live + ["--ready"] * ready))
