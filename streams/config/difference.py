"""How two configuration documents differ: per parameter, and what each difference reaches."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from tapedeck.streams.config.document import Config, canonical_json
from tapedeck.streams.topology import Topology, definition_of

MISSING = "-"
"""What the side shows that does not have the parameter."""

_PLACES = ("topology", "news", "deployment")
"""What is no part of the digest."""


class Difference(NamedTuple):
    """One parameter: its path, both values as text, the stages that read its group.

    ``is_rule``: it is part of the digest, so the decisions of both documents have different event_ids.
    """

    path: str
    old: str
    new: str
    stages: tuple[str, ...]
    is_rule: bool


def differences(old: Config, new: Config, topology: Topology) -> tuple[Difference, ...]:
    """Every parameter in which ``new`` differs from ``old``, in order of paths.

    Raises Fatal if a stage's code cannot be imported.
    """
    before, after = flat(old), flat(new)
    readers = {spec.name: definition_of(spec).groups for spec in topology}
    return tuple(
        Difference(
            path,
            before.get(path, MISSING),
            after.get(path, MISSING),
            tuple(name for name, groups in readers.items() if _group_of(path) in groups),
            _group_of(path) not in _PLACES,
        )
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    )


def _group_of(path: str) -> str:
    return path.partition(".")[0].partition("[")[0]


def flat(config: Config) -> dict[str, str]:
    """Every parameter by its path, each number in one spelling; with feeds and places."""
    whole = config.model_dump() | {
        "topology": config.topology,
        "news": config.news.model_dump(),
        "deployment": config.deployment.model_dump(),
    }
    return dict(_leaves(json.loads(canonical_json(whole)), ""))


def _leaves(node: Any, path: str) -> Iterator[tuple[str, str]]:
    """(path, value) of every parameter; a row of accounts or feeds is named by its own name."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list) and node and all(isinstance(each, dict) for each in node):
        for index, each in enumerate(node):
            name = each.get("account_id") or each.get("name") or index
            yield from _leaves(each, f"{path}[{name}]")
    else:
        yield path, node if isinstance(node, str) else json.dumps(node)
