"""``tape topology``: the stages, what they read, join and write, as text or as a Mermaid chart."""

from typing import Annotated

import typer

from tapedeck.streams.topology import as_mermaid, as_text


def topology(
    mermaid: Annotated[bool, typer.Option("--mermaid", help="A Mermaid flow chart, for docs.")] = False,
) -> None:
    """Print the declared topology that feeds all three drivers."""
    print(as_mermaid() if mermaid else as_text())
