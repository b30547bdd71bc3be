"""``tape worker STAGE...``: run the agents of some stages in this process until it is told to stop."""

from functools import reduce
from importlib import import_module
from operator import or_
from typing import Annotated

import typer

from tapedeck.agents.process import run
from tapedeck.agents.settings import from_environment
from tapedeck.connectors.kafka.principals import market_stage
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.topology import MARKET_STAGES
from tapedeck.tape.cli.pipeline import told


def worker(
    stages: Annotated[list[str], typer.Argument(help="market stages of `tape topology`")],
) -> None:
    """Run the agents of STAGES in one process, one consumer group each."""
    for name in stages:
        if name not in MARKET_STAGES:
            raise Fatal("no such stage to run here", value=name, remedy=f"stages: {', '.join(MARKET_STAGES)}")
    settings = from_environment(told())
    rights = reduce(or_, (market_stage(name, settings.layout) for name in stages))
    run(settings, [import_module(f"tapedeck.agents.{name}").agent for name in stages], rights)
