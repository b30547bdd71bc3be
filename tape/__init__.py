"""tapedeck for people: the ``tape`` command, and in a notebook::

    import tape

    tape.topics()                                                       # what there is
    tape.schema("features")                                             # its columns and what they mean
    tape.tap("features", symbols=["AAPL"], since="2h")                  # records as a polars frame
    tape.asof("positions", at="2026-03-10T15:59-04:00")                 # newest per key as of a moment
    tape.explain("sg_3f1c9a77")                                         # why an order or a signal is there
    tape.why("AAPL")                                                    # why there was no trade in a symbol

Nothing heavy is imported before one of these is used.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__all__ = ["asof", "connect", "explain", "schema", "tap", "topics", "why"]

if TYPE_CHECKING:
    from tape.notebook.connection import default as _default

    asof, schema, tap, topics = (
        _default.connection.asof,
        _default.connection.schema,
        _default.connection.tap,
        _default.connection.topics,
    )
    connect = _default.connect


def _notebook() -> Any:
    from tape.local.places import share_kernels  # noqa: PLC0415 - `tape --help` needs none of this

    # Before the kernels are imported: they are compiled once per machine.
    share_kernels()
    return import_module("tape.notebook.connection").default


def _kept(name: str) -> property:
    """A function whose name a folder beside this file has as well.

    The import system binds the folder's module to the name as soon as somebody imports it; it stays in
    ``sys.modules``, where ``from tape.explain.tree import ...`` finds it, and the name stays the function's.
    """
    return property(lambda self: getattr(_notebook().connection, name), lambda self, module: None)


class _Tape(ModuleType):
    """The package itself: its public names are made when they are asked for."""

    explain = _kept("explain")
    why = _kept("why")

    def __getattr__(self, name: str) -> Any:
        if name == "connect":
            return _notebook().connect
        if name in __all__:
            return getattr(_notebook().connection, name)
        raise AttributeError(f"module 'tape' has no attribute {name!r}; there are: {', '.join(__all__)}")

    def __dir__(self) -> list[str]:
        return [*__all__, *(name for name in vars(self) if name.startswith("__"))]


sys.modules[__name__].__class__ = _Tape
