"""A table of the document as the model that it must fit. What does not fit is told by its key path."""

import difflib
from decimal import Decimal
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from tapedeck.schemas.errors import ConfigInvalid

M = TypeVar("M", bound=BaseModel)
ALIKE = 0.5
"""What is less alike is no misspelling: naming it would mislead."""
_CREDENTIALS = ("key_ref", "secret_ref")


def checked(model: type[M], content: Any, at: str = "") -> M:
    """``content``, in TOML's types, as ``model``; ``at``: the key path of the table, for messages.

    Raises ConfigInvalid naming the key path, the value and the remedy.
    """
    try:
        return model.model_validate(_typed(model, content))
    except ValidationError as error:
        raise _explained(error, model, at) from None


def _typed(model: type[BaseModel], content: Any) -> Any:
    """TOML has no decimals and no tuples: decimal strings and numbers become Decimal, arrays tuples."""
    if not isinstance(content, dict):
        return _value(content, False)
    found: dict[str, Any] = {}
    for key, value in content.items():
        field = model.model_fields.get(key)
        inner = _inner(field)
        if inner is None:
            found[key] = _value(value, field is not None and "Decimal" in str(field.annotation))
        elif isinstance(value, list):
            found[key] = tuple(_typed(inner, each) for each in value)
        else:
            found[key] = _typed(inner, value)
    return found


def _inner(field: FieldInfo | None) -> type[BaseModel] | None:
    """The model of a field, or of the rows that it holds; None if it holds plain values."""
    annotation = None if field is None else field.annotation
    for each in (annotation, *get_args(annotation)):
        if isinstance(each, type) and issubclass(each, BaseModel):
            return each
    return None


def _value(value: Any, is_decimal: bool) -> Any:
    if isinstance(value, list):
        return tuple(_value(each, is_decimal) for each in value)
    if is_decimal and isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            return Decimal(str(value))
        except ArithmeticError:
            return value
    return value


def _explained(error: ValidationError, model: type[BaseModel], at: str) -> ConfigInvalid:
    # A misspelt key may also leave a required one missing: the unknown key says more.
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    path = first["loc"]
    dotted = ".".join(map(str, (at, *path) if at else path)) or "the document"
    if first["type"] == "extra_forbidden":
        known = _known_keys(model, path[:-1])
        near = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=ALIKE)
        there = f"there are: {', '.join(sorted(known))}" if known else "see `tape config show`"
        remedy = f"the nearest valid key is {near[0]!r}" if near else there
        return ConfigInvalid(f"unknown configuration key {dotted}", value=path[-1], remedy=remedy)
    if first["type"] == "missing":
        remedy = f"add {path[-1]}; `tape config show` has an example"
        return ConfigInvalid(f"the configuration key {dotted} is missing", remedy=remedy)
    what = f"{dotted}: {first['msg'].removeprefix('Value error, ')}"
    given = first.get("input")
    if path and path[-1] in _CREDENTIALS:
        what = f"{dotted}: give the name of an environment variable or a file's path, never the value itself"
        given = None
    if isinstance(given, dict | BaseModel):
        given = None
    return ConfigInvalid(what, value=given, remedy="see `tape config show` for the defaults")


def _known_keys(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    current: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, str) and current is not None:
            current = _inner(current.model_fields.get(part))
    return list(current.model_fields) if current else []
