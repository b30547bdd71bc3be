"""Which pipeline a command uses: the one in the environment, else the local stack that runs here."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tapedeck.connectors.kafka.acls import OPERATOR
from tapedeck.connectors.kafka.cluster import BOOTSTRAP, Cluster
from tapedeck.connectors.kafka.identity import cluster_id_of
from tapedeck.tape.local.places import say
from tapedeck.tape.local.state import EXCHANGE_URL
from tapedeck.tape.local.where import DATABASE, PREFIX, Where, look

if TYPE_CHECKING:
    from tapedeck.streams.config.document import Config

Bootstrap = Annotated[
    str,
    typer.Option(
        "--bootstrap",
        envvar="KAFKA_BOOTSTRAP_SERVERS",
        help="The broker; default: the local stack's.",
        show_default=False,
    ),
]
Prefix = Annotated[
    str | None,
    typer.Option("--prefix", envvar="TAPE_PREFIX", help="The topic prefix.", show_default=False),
]

RunConfig = Annotated[
    Path | None, typer.Option("--config", help="The document of the run; default: the current one.")
]


class Pipeline(NamedTuple):
    """A cluster with a prefix; configuration and paper exchange if they are known."""

    cluster: Cluster
    config: Path | None
    exchange: str | None = None

    def document(self, named: Path | None = None) -> "Config":
        """The configuration in ``named``, else the current one here, else the built-in defaults.

        Raises ConfigInvalid if the document is not valid.
        """
        from tapedeck.connectors.config_file import load  # noqa: PLC0415 - `tape tail` needs none of it
        from tapedeck.streams.config.document import Config  # noqa: PLC0415 - `tape tail` needs none of it

        chosen = named or self.config
        if chosen is None:
            say("no configuration is named, so the built-in defaults are used: set TAPE_CONFIG to name one")
        return load(chosen) if chosen else Config()


def pipeline_of(bootstrap: str, prefix: str | None, login: str = OPERATOR) -> Pipeline:
    """The pipeline to use. It is contacted now, so that an operator does not wait half a minute for an error.

    Raises Fatal if none is named and no local stack runs, if nothing answers, and if another cluster answers
    than the expected one. ``login``: the user for a secured local stack.
    """
    where = found(bootstrap, prefix)
    return Pipeline(where.cluster(login), where.config, where.get(EXCHANGE_URL) or None)


def found(bootstrap: str = "", prefix: str | None = None, *, database: str = "") -> Where:
    """Where this command looks; printed if that matters. Raises like ``pipeline_of``."""
    typed = {BOOTSTRAP: bootstrap or None, PREFIX: prefix, DATABASE: database or None}
    where = look(typed)
    answers = cluster_id_of(where.cluster())
    if where.beside is not None and where.beside.cluster_id == answers:
        where = look(typed, is_stacks=True)  # its own broker under another name
    return where.say()


def told() -> dict[str, str]:
    """The environment of a process that does the pipeline's work, completed by the rules of ``where``."""
    return look().say().told()


def say_withheld(cluster: Cluster, names: Iterable[str]) -> None:
    """Print a line on standard error for each partition with records withheld by an open transaction."""
    from tapedeck.connectors.kafka.transactions import open_transactions  # noqa: PLC0415 - it loads for long

    for each in open_transactions(cluster, names):
        print(f"tape: {each}", file=sys.stderr)
