"""Packages as users write them, in the working directory of a test."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tapedeck.schemas import ids
from tapedeck.streams.config import user
from tapedeck.streams.named import topology_named
from tapedeck.topics.catalogue import CATALOGUE
from tests.support.places import here

__all__ = ["here"]

Package = Callable[..., str]
PIPELINE = """
from tapedeck.streams.protocol import StageSpec
from tapedeck.streams.stages.topology import TOPOLOGY as SHIPPED
from tapedeck.streams.topology import Topology
TOPOLOGY = Topology(*SHIPPED)
"""
DECLARING = """
from tapedeck.topics.catalogue import declare
from tapedeck.topics.topic import Spread, Topic
declare(Topic(
    name=__name__, schema="bars", owner="feed", doc="more bars", spread=Spread.SYMBOL,
    key=("symbol",), part="symbol", natural_key=("symbol", "t"),
))
"""


@pytest.fixture
def package(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    """Writes the modules of a package and returns the name of its topology.

    Unregisters everything afterwards.
    """
    made: list[str] = []

    def write(name: str, **modules: str) -> str:
        for module, text in {"__init__": DECLARING, "pipeline": PIPELINE, **modules}.items():
            path = (here / name).joinpath(*module.split("/")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        made.append(name)
        return f"{name}.pipeline:TOPOLOGY"

    monkeypatch.syspath_prepend(str(here))
    with CATALOGUE.scratch(), ids.scratch(), user.scratch():
        yield write
    topology_named.cache_clear()
    for name in [each for each in sys.modules if each.partition(".")[0] in made]:
        del sys.modules[name]
