"""``tape dispatch ACCOUNT``: run the dispatcher of one account until it is stopped."""

from dataclasses import replace
from typing import Annotated

import typer

from tapedeck.agents.account import agent
from tapedeck.agents.process import run
from tapedeck.agents.settings import from_environment
from tapedeck.connectors.kafka.principals import dispatcher
from tapedeck.streams.config.live import FLAG
from tapedeck.tape.cli.pipeline import told
from tapedeck.tape.topology import topology_in_use


def dispatch(
    account: Annotated[str, typer.Argument(help="account_id of the configuration")],
    accepts_live: Annotated[
        bool, typer.Option(FLAG, help="Needed for an account in mode LIVE: its orders cost real money.")
    ] = False,
) -> None:
    """Route signals to ACCOUNT's inbox, decide with its gates, trade through its broker."""
    settings = replace(from_environment(told()), accepts_live=accepts_live)
    settings.unlocked(account)
    topology = topology_in_use()
    rights = dispatcher(topology, account, settings.layout)
    run(
        settings,
        [lambda settings: agent(settings, topology, account).stage_app],
        rights,
        name=f"dispatch-{account}",
    )
