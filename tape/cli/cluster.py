"""Which cluster a command speaks to: what the environment names, else the local stack that runs here."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tapedeck.tape.local.kafka import check_cluster, cluster_id_of
from tapedeck.tape.local.places import stack_folder
from tapedeck.tape.local.state import read, running
from tapedeck.topics.catalogue import Layout

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


class Cluster(NamedTuple):
    """A broker, how the catalogue lies on it; configuration and paper exchange where they are known."""

    bootstrap: str
    layout: Layout
    config: Path | None
    exchange: str | None = None

    def document(self, named: Path | None = None) -> "Config":
        """The configuration in ``named``, else the one in force here, else the built-in defaults.

        Raises ConfigInvalid where the document is not valid.
        """
        from tapedeck.streams.config.document import Config, load  # noqa: PLC0415 - `tape tail` needs none of it

        chosen = named or self.config
        return load(chosen) if chosen else Config()


def cluster_of(bootstrap: str, prefix: str | None) -> Cluster:
    """The cluster to use, which answers now: an operator must not wait half a minute to hear that it is away.

    Raises Fatal where none is named and no local stack runs, where nobody answers, and where another cluster
    than the stack's own does.
    """
    if bootstrap:
        cluster_id_of(bootstrap)
        config = os.environ.get("TAPE_CONFIG")
        return Cluster(
            bootstrap, Layout.described(prefix or "", os.environ), Path(config) if config else None
        )
    stack = running(stack_folder(None))
    check_cluster(stack.bootstrap, stack.cluster_id)
    chosen = stack.prefix if prefix is None else prefix
    config_path = Path(stack.config) if stack.config else None
    return Cluster(
        stack.bootstrap, Layout.described(chosen, os.environ), config_path, stack.exchange_url or None
    )


def is_named(bootstrap: str) -> bool:
    """Whether there is a cluster to speak to: one is named, or a local stack runs here."""
    stack = None if bootstrap else read(stack_folder(None))
    return bool(bootstrap) or (stack is not None and stack.is_running)
