"""Parameters of a user's stages, as packages declare them."""

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from tapedeck.streams.columnar.job import Progress
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.groups import Group
from tapedeck.streams.topology import Topology
from tapedeck.topics.catalogue import topic


class Relative(Group):
    """Parameters of a stage that measures strength."""

    window: Annotated[int, Field(ge=2, le=120)] = 20
    least: float = 0.5
    limit: Decimal = Decimal("0.10")
    steps: tuple[float, ...] = (1.0, 2.0)


class Quiet(Group):
    """Parameters of another stage."""

    enabled: bool = False


def told(task: tuple[Config, Topology, str], progress: Progress) -> tuple[int, str, str, str]:
    """The parameters that a worker process inherits from its parent."""
    config, topology, name = task
    return config.of(Relative).window, config.digest, topology.names[-1], topic(name).schema or ""
