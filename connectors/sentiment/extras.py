"""Packages of the extras, imported only when an engine that needs them is asked for."""

import os
from importlib import import_module
from typing import Any

from tapedeck.schemas.errors import Fatal


def module(name: str, extra: str) -> Any:
    """The module ``name`` of an extra. Raises Fatal, with the command that installs it, if absent."""
    # Both libraries of the hub read these when they are imported.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise Fatal(
            f"the package {package} is not installed, or cannot be imported: {error}",
            value=package,
            remedy=f"pip install 'tapedeck[{extra}]', or use the engine light, which needs nothing",
        ) from None
