"""bars -> features -> features, bars.late."""

from agents.app import StageApp, market_app
from agents.settings import Settings


def agent(settings: Settings) -> StageApp:
    """The features agent."""
    return market_app("features", settings)
