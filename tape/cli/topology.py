"""``tape topology``: the stages, what they read, join and write, as text or as a Mermaid chart."""

from typing import Annotated

import typer

from tapedeck.tape.topology import topology_in_use


def topology(
    mermaid: Annotated[bool, typer.Option("--mermaid", help="A Mermaid flow chart, for docs.")] = False,
) -> None:
    """Print the declared topology that feeds all three drivers."""
    found = topology_in_use()
    print(found.as_mermaid() if mermaid else found.as_text())
