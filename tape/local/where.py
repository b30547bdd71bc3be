"""The one rule for where a command looks.

Each value is the first of: what was typed, the environment, the brokers of the file that KAFKA_CLIENT_CONFIG
names, the ``[deployment]`` of the document that TAPE_CONFIG names, the local stack that runs here, a default.
Likewise ``topology`` of that document is what TAPE_TOPOLOGY would say.
The stack is that of TAPE_HOME, else of the nearest ``.tape``; it says nothing where another broker is named
than its own.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tapedeck.connectors.kafka.acls import OPERATOR
from tapedeck.connectors.kafka.cluster import BOOTSTRAP, Cluster
from tapedeck.connectors.kafka.security import CLIENT_CONFIG
from tapedeck.streams.named import SHIPPED, TOPOLOGY_VARIABLE, topology_named
from tapedeck.streams.topology import Topology
from tapedeck.tape.local.places import say
from tapedeck.tape.local.state import EXCHANGE_URL, StackState, found_here, none_runs

if TYPE_CHECKING:
    from tapedeck.streams.config.document import Config

CONFIG = "TAPE_CONFIG"
PREFIX = "TAPE_PREFIX"
DATABASE = "DATABASE_URL"
_HOST = {"localhost": "127.0.0.1", "[::1]": "127.0.0.1"}
_OF_A_STACK = {PREFIX: "prefix", CONFIG: "configuration", DATABASE: "database", EXCHANGE_URL: "exchange"}

_OPTIONS = {
    BOOTSTRAP: "bootstrap", PREFIX: "prefix", CONFIG: "config", DATABASE: "database",
    EXCHANGE_URL: "exchange",
}  # fmt: skip


class Value(NamedTuple):
    """What a variable is, and who says so."""

    text: str
    source: str


@dataclass(frozen=True)
class Where:
    """What was found. ``stack``: the local one, where it is used; ``beside``: where it runs and is not."""

    values: Mapping[str, Value]
    folder: Path
    stack: StackState | None
    beside: StackState | None
    typed: frozenset[str]

    def get(self, name: str) -> str:
        """The value of a variable; empty where nobody says it."""
        found = self.values.get(name)
        return found.text if found else ""

    def told(self) -> dict[str, str]:
        """Everything as the environment of a process that finds the same."""
        return {name: value.text for name, value in self.values.items()}

    @property
    def is_named(self) -> bool:
        """Whether there is a broker to speak to."""
        return bool(self.get(BOOTSTRAP))

    def cluster(self, login: str = OPERATOR) -> Cluster:
        """The cluster; ``login``: as whom to speak to a local stack that is secured.

        Raises Fatal where none is named and no local stack runs.
        """
        if not self.is_named:
            raise none_runs(self.folder)
        if self.stack is None:
            return Cluster.described(self.get(BOOTSTRAP), self.get(PREFIX), self.told())
        return self.stack.cluster(self.told(), self.get(PREFIX), login)

    @property
    def config(self) -> Path | None:
        """The document that is named."""
        return Path(named) if (named := self.get(CONFIG)) else None

    def document(self) -> "Config":
        """The document that is named, else the defaults. Raises ConfigInvalid where it is not valid."""
        from tapedeck.connectors.config_file import load  # noqa: PLC0415 - `tape tail` needs none of it
        from tapedeck.streams.config.document import Config  # noqa: PLC0415 - `tape tail` needs none of it

        return load(self.config, self.told()) if self.config else Config()

    def topology(self) -> Topology:
        """The topology that is named, else the shipped one; what it declares is known from then on.

        Raises Fatal where it cannot be imported or is not sound.
        """
        named = self.values.get(TOPOLOGY_VARIABLE)
        return topology_named(*named) if named else topology_named(SHIPPED, "tapedeck")

    def notes(self) -> list[str]:
        """What a person may not expect of this: a stack that is left out, or taken up by its address."""
        named = self.values.get(BOOTSTRAP)
        if self.beside is not None and named is not None and BOOTSTRAP not in self.typed:
            return [
                f"{named.source} says {named.text}: the local stack in {self.folder}, whose broker is at "
                f"{self.beside.bootstrap}, is left out"
            ]
        if self.stack is None:
            return []
        found = []
        mine = f"the local stack in {self.folder}"
        taken = [word for name, word in _OF_A_STACK.items() if self._of(name) == mine]
        if named is not None and named.source != mine and taken:
            found.append(f"{named.source} says the broker of {mine}: of it are the {', '.join(taken)}, too")
        for name, own in ((CONFIG, self.stack.config), (DATABASE, self.stack.database_url)):
            value = self.values.get(name)
            if value is not None and own and value.source != mine and not _same_place(value.text, own):
                found.append(f"{value.source} says another {_OF_A_STACK[name]} than {mine} has, and is used")
        return found

    def _of(self, name: str) -> str:
        value = self.values.get(name)
        return value.source if value else ""

    def say(self) -> "Where":
        """The notes, on standard error."""
        for note in self.notes():
            say(note)
        return self


def look(
    typed: Mapping[str, str | None] | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
    is_stacks: bool = False,
    is_document_needed: bool = True,
) -> Where:
    """Look by the rule of this module.

    ``typed``: options by the variable that means the same, None where they were left out; one that is what
    its variable says counts as the variable. ``is_stacks``: the broker that is named is known to be the
    local stack's. ``is_document_needed``: False leaves out a TAPE_CONFIG that cannot be seen from here.
    Raises ConfigInvalid for a document that does not say in due form where it runs.
    """
    folder, stack = found_here()
    flags = {n: t for n, t in (typed or {}).items() if t is not None and t != environment.get(n)}
    values = {name: Value(text, name) for name, text in environment.items() if text}
    values |= {name: Value(text, f"--{_OPTIONS.get(name, name)}") for name, text in flags.items()}
    _complete(values, _client_config(values.get(CLIENT_CONFIG)))
    _complete(values, _document(values.get(CONFIG), is_document_needed))
    named = values.get(BOOTSTRAP)
    is_used = stack is not None and (named is None or is_stacks or _meet(named.text, stack.bootstrap))
    if stack is not None and is_used:
        mine = f"the local stack in {folder}"
        _complete(values, {name: Value(text, mine) for name, text in stack.told().items()})
        _complete(values, _document(Value(stack.config, "") if stack.config else None, needed=False))
    return Where(
        values=values,
        folder=folder,
        stack=stack if is_used else None,
        beside=None if is_used else stack,
        typed=frozenset(flags),
    )


def _complete(values: dict[str, Value], more: Mapping[str, Value]) -> None:
    for name, value in more.items():
        values.setdefault(name, value)


def _client_config(named: Value | None) -> dict[str, Value]:
    """The brokers that a ``client.properties`` names; how they are reached is for Security to read."""
    if named is None:
        return {}
    from tapedeck.connectors.kafka.properties import SERVERS, read_properties  # noqa: PLC0415 - for few

    servers = read_properties(Path(named.text).expanduser()).get(SERVERS)
    return {BOOTSTRAP: Value(servers, f"{SERVERS} of {named.text}")} if servers else {}


def _document(named: Value | None, needed: bool) -> dict[str, Value]:
    """What a document says of where it runs and by which topology."""
    if named is None or not (needed or Path(named.text).is_file()):
        return {}
    from tapedeck.connectors.config_file import head, said_in  # noqa: PLC0415 - see above

    path = Path(named.text)
    found, source = head(path), f"[deployment] of {path}"
    told = {n: Value(t, source) for n, t in found.deployment.variables().items()}
    return told | ({TOPOLOGY_VARIABLE: Value(found.topology, said_in(path))} if found.topology else {})


def _meet(named: str, own: str) -> bool:
    """Whether two lists of brokers have an address in common."""
    return bool(_addresses(named) & _addresses(own))


def _addresses(servers: str) -> set[str]:
    found = set()
    for each in servers.split(","):
        host, colon, port = each.strip().rpartition(":")
        found.add(f"{_HOST.get(host, host)}{colon}{port}")
    return found


def _same_place(one: str, other: str) -> bool:
    return one == other or Path(one).absolute() == Path(other).absolute()
