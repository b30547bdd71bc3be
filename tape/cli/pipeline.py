"""Which pipeline a command speaks to: what the environment names, else the local stack that runs here."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tapedeck.connectors.kafka.acls import OPERATOR
from tapedeck.connectors.kafka.cluster import BOOTSTRAP, Cluster
from tapedeck.connectors.kafka.identity import cluster_id_of
from tapedeck.tape.local.places import say, stack_folder
from tapedeck.tape.local.state import read, running

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
        from tapedeck.streams.config.document import Config, load  # noqa: PLC0415 - `tape tail` needs none of it

        chosen = named or self.config
        if chosen is None:
            say("no configuration is named, the built-in defaults are taken: TAPE_CONFIG names another")
        return load(chosen) if chosen else Config()


def pipeline_of(bootstrap: str, prefix: str | None, login: str = OPERATOR) -> Pipeline:
    """The pipeline to use; it answers now: an operator must not wait half a minute to hear that it is away.

    Raises Fatal where none is named and no local stack runs, where nobody answers, and where another cluster
    than the stack's own does. ``login``: as whom to speak to a local stack that is secured.
    """
    config = os.environ.get("TAPE_CONFIG")
    told = _told(config)
    if named := bootstrap or told.get(BOOTSTRAP):
        cluster = Cluster.described(named, told.get("TAPE_PREFIX", "") if prefix is None else prefix, told)
        cluster_id_of(cluster)
        return Pipeline(cluster, Path(config) if config else None)
    stack = running(stack_folder(None))
    cluster = stack.cluster(told, prefix, login)
    cluster_id_of(cluster)
    config_path = Path(stack.config) if stack.config else None
    return Pipeline(cluster, config_path, stack.exchange_url or None)


def is_named(bootstrap: str) -> bool:
    """Whether there is a cluster to speak to: one is named, or a local stack runs here."""
    bootstrap = bootstrap or _told(os.environ.get("TAPE_CONFIG")).get(BOOTSTRAP, "")
    stack = None if bootstrap else read(stack_folder(None))
    return bool(bootstrap) or (stack is not None and stack.is_running)


def _told(config: str | None) -> dict[str, str]:
    """The environment, completed by the ``[deployment]`` of the document that TAPE_CONFIG names."""
    if not config:
        return dict(os.environ)
    from tapedeck.streams.config.document import load  # noqa: PLC0415 - see above

    return load(Path(config)).deployment.under(os.environ)


def say_withheld(cluster: Cluster, names: Iterable[str]) -> None:
    """A line on standard error for each partition of which an open transaction withholds records."""
    from tapedeck.connectors.kafka.transactions import open_transactions  # noqa: PLC0415 - it loads for long

    for each in open_transactions(cluster, names):
        print(f"tape: {each}", file=sys.stderr)
