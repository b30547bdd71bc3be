"""Where a pipeline runs: the table ``[deployment]``, which is outside the digest.

The same rules on another cluster, or over more partitions, make the same decisions.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from tapedeck.streams.config.groups import Group

Partitions = Annotated[int, Field(ge=0, le=10_000)]
"""0 means that it is not said here."""


class Deployment(Group):
    """Addresses and sizes. An environment variable of the same meaning has precedence.

    ``kafka``: bootstrap servers; ``cluster_id``: the id that must answer there; ``prefix``: of the topics;
    partitions: as the topics were made with; ``keep``: how long topics are kept; ``replication``: their
    copies; ``database``: its URL, which needs no password where the server or a password file has it;
    ``exchange``: the paper exchange's URL.
    """

    kafka: str = ""
    cluster_id: str = ""
    prefix: str = ""
    symbol_partitions: Partitions = 0
    account_partitions: Partitions = 0
    keep: str = ""
    replication: Annotated[int, Field(ge=0, le=100)] = 0
    database: str = ""
    exchange: str = ""

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
        }
        return {name: value for name, value in told.items() if value}

    def under(self, environment: Mapping[str, str]) -> dict[str, str]:
        """``environment``, completed by what is said here."""
        return self.variables() | {name: value for name, value in environment.items() if value}
