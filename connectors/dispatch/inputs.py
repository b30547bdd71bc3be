"""What a dispatcher reads beside its account's inbox."""

from tapedeck.connectors.dispatch.newest import NAMES

ROUTED = ("signals", "controls")
"""What it appends to the inbox, record by record."""
BESIDE = (*ROUTED, *NAMES)
"""With what it looks at for the newest bar and feature."""
