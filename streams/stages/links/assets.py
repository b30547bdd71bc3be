"""The symbols that texts are linked to where no list of the broker's assets is given."""

from collections.abc import Iterable

from tapedeck.streams.stages.links.aliases import ALIASES


def default_assets(universe: Iterable[str]) -> frozenset[str]:
    """The symbols of ``universe`` and of the companies whose names are known.

    The broker's whole list is larger. Without it, a symbol outside of these is not linked.
    """
    return frozenset(universe) | frozenset(ALIASES)
