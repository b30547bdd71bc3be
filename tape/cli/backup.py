"""``tape backup`` and ``tape restore``: copy a stopped stack, and recreate it from the copy."""

from pathlib import Path
from typing import Annotated

import typer

from tapedeck.agents.settings import code_version
from tapedeck.tape.cli.stack import Name
from tapedeck.tape.local.backup import CONFIGURATION, Manifest
from tapedeck.tape.local.backup import backup as make
from tapedeck.tape.local.backup import restore as make_again
from tapedeck.tape.local.places import in_words, say, stack_folder


def backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The backup's folder, which is created.")],
    name: Name = None,
) -> None:
    """Copy a stopped stack, with checksums, to a new folder: all of it or nothing."""
    stack = stack_folder(name)
    manifest = make(stack, folder.expanduser().absolute())
    print(f"stack {manifest.stack} is backed up in {folder}: {_words(manifest)}")
    if not manifest.has_database:
        say("its Postgres is not embedded and not part of the backup: back it up with pg_dump")


def restore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `tape backup` created.")],
    name: Name = None,
) -> None:
    """Check a backup and recreate its stack, where none exists; `tape up` then starts it."""
    stack = stack_folder(name)
    manifest = make_again(folder.expanduser().absolute(), stack)
    print(f"restored to {stack}: {_words(manifest)}")
    if manifest.release != code_version():
        say(f"the backup is from release {manifest.release}, this is {code_version()}")
    words = f" --prefix {manifest.prefix}" if manifest.prefix else ""
    words += f" --config {stack / CONFIGURATION}" if CONFIGURATION in manifest.files else ""
    print(f"next: tape up{f' --name {name}' if name else ''}{words}, then tape rebuild --verify")


def _words(manifest: Manifest) -> str:
    return (
        f"{len(manifest.files)} files, {in_words(manifest.size)}, cluster id {manifest.cluster_id}, "
        f"release {manifest.release}"
    )
