"""Parameters of a user's own stages: a group for each ``[user.NAME]`` of the document.

A package declares its groups when it is imported, as it does its topics; the document is checked against
them. In the digest a parameter takes part only where its value is not the default.
"""

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, TypeVar

import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from tapedeck.schemas.errors import ConfigInvalid, Fatal
from tapedeck.streams.config.checked import ALIKE, checked
from tapedeck.streams.config.groups import Group
from tapedeck.streams.config.plain import plain

G = TypeVar("G", bound=Group)
USER = "user"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_declared: dict[str, type[Group]] = {}


def declare(name: str, model: type[Group]) -> None:
    """Let documents have a table ``[user.NAME]``, which fits ``model``.

    Every parameter needs a default that TOML can hold. Raises Fatal for a name that is not valid there or is
    taken, and for a model whose defaults cannot be written down and read again.
    """
    if not _NAME.fullmatch(name):
        raise Fatal(
            "this is not a valid name for a group of parameters",
            value=name,
            remedy="use up to 40 lower-case letters, digits and underscores, a letter first",
        )
    known = _declared.get(name, model)
    if (known.__module__, known.__qualname__) != (model.__module__, model.__qualname__):
        raise Fatal(
            f"two packages declare [{USER}.{name}]: {known.__module__} and {model.__module__}",
            value=name,
            remedy=f"give the group of {model.__module__} another name",
        )
    _check_defaults(name, model)
    _declared[name] = model


def _check_defaults(name: str, model: type[Group]) -> None:
    what = f"the defaults of [{USER}.{name}] cannot be written to TOML and read back"
    remedy = (
        f"give every field of {model.__name__} a valid default of type bool, int, float, str, Decimal, or a "
        "tuple of them"
    )
    try:
        defaults = model()
        written = plain(defaults.model_dump())
        again = checked(model, tomllib.loads(tomli_w.dumps(written)))
    except (ValidationError, ConfigInvalid, TypeError) as error:
        why = error.errors()[0]["loc"] if isinstance(error, ValidationError) else error
        value = ".".join(map(str, why)) if isinstance(why, tuple) else str(why)
        raise Fatal(what, value=value, remedy=remedy) from error
    nested = [key for key, value in written.items() if isinstance(value, dict)]
    if nested or again != defaults:
        raise Fatal(what, value=", ".join(nested) or repr(again), remedy=remedy)


def is_declared(name: str) -> bool:
    """Whether a package has declared ``[user.NAME]``."""
    return name in _declared


def model_of(name: str) -> type[Group]:
    """The model of ``[user.NAME]``. Raises KeyError if nobody declared it."""
    return _declared[name]


@contextmanager
def scratch() -> Iterator[None]:
    """What is declared meanwhile is forgotten afterwards."""
    before = dict(_declared)
    try:
        yield
    finally:
        _declared.clear()
        _declared.update(before)


class User(BaseModel):
    """The declared groups by name: what the document says, else their defaults."""

    model_config = ConfigDict(frozen=True, extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        unknown = [name for name in given if name not in _declared]
        if unknown:
            raise _undeclared(unknown[0])
        return {name: _group(name, model, given.get(name, {})) for name, model in _declared.items()}

    @property
    def groups(self) -> Mapping[str, Group]:
        """The groups by name."""
        return MappingProxyType(self.__pydantic_extra__ or {})

    def of(self, model: type[G]) -> G:
        """The group that was declared as ``model``. Raises Fatal if it was not."""
        for group in self.groups.values():
            if isinstance(group, model):
                return group
        if model in _declared.values():
            return model()  # declared after this document was made
        raise Fatal(
            "these parameters were not declared",
            value=f"{model.__module__}.{model.__qualname__}",
            remedy="call tapedeck.streams.config.user.declare(NAME, MODEL) when your package is imported",
        )


def _group(name: str, model: type[Group], content: Any) -> Group:
    return content if isinstance(content, model) else checked(model, content, f"{USER}.{name}")


def _undeclared(name: str) -> ConfigInvalid:
    near = difflib.get_close_matches(name, _declared, n=1, cutoff=ALIKE)
    there = f"; declared are: {', '.join(sorted(_declared))}" if _declared else ""
    remedy = (
        f"the nearest declared name is {near[0]!r}"
        if near
        else 'name the topology whose package declares it, as topology = "package.module:NAME" at the top of '
        f"the document{there}"
    )
    return ConfigInvalid(f"no package declares the parameters [{USER}.{name}]", value=name, remedy=remedy)
