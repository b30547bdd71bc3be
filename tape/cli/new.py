"""``tape new``: the skeleton of a package of your own."""

from pathlib import Path
from typing import Annotated

import typer

from tapedeck.tape.skeleton.stage import write
from tapedeck.tape.topology import topology_in_use

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def new() -> None:
    """Write the skeleton of a package of your own."""


@app.command()
def stage(
    name: Annotated[str, typer.Argument(help="The stage's name; its topic has the same.")],
    *,
    package: Annotated[
        str | None, typer.Option("--package", help="The package's name.", show_default="tape_NAME")
    ] = None,
    into: Annotated[
        Path | None, typer.Option("--into", help="The folder.", show_default="one named as the package")
    ] = None,
) -> None:
    """Write an installable package with the stage NAME, its records, topic, parameters and test."""
    package = package or f"tape_{name}"
    folder = into or Path(package)
    files = write(name, package, folder, topology_in_use())
    print(f"{folder}: {len(files)} files; the rule is in {package}/stages/{name}/stage.py")
    print(f"Install it:       pip install -e {folder}")
    print(f"Try it:           pytest {folder}")
    print(f'Name it:          topology = "{package}.pipeline:TOPOLOGY" at the top of tape.toml')
    print("Then look at it:  tape topology, and tape sim --config tape.toml")
