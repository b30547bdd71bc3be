"""What differs between two configurations, and the configurations with only some of the changes."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from tapedeck.schemas.errors import ConfigInvalid
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.user import USER
from tapedeck.streams.protocol import StageSpec
from tapedeck.streams.topology import Topology, definition_of

ABSENT = "not configured"
_ACCOUNTS = "accounts"
_WHOSE = ("broker_account_id", "base_url")
"""They identify the account. With another value, the recorded broker answers belong to another account."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One parameter, as recorded and as changed.

    Its path is dotted: ``GROUP.NAME``, ``accounts.ID.NAME`` for an account's, ``user.GROUP.NAME`` for a
    user's stage.
    """

    path: str
    was: Any
    now: Any

    @property
    def group(self) -> str:
        """The name of the group in a stage's definition."""
        first, *rest = self.path.split(".")
        return f"{first}.{rest[0]}" if first == USER else first

    @property
    def account(self) -> str | None:
        """The account of the parameter; None for a parameter of the document."""
        return self.path.split(".")[1] if self.group == _ACCOUNTS else None

    def __str__(self) -> str:
        return f"{self.path} {_shown(self.was)} -> {_shown(self.now)}"


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def touched_by(topology: Topology, changes: Iterable[Change]) -> tuple[StageSpec, ...]:
    """The market stages whose outputs ``changes`` may affect, in order: those that read the parameters, and
    all after them. A group that no stage of the topology declares may be read by any."""
    readers = {spec.name: definition_of(spec).groups for spec in topology}
    known = {group for groups in readers.values() for group in groups}
    groups = {change.group for change in changes}
    first = [spec for spec in topology.market if groups.intersection(readers[spec.name]) or groups - known]
    after = topology.downstream(name for spec in first for name in spec.outputs)
    return tuple(spec for spec in topology.market if spec in first or spec in after)


def changes_between(base: Config, changed: Config) -> list[Change]:
    """Every parameter that differs, in the document's order; a whole account if one side lacks it.

    Raises ConfigInvalid if an account is another one at the broker: it has no recorded answers.
    """
    was, now = _leaves(base), _leaves(changed)
    known = {account.account_id for account in base.accounts} & {a.account_id for a in changed.accounts}
    found: dict[str, Change] = {}
    for path in dict.fromkeys([*was, *now]):
        before, after = was.get(path, ABSENT), now.get(path, ABSENT)
        if before == after:
            continue
        change = Change(path=path, was=before, now=after)
        if change.account is not None and change.account not in known:
            whole = f"{_ACCOUNTS}.{change.account}"
            change = Change(path=whole, was=_standing(base, whole), now=_standing(changed, whole))
        elif change.account is not None and path.rpartition(".")[2] in _WHOSE:
            raise ConfigInvalid(
                f"{path} identifies the account, and the recorded broker answers belong to the old one",
                value=after,
                remedy=f"keep {before!r}; a what-if changes rules, not accounts",
            )
        found[change.path] = change
    return list(found.values())


def _standing(config: Config, path: str) -> str:
    return "configured" if path.split(".")[1] in {a.account_id for a in config.accounts} else ABSENT


def _leaves(config: Config) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for group, content in config.model_dump(mode="python").items():
        if group == _ACCOUNTS:
            for account in content:
                name = account["account_id"]
                found |= {f"{group}.{name}.{key}": value for key, value in account.items()}
        elif group == USER:
            found |= {f"{group}.{n}.{key}": value for n, row in content.items() for key, value in row.items()}
        elif isinstance(content, dict):
            found |= {f"{group}.{key}": value for key, value in content.items()}
        else:
            found[group] = content
    return found


class Between:
    """The configurations between ``base`` and ``changed``, with only some of the changes made.

    ``units``: the changes that can be made alone, by name. Parameters that are only valid together, such as
    the watchlist's four weights, form one unit.
    """

    def __init__(self, base: Config, changed: Config) -> None:
        self.base, self.changed = base, changed
        self.changes = changes_between(base, changed)
        self.units = self._units()

    def with_only(self, names: Collection[str]) -> Config:
        """The recorded configuration with the units ``names`` changed."""
        return self._made([change for name in names for change in self.units[name]])

    def _made(self, changes: Iterable[Change]) -> Config:
        document = self.base.model_dump(mode="python")
        accounts = {account["account_id"]: account for account in document[_ACCOUNTS]}
        for change in changes:
            group, _, name = change.path.partition(".")
            if group == USER:
                own, _, key = name.partition(".")
                document[USER][own] |= {key: change.now}
            elif group != _ACCOUNTS:
                document[group] = document[group] | {name: change.now} if name else change.now
            elif "." in name:
                account, _, key = name.partition(".")
                accounts[account] = accounts[account] | {key: change.now}
            elif change.now == ABSENT:
                del accounts[name]
            else:
                accounts[name] = self.changed.account(name).model_dump(mode="python")
        return Config.model_validate(document | {_ACCOUNTS: tuple(accounts.values())})

    def _valid(self, changes: Iterable[Change]) -> bool:
        try:
            self._made(changes)
        except (ValidationError, ConfigInvalid):
            return False
        return True

    def _units(self) -> dict[str, list[Change]]:
        bound: dict[str, list[Change]] = {}
        found: list[list[Change]] = []
        for change in self.changes:
            if self._valid([change]):
                found.append([change])
            elif change.group in bound:
                bound[change.group].append(change)
            else:
                bound[change.group] = [change]
                found.append(bound[change.group])
        for place, unit in enumerate(found):
            if not self._valid(unit):  # use the whole group if that is valid alone
                found[place] = [change for change in self.changes if change.group == unit[0].group]
        taken = {change.path for unit in found if len(unit) > 1 for change in unit}
        kept = [unit for unit in found if len(unit) > 1 or unit[0].path not in taken]
        return {" + ".join(change.path for change in unit): unit for unit in kept}
