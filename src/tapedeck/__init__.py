"""tapedeck turns a market tape into orders on Kafka; in a notebook, it hands out topics as frames::

    import tapedeck as td

    td.topics()                                                       # what there is
    td.schema("features")                                             # its columns and what they mean
    td.tap("features", symbols=["AAPL"], since="2h")                  # records as a polars frame
    td.asof("positions", at="2026-03-10T15:59-04:00")                 # newest per key as of a moment
    td.explain("sg_3f1c9a77")                                         # why an order or a signal is there
    td.why("AAPL")                                                    # why there was no trade in a symbol
    td.why_held("AAPL")                                               # why a position in it is still open
    td.backtest("bars.parquet", since="2026-02-17")                   # what the rules would have earned

Nothing heavy is imported before one of these is used. The rooms of the repository are this package's
sub-packages: ``tapedeck.schemas``, ``topics``, ``streams``, ``agents``, ``connectors`` and ``tape``.
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__all__ = ["asof", "backtest", "connect", "explain", "schema", "tap", "topics", "why", "why_held"]

if TYPE_CHECKING:
    from tapedeck.tape.notebook.connection import default as _default

    asof, backtest, explain, schema, tap, why, why_held = (
        _default.connection.asof,
        _default.connection.backtest,
        _default.connection.explain,
        _default.connection.schema,
        _default.connection.tap,
        _default.connection.why,
        _default.connection.why_held,
    )
    connect = _default.connect


def _notebook() -> Any:
    places = import_module("tapedeck.tape.local.places")
    # Before the kernels are imported: they are compiled once per machine.
    places.share_kernels()
    try:
        return import_module("tapedeck.tape.notebook.connection").default
    except ModuleNotFoundError as error:
        if (lacks := import_module("tapedeck.tape.lacking").lacking(error)) is None:
            raise
        raise lacks from None


def __getattr__(name: str) -> Any:
    if name == "connect":
        return _notebook().connect
    if name in __all__:
        return getattr(_notebook().connection, name)
    raise AttributeError(f"module 'tapedeck' has no attribute {name!r}; there are: {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]


class _Topics(ModuleType):
    """The room of the catalogue, which a notebook calls: ``td.topics()`` lists what it holds."""

    def __call__(self) -> Any:
        return _notebook().connection.topics()


import_module("tapedeck.topics").__class__ = _Topics
