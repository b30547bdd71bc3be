"""What tests share."""

import os
from pathlib import Path

import pytest

from tapedeck.streams.stages.topology import TOPOLOGY

REPOSITORY = Path(__file__).resolve().parent.parent
MARKET_STAGES = tuple(spec.name for spec in TOPOLOGY.market)
SHARED_DATA = Path(os.environ.get("TAPE_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))


def shared(name: str) -> Path:
    """A recording under the shared data folder; skips the test where it is absent."""
    path = SHARED_DATA / name
    if not path.exists():
        pytest.skip(f"the recording {name} is absent: set TAPE_SHARED_DATA to the folder that holds it")
    return path
