"""``tape worker STAGE...``: run the agents of some stages in this process until it is stopped."""

from functools import partial, reduce
from operator import or_
from typing import Annotated

import typer

from tapedeck.agents.app import market_app
from tapedeck.agents.process import run
from tapedeck.agents.settings import from_environment
from tapedeck.connectors.kafka.principals import worker as principal
from tapedeck.schemas.errors import Fatal
from tapedeck.tape.cli.pipeline import told
from tapedeck.tape.topology import topology_in_use


def worker(
    stages: Annotated[list[str], typer.Argument(help="market stages of `tape topology`")],
) -> None:
    """Run the agents of STAGES in one process, one consumer group each."""
    topology = topology_in_use()
    specs = [topology.stage(name) for name in dict.fromkeys(stages)]
    if others := [spec.name for spec in specs if spec.per_account]:
        raise Fatal(
            "only a dispatcher runs this stage, for its account",
            value=", ".join(others),
            remedy=f"`tape dispatch ACCOUNT`; stages here: {', '.join(s.name for s in topology.market)}",
        )
    settings = from_environment(told())
    rights = reduce(or_, (principal(spec, settings.layout) for spec in specs))
    run(
        settings,
        [partial(market_app, spec) for spec in specs],
        rights,
        name="+".join(spec.name for spec in specs),
        sources={spec.name: topology.root(spec) for spec in specs},
    )
