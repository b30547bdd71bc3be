"""Helpers for test parameters."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tapedeck.streams.stages.topology import TOPOLOGY

REPOSITORY = Path(__file__).resolve().parents[2]
MARKET_STAGES = tuple(spec.name for spec in TOPOLOGY.market)
BAR_STAGES = tuple(spec.name for spec in TOPOLOGY.market if TOPOLOGY.root(spec) == "bars")
"""Those that a log without news makes work."""
SHARED_DATA = Path(os.environ.get("TAPE_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))


def shared(name: str) -> Path:
    """A recording under the shared data folder; skips the test if it is missing."""
    path = SHARED_DATA / name
    if not path.exists():
        pytest.skip(f"the recording {name} is missing: set TAPE_SHARED_DATA to the folder that holds it")
    return path


def few(values: Iterable[Any], count: int) -> list[Any]:
    """Parameters of which the first ``count`` run in `make test`, and the others only in `make chaos`."""
    head, rest = (values := list(values))[:count], values[count:]
    return [
        *head,
        *(
            pytest.param(*each, marks=pytest.mark.long)
            if isinstance(each, tuple)
            else pytest.param(each, marks=pytest.mark.long)
            for each in rest
        ),
    ]
