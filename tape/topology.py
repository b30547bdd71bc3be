"""The topology that commands run: the shipped one, or one of the user's own."""

import os
from collections.abc import Mapping
from functools import cache
from importlib import import_module

from tapedeck.schemas.errors import Fatal, TapeError
from tapedeck.streams.topology import Topology

VARIABLE = "TAPE_TOPOLOGY"
"""``package.module:NAME`` of a Topology, in the environment of every process of the pipeline."""
SHIPPED = "tapedeck.streams.stages.topology:TOPOLOGY"


def topology_in_use(environment: Mapping[str, str] = os.environ) -> Topology:
    """The topology that TAPE_TOPOLOGY names, the shipped one where it names none.

    Importing it declares its topics and schemas. Raises Fatal where it cannot be imported or is not sound.
    """
    return _named(environment.get(VARIABLE) or SHIPPED)


@cache
def _named(text: str) -> Topology:
    module, _, name = text.partition(":")
    try:
        found = getattr(import_module(module), name)
    except TapeError:
        raise
    except Exception as error:
        raise Fatal(
            f"the topology cannot be imported: {error!r}",
            value=text,
            remedy=f"{VARIABLE} is package.module:NAME; install the package where every process finds it",
        ) from error
    if not isinstance(found, Topology):
        raise Fatal(
            f"{VARIABLE} names no Topology",
            value=f"{text}, which is of type {type(found).__name__}",
            remedy="name a tapedeck.streams.topology.Topology",
        )
    if text != SHIPPED:
        found.check_code()
    return found
