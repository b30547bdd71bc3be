"""The configuration document ``tapedeck.config``: loaded once, frozen, digested."""

import json
from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property, lru_cache
from hashlib import sha256
from json.encoder import encode_basestring
from typing import Any, Literal

import tomli_w
from pydantic import Field, model_validator

from tapedeck.schemas.errors import ConfigInvalid
from tapedeck.streams.config import exit_groups, groups, text_groups
from tapedeck.streams.config.accounts import Account
from tapedeck.streams.config.checked import checked
from tapedeck.streams.config.deployment import Deployment
from tapedeck.streams.config.founding import FOUNDING
from tapedeck.streams.config.live import missing
from tapedeck.streams.config.news import News
from tapedeck.streams.config.plain import plain
from tapedeck.streams.config.user import USER, G, User

_ACCOUNTS, _VERSION = "accounts", "version"


class Config(groups.Group):
    """All tunables. ``digest`` is stamped on every decision.

    ``topology``, the user's own as package.module:NAME, ``news`` and ``deployment`` are no part of it.
    """

    version: Literal[1] = 1
    topology: str = Field(default="", exclude=True)
    universe: groups.Universe = groups.Universe()
    bars: groups.Bars = groups.Bars()
    feature: groups.Feature = groups.Feature()
    link: text_groups.Link = text_groups.Link()
    watchlist: groups.Watchlist = groups.Watchlist()
    signal: groups.Signal = groups.Signal()
    gap_fade: groups.GapFade = groups.GapFade()
    contract: groups.Contract = groups.Contract()
    gate: groups.Gate = groups.Gate()
    regime: groups.Regime = groups.Regime()
    sizing: groups.Sizing = groups.Sizing()
    order: groups.Order = groups.Order()
    exit: exit_groups.Exit = exit_groups.Exit()
    eod: exit_groups.Eod = exit_groups.Eod()
    kill: exit_groups.Kill = exit_groups.Kill()
    recon: exit_groups.Recon = exit_groups.Recon()
    ingest: text_groups.Ingest = text_groups.Ingest()
    reddit: text_groups.Reddit = text_groups.Reddit()
    surge: text_groups.Surge = text_groups.Surge()
    sentiment: text_groups.Sentiment = text_groups.Sentiment()
    live_trading_enabled: bool = False
    """Whether accounts in mode LIVE may trade; each of their dispatchers needs a flag besides."""
    accounts: tuple[Account, ...] = Field(default=())
    user: User = Field(default_factory=User)
    news: News = Field(default=News(), exclude=True)
    deployment: Deployment = Field(default=Deployment(), exclude=True)

    @model_validator(mode="after")
    def _accounts_are_distinct(self) -> "Config":
        for field in ("account_id", "broker_account_id"):
            names = [getattr(account, field) for account in self.accounts]
            if len(set(names)) != len(names):
                raise ValueError(f"two accounts share one {field}")
        return self

    @model_validator(mode="after")
    def _live_is_enabled(self) -> "Config":
        for account in self.accounts:
            for error in missing(account, enabled=self.live_trading_enabled, accepted=True):
                raise ValueError(f"{error.what}; {error.remedy}")
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
        """The account called ``account_id``. Raises ConfigInvalid if there is none."""
        for account in self.accounts:
            if account.account_id == account_id:
                return account
        known = ", ".join(a.account_id for a in self.accounts)
        remedy = f"known: {known}" if known else "it has none; is this the run's document (TAPE_CONFIG)?"
        raise ConfigInvalid("no such account in the configuration", value=account_id, remedy=remedy)

    def of(self, model: type[G]) -> G:
        """The parameters of a user's stage, declared as ``model``. Raises Fatal if they were not."""
        return self.user.of(model)

    def to_toml(self) -> str:
        """The whole document with its defaults, as TOML."""
        named = {"topology": self.topology} if self.topology else {}
        told = {
            name: content
            for name, group in (("news", self.news), ("deployment", self.deployment))
            if (content := plain(group.model_dump(exclude_defaults=True)))
        }
        return tomli_w.dumps(named | self.parameters() | told)

    def parameters(self) -> dict[str, Any]:
        """The parameters in TOML's own types: what belongs to no place."""
        found: dict[str, Any] = plain(self.model_dump(mode="python"))
        found[_ACCOUNTS] = [
            {key: value for key, value in row.items() if value is not None} for row in found[_ACCOUNTS]
        ]
        return found if found[USER] else {name: found[name] for name in found if name != USER}


def _digested(config: Config) -> dict[str, Any]:
    """What the digest is taken over."""
    found: dict[str, Any] = {}
    for name, content in config.model_dump(mode="python").items():
        group = getattr(config, name)
        if name == _ACCOUNTS:
            kept: Any = [
                _counted(name, account, row) for account, row in zip(config.accounts, content, strict=True)
            ]
        elif name == USER:
            counted = {n: _counted(f"{USER}.{n}", g, content[n]) for n, g in config.user.groups.items()}
            kept = {each: values for each, values in counted.items() if values}
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


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
_AS_IT_IS = frozenset({float, bool})


def canonical_json(document: Any) -> str:
    """Sorted keys, no spaces; decimals as strings, with one spelling: 0.10 and 0.1 are the same setting."""
    kind = type(document)
    if kind is str:
        return encode_basestring(document)
    if document is None:
        return "null"
    if kind is int:
        return str(document)
    if isinstance(document, Decimal):
        return f'"{document.normalize():f}"'
    if isinstance(document, dict):
        return "{" + ",".join([_pair(key, document[key]) for key in sorted(document)]) + "}"
    if isinstance(document, list | tuple):
        return "[" + ",".join(map(canonical_json, document)) + "]"
    return _ENCODER.encode(document if kind in _AS_IT_IS else plain(document))


def _pair(key: Any, value: Any) -> str:
    text = encode_basestring(value) if type(value) is str else canonical_json(value)
    return f"{_key(key)}:{text}"


@lru_cache(maxsize=4096, typed=True)
def _key(key: Any) -> str:
    return encode_basestring(key if isinstance(key, str) else _ENCODER.encode(key))


def digest(document: Any) -> str:
    """First 16 hex of SHA-256 over the canonical JSON of ``document``."""
    return sha256(canonical_json(document).encode()).hexdigest()[:16]


def from_dict(document: dict[str, Any]) -> Config:
    """A validated document. Raises ConfigInvalid naming the key path, the value and the remedy."""
    return checked(Config, document)
