"""The store's own tables: where sinks resume, which logs they have read, and who may call a broker."""

from datetime import datetime

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from tapedeck.connectors.postgres.base import Base, Long


class SinkOffsets(Base):
    """Where a sink resumes. An offset is meaningful in one log only, so the log's ids are in the key.

    The topic id is empty if the broker gives none, and in rows older than revision 0002.
    """

    __tablename__ = "sink_offsets"
    sink_group: Mapped[str] = mapped_column(primary_key=True)
    cluster_id: Mapped[str] = mapped_column(primary_key=True)
    topic: Mapped[str] = mapped_column(primary_key=True)
    topic_id: Mapped[bytes] = mapped_column(primary_key=True, server_default="")
    partition: Mapped[int] = mapped_column(primary_key=True)
    next_offset: Mapped[Long]


class AuditClusters(Base):
    """Whose audit this is: the cluster in the newest row. Moving the store adds a row."""

    __tablename__ = "audit_clusters"
    cluster_id: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime] = mapped_column(primary_key=True, server_default=func.clock_timestamp())


class ReadLogs(Base):
    """Every log that was read; a recreated topic is another log. ``holds_unmarked``: rows without a topic id
    came from it."""

    __tablename__ = "read_logs"
    topic: Mapped[str] = mapped_column(primary_key=True)
    topic_id: Mapped[bytes] = mapped_column(primary_key=True)
    holds_unmarked: Mapped[bool]
    since: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class Relogged(Base):
    """Events that an earlier log of the topic already brought: their rows still belong to the earlier log."""

    __tablename__ = "relogged"
    topic: Mapped[str] = mapped_column(primary_key=True)
    topic_id: Mapped[bytes] = mapped_column(primary_key=True)
    event_id: Mapped[str] = mapped_column(primary_key=True)


class AccountLeases(Base):
    """Who may call the broker for an account; a higher ``epoch`` fences the earlier ones."""

    __tablename__ = "account_leases"
    account_id: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[Long]
    holder: Mapped[str]
    expires_at: Mapped[datetime]


class ConfigDocuments(Base):
    """The parameters behind each digest that this pipeline ran with; ``change``: from the one before."""

    __tablename__ = "config_documents"
    config_digest: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    person: Mapped[str]
    reason: Mapped[str]
    change: Mapped[str | None]
    full_text: Mapped[str]


METADATA = Base.metadata
"""All tables of the store, including the audited ones."""
MUTABLE = (SinkOffsets.__tablename__, AccountLeases.__tablename__)
