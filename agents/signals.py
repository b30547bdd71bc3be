"""features joined with memberships -> signals -> decisions, signals, revision_audit."""

from tapedeck.agents.app import StageApp, market_app
from tapedeck.agents.settings import Settings


def agent(settings: Settings) -> StageApp:
    """The signals agent."""
    return market_app("signals", settings)
