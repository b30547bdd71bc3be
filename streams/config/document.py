"""The configuration document ``tapedeck.config``: loaded once, frozen, digested."""

import difflib
import json
from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property
from hashlib import sha256
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, Field, ValidationError, model_validator

from tapedeck.schemas.errors import ConfigInvalid
from tapedeck.streams.config import groups
from tapedeck.streams.config.accounts import Account
from tapedeck.streams.config.deployment import Deployment
from tapedeck.streams.config.founding import FOUNDING

_ACCOUNTS, _VERSION = "accounts", "version"


class Config(groups.Group):
    """All tunables. ``digest`` is stamped on every decision.

    ``topology``, the user's own as package.module:NAME, and ``deployment`` are no part of it.
    """

    version: Literal[1] = 1
    topology: str = Field(default="", exclude=True)
    universe: groups.Universe = groups.Universe()
    bars: groups.Bars = groups.Bars()
    feature: groups.Feature = groups.Feature()
    watchlist: groups.Watchlist = groups.Watchlist()
    signal: groups.Signal = groups.Signal()
    gap_fade: groups.GapFade = groups.GapFade()
    contract: groups.Contract = groups.Contract()
    gate: groups.Gate = groups.Gate()
    regime: groups.Regime = groups.Regime()
    sizing: groups.Sizing = groups.Sizing()
    order: groups.Order = groups.Order()
    accounts: tuple[Account, ...] = Field(default=())
    deployment: Deployment = Field(default=Deployment(), exclude=True)

    @model_validator(mode="after")
    def _accounts_are_distinct(self) -> "Config":
        for field in ("account_id", "broker_account_id"):
            names = [getattr(account, field) for account in self.accounts]
            if len(set(names)) != len(names):
                raise ValueError(f"two accounts share one {field}")
        return self

    @cached_property
    def digest(self) -> str:
        """First 16 hex of SHA-256 over the canonical JSON of the parameters.

        A parameter that is no founding one takes part only where its value is not the default.
        """
        return digest(_digested(self))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> "Config":
        """A copy, changed without validation, that does not keep the digest of the original."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("digest", None)
        return copied

    def account(self, account_id: str) -> Account:
        """The account called ``account_id``. Raises ConfigInvalid where there is none."""
        for account in self.accounts:
            if account.account_id == account_id:
                return account
        known = ", ".join(a.account_id for a in self.accounts)
        remedy = f"known: {known}" if known else "it has none: is this the run's document (TAPE_CONFIG)?"
        raise ConfigInvalid("no such account in the configuration", value=account_id, remedy=remedy)

    def to_toml(self) -> str:
        """The whole document with its defaults, as TOML."""
        told = {name: value for name, value in self.deployment.model_dump().items() if value}
        named = {"topology": self.topology} if self.topology else {}
        return tomli_w.dumps(named | self.parameters() | ({"deployment": told} if told else {}))

    def parameters(self) -> dict[str, Any]:
        """The parameters in TOML's own types: what belongs to no place."""
        found: dict[str, Any] = _plain(self.model_dump(mode="python"))
        return found


def _digested(config: Config) -> dict[str, Any]:
    """What the digest is taken over."""
    found: dict[str, Any] = {}
    for name, content in config.model_dump(mode="python").items():
        group = getattr(config, name)
        if name == _ACCOUNTS:
            kept: Any = [
                _counted(name, account, row) for account, row in zip(config.accounts, content, strict=True)
            ]
        elif isinstance(group, groups.Group):
            kept = _counted(name, group, content)
        else:
            kept = content
        if name in FOUNDING or name == _VERSION or kept:
            found[name] = kept
    return found


def _counted(name: str, group: groups.Group, content: dict[str, Any]) -> dict[str, Any]:
    fields, founding = type(group).model_fields, FOUNDING.get(name, ())
    return {
        key: value
        for key, value in content.items()
        if key in founding or getattr(group, key) != fields[key].get_default(call_default_factory=True)
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, str) else value


def _canonical(value: Any) -> Any:
    """As ``_plain``, with one spelling per number: 0.10 and 0.1 are the same setting."""
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, dict):
        return {k: _canonical(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(v) for v in value]
    return _plain(value)


def canonical_json(document: Any) -> str:
    """Sorted keys, no spaces, decimals as strings."""
    return json.dumps(_canonical(document), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(document: Any) -> str:
    """First 16 hex of SHA-256 over the canonical JSON of ``document``."""
    return sha256(canonical_json(document).encode()).hexdigest()[:16]


def _known_keys(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    current: Any = model
    for part in path:
        if isinstance(part, int):
            continue
        annotation = current.model_fields[part].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            annotation = Account if part == "accounts" else None
        if annotation is None:
            return []
        current = annotation
    return list(current.model_fields)


_ALIKE = 0.5
"""What is less alike is no misspelling: naming it would mislead."""


def _explain(error: ValidationError) -> ConfigInvalid:
    # A misspelt key may also leave a required one missing: the unknown key says more.
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    path = first["loc"]
    dotted = ".".join(map(str, path)) or "the document"
    if first["type"] == "extra_forbidden":
        known = _known_keys(Config, path[:-1])
        near = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=_ALIKE)
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


_CREDENTIALS = ("key_ref", "secret_ref")
_DECIMAL_KEYS = {
    (group, name)
    for group, field in Config.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, groups.Group)
    for name, inner in field.annotation.model_fields.items()
    if "Decimal" in str(inner.annotation)
}
_ACCOUNT_DECIMALS = {
    name for name, field in Account.model_fields.items() if "Decimal" in str(field.annotation)
}


def _typed(document: dict[str, Any]) -> dict[str, Any]:
    """TOML has no decimals and no tuples: decimal strings and numbers become Decimal, arrays tuples."""

    def value(v: Any, is_decimal: bool) -> Any:
        if isinstance(v, list):
            return tuple(value(item, is_decimal) for item in v)
        if is_decimal and isinstance(v, str | int | float) and not isinstance(v, bool):
            try:
                return Decimal(str(v))
            except ArithmeticError:
                return v
        return v

    def table(content: Any, decimals: set[str]) -> Any:
        if not isinstance(content, dict):
            return value(content, False)
        return {k: value(v, k in decimals) for k, v in content.items()}

    out: dict[str, Any] = {}
    for group, content in document.items():
        if group == "accounts" and isinstance(content, list):
            out[group] = tuple(table(row, _ACCOUNT_DECIMALS) for row in content)
        else:
            out[group] = table(content, {name for owner, name in _DECIMAL_KEYS if owner == group})
    return out


def from_dict(document: dict[str, Any]) -> Config:
    """A validated document. Raises ConfigInvalid naming the key path, the value and the remedy."""
    try:
        return Config.model_validate(_typed(document))
    except ValidationError as error:
        raise _explain(error) from None
