"""What a group's fields say about themselves: kind, range, default, meaning."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal, NamedTuple, get_args, get_origin

from annotated_types import Ge, Gt, Le, MultipleOf
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tapedeck.streams.config.document import Config
from tapedeck.streams.config.groups import Group
from tapedeck.streams.config.plain import plain
from tapedeck.streams.config.user import USER, model_of

_TABLE = re.compile(r"\[+([a-z0-9_.]+)\]+")
_KEY = re.compile(r"([a-z_0-9]+) = ")
_KINDS = {bool: "true or false", int: "whole number", float: "number", Decimal: "decimal", str: "text"}
SCALARS = ("live_trading_enabled",)
"""Parameters that are in no table."""
_APART = ("version", "topology", "user", "news", "deployment", *SCALARS)
TABLES = tuple(name for name in Config.model_fields if name not in _APART)
"""The tables of the document that have the shipped parameters, accounts included."""
_SIGNS = {Ge: ("≥", "ge"), Gt: (">", "gt"), Le: ("≤", "le"), MultipleOf: ("multiple of", "multiple_of")}


class Parameter(NamedTuple):
    """One field of a group; ``default`` is empty if it has none, or one that depends on another field."""

    name: str
    kind: str
    limits: str
    default: str
    meaning: str

    def as_comment(self) -> str:
        """For the line above the field in a document."""
        return f"{self.meaning} ({', '.join(filter(None, (self.kind, self.limits)))})"


def parameters(group: type[Group]) -> Iterator[Parameter]:
    """The fields of a group, in order."""
    for name, field in group.model_fields.items():
        yield _parameter(name, field)


def scalars() -> Iterator[Parameter]:
    """The parameters of the document that are in no table."""
    for name in SCALARS:
        yield _parameter(name, Config.model_fields[name])


def _parameter(name: str, field: FieldInfo) -> Parameter:
    item = _item(field)
    several = "list of " if item is not field else ""
    return Parameter(
        name=name,
        kind=several + _kind(item),
        limits=", ".join(_limits(item)),
        default="" if field.default is PydanticUndefined else _toml(field.default),
        meaning=(field.description or "").removesuffix("."),
    )


def _item(field: FieldInfo) -> FieldInfo:
    """What a tuple's elements are; the field itself where it is no tuple."""
    if get_origin(field.annotation) is not tuple:
        return field
    return FieldInfo.from_annotation(get_args(field.annotation)[0])


def _kind(field: FieldInfo) -> str:
    kind: Any = field.annotation
    if get_origin(kind) is Literal:
        return " or ".join(_toml(each) for each in get_args(kind))
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return " or ".join(kind)
    return _KINDS.get(kind, "value")


def _limits(field: FieldInfo) -> Iterator[str]:
    told = {type(limit): limit for limit in field.metadata}
    if Gt in told:
        told.pop(Ge, None)
    for kind, (sign, name) in _SIGNS.items():
        if kind in told:
            yield f"{sign} {getattr(told[kind], name)}"


def _toml(value: Any) -> str:
    return json.dumps(plain(value))


def commented(document: str) -> str:
    """A whole document with what each parameter is in a line above it; a table that repeats has it once."""
    told = {each.name: each.as_comment() for each in scalars()}
    lines = list[str]()
    for line in document.splitlines():
        if heading := _TABLE.fullmatch(line):
            fields = () if line in lines else parameters(group_of(heading[1]))
            told = {each.name: each.as_comment() for each in fields}
        if (key := _KEY.match(line)) and key[1] in told:
            lines.append(f"# {told[key[1]]}")
        lines.append(line)
    return "\n".join(lines) + "\n"


def group_of(table: str) -> type[Group]:
    """The group whose fields the table of that name has. Raises KeyError if there is none."""
    first, _, own = table.partition(".")
    if first == USER and own:
        return model_of(own)
    found: type[Group] = Config
    for name in table.split("."):
        kind: Any = found.model_fields[name].annotation
        found = get_args(kind)[0] if get_origin(kind) is tuple else kind
        assert isinstance(found, type) and issubclass(found, Group)
    return found
