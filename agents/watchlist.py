"""scores joined with universe -> watchlist -> watchlist, memberships."""

from tapedeck.agents.app import StageApp, market_app
from tapedeck.agents.settings import Settings


def agent(settings: Settings) -> StageApp:
    """The watchlist agent."""
    return market_app("watchlist", settings)
