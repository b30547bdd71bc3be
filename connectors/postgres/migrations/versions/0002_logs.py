"""Which log a row and an offset came from, by its topic's id, and whose cluster's audit this is.

What was stored before has no topic id. A sink that goes on within the log it finds notes that log's id for
its offsets, and in ``read_logs`` that the rows without an id came from it.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = (
    "t_bars", "t_bars_late", "t_quotes", "t_universe", "t_features", "t_scores", "t_watchlist",
    "t_memberships", "t_decisions", "t_signals", "t_revision_audit", "t_account_inbox", "t_proposals",
    "t_orders", "t_executions", "t_positions", "t_accounts", "t_controls", "t_dead_letters",
)  # fmt: skip

APPENDED = {
    "audit_clusters": """
        cluster_id text, since timestamptz DEFAULT clock_timestamp(), PRIMARY KEY (cluster_id, since)""",
    "read_logs": """
        topic text, topic_id bytea, holds_unmarked boolean NOT NULL,
        since timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (topic, topic_id)""",
    "relogged": "topic text, topic_id bytea, event_id text, PRIMARY KEY (topic, topic_id, event_id)",
}


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for name in TABLES:
        run(f"ALTER TABLE {name} ADD COLUMN first_topic_id bytea")
    for name, columns in APPENDED.items():
        run(f"CREATE TABLE {name} ({columns})")
    run(
        "ALTER TABLE sink_offsets ADD COLUMN topic_id bytea NOT NULL DEFAULT '',"
        " DROP CONSTRAINT sink_offsets_pkey,"
        " ADD CONSTRAINT sink_offsets_pkey PRIMARY KEY (sink_group, cluster_id, topic, topic_id, partition)"
    )
    # A store that two clusters have filled already belongs to neither; the next sink takes it and says so.
    run(
        "INSERT INTO audit_clusters (cluster_id)"
        " SELECT min(cluster_id) FROM sink_offsets HAVING count(DISTINCT cluster_id) = 1"
    )
    run(f"GRANT SELECT, INSERT ON {', '.join(APPENDED)} TO tape_sink")


def downgrade() -> None:
    """Of several logs of one topic the lowest offset stays: what is read again is not stored twice."""
    run = op.get_bind().exec_driver_sql
    run(
        "DELETE FROM sink_offsets o USING sink_offsets p"
        " WHERE (o.sink_group, o.cluster_id, o.topic, o.partition)"
        " = (p.sink_group, p.cluster_id, p.topic, p.partition)"
        " AND (o.next_offset, o.topic_id) > (p.next_offset, p.topic_id)"
    )
    run(
        "ALTER TABLE sink_offsets DROP COLUMN topic_id,"
        " ADD CONSTRAINT sink_offsets_pkey PRIMARY KEY (sink_group, cluster_id, topic, partition)"
    )
    run(f"DROP TABLE {', '.join(APPENDED)}")
    for name in TABLES:
        run(f"ALTER TABLE {name} DROP COLUMN first_topic_id")
