"""bars -> features -> features, bars.late."""

from tapedeck.agents.app import StageApp, market_app
from tapedeck.agents.settings import Settings


def agent(settings: Settings) -> StageApp:
    """The features agent."""
    return market_app("features", settings)
