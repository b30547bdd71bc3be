"""Rebuild: any state again from its source topics, compared with live, and put in its place."""

from tape.rebuild.rowwise import (
    Rebuilt,
    Source,
    Winners,
    live_outputs,
    live_state,
    rebuild_account,
    rebuild_stage,
)

__all__ = [
    "Rebuilt",
    "Source",
    "Winners",
    "live_outputs",
    "live_state",
    "rebuild_account",
    "rebuild_stage",
]
