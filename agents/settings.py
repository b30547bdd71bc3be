"""What a worker process reads from its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from tapedeck.agents.membership import DYNAMIC, Membership, membership
from tapedeck.connectors.config_file import load
from tapedeck.connectors.kafka.cluster import BOOTSTRAP, Cluster
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.accounts import EMBEDDED, Account, is_loopback
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.live import require_unlocked
from tapedeck.streams.wire import Origin
from tapedeck.topics.catalogue import Layout

if TYPE_CHECKING:
    from tapedeck.streams.sessions import Calendar


@dataclass(frozen=True)
class Settings:
    """Cluster, configuration and folders of one process."""

    cluster: Cluster
    config_path: Path
    home: Path
    database_url: str = field(default="", repr=False)
    exchange_url: str = ""
    membership: Membership = DYNAMIC
    accepts_live: bool = False
    """Whether this process was started with ``--i-accept-live-orders``."""

    @property
    def layout(self) -> Layout:
        return self.cluster.layout

    @property
    def prefix(self) -> str:
        return self.layout.prefix

    @cached_property
    def config(self) -> Config:
        return load(self.config_path)

    @cached_property
    def calendar(self) -> "Calendar":
        from tapedeck.streams.sessions import xnys  # noqa: PLC0415 - it loads for long, and not all need it

        return xnys()

    def origin(self, source: str) -> Origin:
        """What this process stamps into headers."""
        return Origin(source, code_version(), self.config.digest)

    def address_of(self, base_url: str) -> str:
        """The address of an account's broker. Raises Fatal if the embedded one's address is not known."""
        if base_url != EMBEDDED:
            return base_url
        if not self.exchange_url:
            raise Fatal(
                f"the account trades at the {EMBEDDED} paper exchange, but none is named",
                remedy="set TAPE_EXCHANGE_URL, or `exchange` under [deployment], to its URL",
            )
        if not is_loopback(self.exchange_url):
            raise Fatal(
                f"the {EMBEDDED} paper exchange is on this machine only",
                value=self.exchange_url,
                remedy="name its address on loopback, or set the account's base_url to the broker's",
            )
        return self.exchange_url

    def unlocked(self, account_id: str) -> Account:
        """The account, if this process may trade for it. Raises ConfigInvalid naming what is missing."""
        account = self.config.account(account_id)
        enabled = self.config.live_trading_enabled
        require_unlocked(account, enabled=enabled, accepted=self.accepts_live)
        return account

    def database(self) -> str:
        """The database's URL. Raises Fatal if none is set."""
        if not self.database_url:
            remedy = f"set it, or `database` under [deployment] in {self.config_path}"
            raise Fatal("the environment variable DATABASE_URL is not set", remedy=remedy)
        return self.database_url

    def group(self, stage: str) -> str:
        """The consumer group of a stage."""
        return self.layout.group(stage)


def code_version() -> str:
    """The installed version of tapedeck."""
    return version("tapedeck")


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of this process. Raises Fatal naming a missing variable, or for a bad configuration."""
    config_path = Path(_required("TAPE_CONFIG", environment, "set it to the document of this pipeline"))
    # a bad document is refused before anything else is asked
    told = load(config_path, environment).deployment.under(environment)
    bootstrap = _required(BOOTSTRAP, told, f"set it, or `kafka` under [deployment] in {config_path}")
    return Settings(
        cluster=Cluster.described(bootstrap, told.get("TAPE_PREFIX", ""), told),
        config_path=config_path,
        home=Path(told.get("TAPE_HOME", ".tape")),
        database_url=told.get("DATABASE_URL", ""),
        exchange_url=told.get("TAPE_EXCHANGE_URL", ""),
        membership=membership(told),
    )


def tell_ready() -> None:
    """Create the file TAPE_READY_FILE, if set: a supervisor waits for it."""
    if marker := os.environ.get("TAPE_READY_FILE"):
        Path(marker).touch()


def _required(name: str, told: Mapping[str, str], remedy: str) -> str:
    value = told.get(name)
    if not value:
        raise Fatal(f"the environment variable {name} is not set", remedy=remedy)
    return value
