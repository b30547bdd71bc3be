"""The configuration document as a file."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tapedeck.schemas.errors import ConfigInvalid
from tapedeck.streams.config.deployment import Deployment
from tapedeck.streams.config.document import Config, from_dict
from tapedeck.streams.named import SHIPPED, TOPOLOGY_VARIABLE, topology_named
from tapedeck.streams.topology import Topology


class Head(NamedTuple):
    """What a document says of itself before its parameters can be read."""

    topology: str
    deployment: Deployment


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Config:
    """The document at ``path``. Raises ConfigInvalid if it is absent, unparsable or invalid.

    The topology that ``environment`` or the document names is imported first: it declares parameters that the
    document may set. Raises Fatal if it cannot be.
    """
    document = _read(path)
    _topology(environment, path, document)
    try:
        return from_dict(document)
    except ConfigInvalid as error:
        raise error.at(str(path)) from None


def head(path: Path) -> Head:
    """What the document at ``path`` says of where it runs and by which topology; the rest is not looked at.

    Raises ConfigInvalid if it is absent, unparsable, or that is invalid.
    """
    return _head(path, _read(path))


def topology_of(path: Path | None, environment: Mapping[str, str] = os.environ) -> Topology:
    """The topology that ``environment`` names, else the document at ``path``, else the shipped one.

    Raises ConfigInvalid for the document, Fatal if the topology cannot be imported or is not sound.
    """
    return _topology(environment, path, _read(path) if path else {})


def said_in(path: Path) -> str:
    """Who names a topology that the document at ``path`` names."""
    return f"`topology` of {path}"


def _topology(environment: Mapping[str, str], path: Path | None, document: Mapping[str, Any]) -> Topology:
    if named := environment.get(TOPOLOGY_VARIABLE):
        return topology_named(named, TOPOLOGY_VARIABLE)
    if path is not None and (named := _head(path, document).topology):
        return topology_named(named, said_in(path))
    return topology_named(SHIPPED, "tapedeck")


def _head(path: Path, document: Mapping[str, Any]) -> Head:
    told = {name: document[name] for name in ("topology", "deployment") if name in document}
    try:
        config = from_dict(told)
    except ConfigInvalid as error:
        raise error.at(str(path)) from None
    return Head(config.topology, config.deployment)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigInvalid(
            "there is no configuration file",
            value=str(path),
            remedy="write one with `tape config show > tape.toml`",
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigInvalid(
            f"the file is not TOML: {error}", remedy="correct that line", place=str(path)
        ) from None
