"""What a dispatcher reads beside its account's inbox."""

from tapedeck.connectors.dispatch.freshness import FOLLOWED
from tapedeck.streams.topology import Topology

CONTROLS, MARKET_EVENTS = "controls", "market_events"


def routed(topology: Topology) -> tuple[str, ...]:
    """What it appends to the inbox, record by record: every topic of signals, the controls and the halts."""
    return (*topology.signal_topics, CONTROLS, MARKET_EVENTS)


def beside(topology: Topology) -> tuple[str, ...]:
    """With what it looks at: the newest bar and feature, the volatility index and coming earnings."""
    return (*routed(topology), *FOLLOWED)
