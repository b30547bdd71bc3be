"""The one rule for where a command looks.

Each value is the first of: the command's option, the environment, the brokers of the file that
KAFKA_CLIENT_CONFIG names, the ``[deployment]`` of the document that TAPE_CONFIG names, the local stack that
runs here, a default. ``topology`` of that document likewise stands in for TAPE_TOPOLOGY.
The stack is that of TAPE_HOME, else of the nearest ``.tape``; it is ignored if a broker other
than its own is named.
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
    """The value of a variable, and where it came from."""

    text: str
    source: str


@dataclass(frozen=True)
class Where:
    """What was found.

    ``stack``: the local stack if it is used; ``beside``: a local stack that runs but is not used.
    """

    values: Mapping[str, Value]
    folder: Path
    stack: StackState | None
    beside: StackState | None
    typed: frozenset[str]

    def get(self, name: str) -> str:
        """The value of a variable; empty if it is not set anywhere."""
        found = self.values.get(name)
        return found.text if found else ""

    def told(self) -> dict[str, str]:
        """Everything as the environment of a process that is to find the same values."""
        return {name: value.text for name, value in self.values.items()}

    @property
    def is_named(self) -> bool:
        """Whether a broker is named."""
        return bool(self.get(BOOTSTRAP))

    def cluster(self, login: str = OPERATOR) -> Cluster:
        """The cluster. ``login``: the login on a secured local stack.

        Raises Fatal if none is named and no local stack runs.
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
        """The document that is named, else the defaults. Raises ConfigInvalid if it is not valid."""
        from tapedeck.connectors.config_file import load  # noqa: PLC0415 - `tape tail` needs none of it
        from tapedeck.streams.config.document import Config  # noqa: PLC0415 - `tape tail` needs none of it

        return load(self.config, self.told()) if self.config else Config()

    def topology(self) -> Topology:
        """The topology that is named, else the shipped one; what it declares is registered.

        Raises Fatal if it cannot be imported or is not sound.
        """
        named = self.values.get(TOPOLOGY_VARIABLE)
        return topology_named(*named) if named else topology_named(SHIPPED, "tapedeck")

    def notes(self) -> list[str]:
        """What may surprise a user: a stack that is ignored, or one that is used because of its address."""
        named = self.values.get(BOOTSTRAP)
        if self.beside is not None and named is not None and BOOTSTRAP not in self.typed:
            return [
                f"{named.source} is {named.text}: the local stack in {self.folder}, whose broker is at "
                f"{self.beside.bootstrap}, is ignored"
            ]
        if self.stack is None:
            return []
        found = []
        mine = f"the local stack in {self.folder}"
        taken = [word for name, word in _OF_A_STACK.items() if self._of(name) == mine]
        if named is not None and named.source != mine and taken:
            found.append(
                f"{named.source} names the broker of {mine}, which also provides the {', '.join(taken)}"
            )
        for name, own in ((CONFIG, self.stack.config), (DATABASE, self.stack.database_url)):
            value = self.values.get(name)
            if value is not None and own and value.source != mine and not _same_place(value.text, own):
                found.append(
                    f"{value.source} names another {_OF_A_STACK[name]} than {mine} has; it is used instead"
                )
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

    ``typed``: options by the matching variable, None if left out. An option equal to its variable counts as
    the variable. ``is_stacks``: the named broker is known to be the local stack's.
    ``is_document_needed``: False ignores a TAPE_CONFIG that does not exist in this folder.
    Raises ConfigInvalid for a document with an invalid ``[deployment]``.
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
    """The brokers that a ``client.properties`` names; Security reads how to connect to them."""
    if named is None:
        return {}
    from tapedeck.connectors.kafka.properties import SERVERS, read_properties  # noqa: PLC0415 - for few

    servers = read_properties(Path(named.text).expanduser()).get(SERVERS)
    return {BOOTSTRAP: Value(servers, f"{SERVERS} of {named.text}")} if servers else {}


def _document(named: Value | None, needed: bool) -> dict[str, Value]:
    """The deployment and the topology that a document names."""
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
