"""Importing what a user wrote: the module of a topology, the code of a stage.

What goes wrong in a user's code is told with the user's file and line, not with ours.
"""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

from tapedeck.schemas.errors import Fatal, TapeError

_OURS = "tapedeck"


def import_users(name: str, what: str, remedy: str) -> ModuleType:
    """Import module ``name``. Raises Fatal that says ``what`` failed; the remedy where it is not there."""
    try:
        with told_in(name):
            return import_module(name)
    except TapeError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise Fatal(f"{what}: there is no module {error.name}", value=name, remedy=remedy) from error
        raise _failed(error, name, what) from error
    except Exception as error:
        raise _failed(error, name, what) from error


def _failed(error: Exception, name: str, what: str) -> Fatal:
    place = _place(error, name)
    told = error.msg if isinstance(error, SyntaxError) else str(error)
    why = f"{type(error).__name__}: {told}" if told else type(error).__name__
    return Fatal(f"{what}: {why}", value=name, remedy="correct that line", place=place)


@contextmanager
def told_in(name: str, module: ModuleType | None = None) -> Iterator[None]:
    """Put the line of module ``name``, or of its package, before what an error of ours says.

    ``module``: whose file is named where no line of the package is to blame.
    """
    try:
        yield
    except TapeError as error:
        place = "" if _is_ours(name) else _place(error, name) or (file_of(module) if module else "")
        if not place or error.place:
            raise
        raise error.at(place) from error


def _place(error: BaseException, name: str) -> str:
    """``FILE, line N`` of the last line of the user's that ``error`` came through; empty if none is."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = [
        (frame.f_globals.get("__name__") or "", f"{frame.f_code.co_filename}, line {line}")
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    package = name.partition(".")[0]
    own = [place for module, place in frames if module.partition(".")[0] == package]
    foreign = [place for module, place in frames if not _is_ours(module) and "importlib" not in module]
    return (own or foreign or [""])[-1]


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in (_OURS, "contextlib")


def file_of(module: ModuleType) -> str:
    """The file of a module; its name where it has none."""
    return getattr(module, "__file__", None) or module.__name__


def users_file(name: str) -> str:
    """The file of the imported module ``name`` where it is a user's; empty if it is ours."""
    return "" if _is_ours(name) else file_of(sys.modules[name])
