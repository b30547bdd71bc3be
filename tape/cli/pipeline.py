"""Which pipeline a command speaks to: what the environment names, else the local stack that runs here."""

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
        help="The broker; without it the local stack's.",
        show_default=False,
    ),
]
Prefix = Annotated[
    str | None,
    typer.Option("--prefix", envvar="TAPE_PREFIX", help="The topic prefix.", show_default=False),
]

RunConfig = Annotated[
    Path | None, typer.Option("--config", help="The document of the run; by default the one in force.")
]


class Pipeline(NamedTuple):
    """A cluster under a prefix; configuration and paper exchange where they are known."""

    cluster: Cluster
    config: Path | None
    exchange: str | None = None

    def document(self, named: Path | None = None) -> "Config":
        """The configuration in ``named``, else the one in force here, else the built-in defaults.

        Raises ConfigInvalid where the document is not valid.
        """
        from tapedeck.connectors.config_file import load  # noqa: PLC0415 - `tape tail` needs none of it
        from tapedeck.streams.config.document import Config  # noqa: PLC0415 - `tape tail` needs none of it

        chosen = named or self.config
        if chosen is None:
            say("no configuration is named, the built-in defaults are taken: TAPE_CONFIG names another")
        return load(chosen) if chosen else Config()


def pipeline_of(bootstrap: str, prefix: str | None, login: str = OPERATOR) -> Pipeline:
    """The pipeline to use; it answers now: an operator must not wait half a minute to hear that it is away.

    Raises Fatal where none is named and no local stack runs, where nobody answers, and where another cluster
    answers than the one that is expected. ``login``: as whom to speak to a local stack that is secured.
    """
    where = found(bootstrap, prefix)
    return Pipeline(where.cluster(login), where.config, where.get(EXCHANGE_URL) or None)


def found(bootstrap: str = "", prefix: str | None = None, *, database: str = "") -> Where:
    """Where this command looks, said where it matters. Raises as ``pipeline_of`` does."""
    typed = {BOOTSTRAP: bootstrap or None, PREFIX: prefix, DATABASE: database or None}
    where = look(typed)
    answers = cluster_id_of(where.cluster())
    if where.beside is not None and where.beside.cluster_id == answers:
        where = look(typed, is_stacks=True)  # its own broker under another name
    return where.say()


def told() -> dict[str, str]:
    """The environment of a process that does the pipeline's work, completed by the rule of ``where``."""
    return look().say().told()


def say_withheld(cluster: Cluster, names: Iterable[str]) -> None:
    """A line on standard error for each partition of which an open transaction withholds records."""
    from tapedeck.connectors.kafka.transactions import open_transactions  # noqa: PLC0415 - it loads for long

    for each in open_transactions(cluster, names):
        print(f"tape: {each}", file=sys.stderr)
