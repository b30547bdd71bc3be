"""What a dispatcher reads beside its account's inbox."""

from tapedeck.connectors.dispatch.freshness import NAMES
from tapedeck.streams.topology import Topology


def routed(topology: Topology) -> tuple[str, ...]:
    """What it appends to the inbox, record by record: every topic of signals, and the controls."""
    return (*topology.signal_topics, "controls")


def beside(topology: Topology) -> tuple[str, ...]:
    """With what it looks at for the newest bar and feature."""
    return (*routed(topology), *NAMES)
