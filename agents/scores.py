"""features -> scores -> scores, at every five-minute boundary."""

from tapedeck.agents.app import StageApp, market_app
from tapedeck.agents.settings import Settings


def agent(settings: Settings) -> StageApp:
    """The scores agent."""
    return market_app("scores", settings)
