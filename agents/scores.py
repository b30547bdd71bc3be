"""features -> scores -> scores, at every five-minute boundary."""

from agents.app import StageApp, market_app
from agents.settings import Settings


def agent(settings: Settings) -> StageApp:
    """The scores agent."""
    return market_app("scores", settings)
