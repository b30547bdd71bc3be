"""Where a pipeline runs: the table ``[deployment]``, which is outside the digest.

The same rules on another cluster, or over more partitions, make the same decisions.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from tapedeck.streams.config.groups import Group

Partitions = Annotated[int, Field(ge=0, le=10_000)]


class Deployment(Group):
    """Addresses and sizes. An environment variable of the same meaning has precedence."""

    kafka: str = ""
    """Bootstrap servers, host:port separated by commas."""
    cluster_id: str = ""
    """The cluster id that must answer there."""
    prefix: str = ""
    """Prefix of all topics, groups and audit tables."""
    symbol_partitions: Partitions = 0
    """Partitions of topics keyed by symbol, as they were made; 0 if it is not said here."""
    account_partitions: Partitions = 0
    """Partitions of topics keyed by account, as they were made; 0 if it is not said here."""
    keep: str = ""
    """How long topics are kept: `forever`, or empty for what the catalogue says."""
    replication: Annotated[int, Field(ge=0, le=100)] = 0
    """Copies of each topic; 0 for what the cluster has brokers for, 3 at most."""
    database: str = ""
    """URL of the audit store; no password is needed where the server or a password file has it."""
    exchange: str = ""
    """URL of the paper exchange."""
    sentiment_model: str = ""
    """Folder of the sentiment model, or its name on the hub; empty: ProsusAI/finbert."""

    def variables(self) -> dict[str, str]:
        """What is said here, as the environment variables that say it."""
        told = {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka,
            "KAFKA_CLUSTER_ID": self.cluster_id,
            "TAPE_PREFIX": self.prefix,
            "TAPE_SYMBOL_PARTITIONS": str(self.symbol_partitions or ""),
            "TAPE_ACCOUNT_PARTITIONS": str(self.account_partitions or ""),
            "TAPE_KEEP": self.keep,
            "TAPE_REPLICATION": str(self.replication or ""),
            "DATABASE_URL": self.database,
            "TAPE_EXCHANGE_URL": self.exchange,
            "TAPE_SENTIMENT_MODEL": self.sentiment_model,
        }
        return {name: value for name, value in told.items() if value}

    def under(self, environment: Mapping[str, str]) -> dict[str, str]:
        """``environment``, completed by what is said here."""
        return self.variables() | {name: value for name, value in environment.items() if value}
