"""Exits; what positions, orders, executions, accounts and controls say since."""

from alembic import op

revision = "0006"
down_revision = "0005"

MONEY = "numeric(28, 6)"
ADDED = {
    "t_orders": ("position_id text", "exit_reason text"),
    "t_executions": ("reason text",),
    "t_positions": (
        "signal_id text",
        "exit_reason text",
        f"peak {MONEY}",
        f"worst {MONEY}",
        "needs_review boolean NOT NULL DEFAULT false",
    ),
    "t_accounts": (f"session_pnl {MONEY}", "halt_step text"),
    "t_controls": ("command text", "target text", f"price {MONEY}"),
}


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run("""CREATE TABLE t_exits (
        event_id text PRIMARY KEY, first_topic text NOT NULL, first_partition integer NOT NULL,
        first_offset bigint NOT NULL, event_time timestamptz NOT NULL, config_digest text, code_version text,
        body_sha text NOT NULL, payload jsonb NOT NULL, account_id text NOT NULL, position_id text NOT NULL,
        seq integer NOT NULL, instrument text NOT NULL, underlying text NOT NULL,
        kind position_kind NOT NULL, strategy text, chosen text NOT NULL, qty numeric(28, 6) NOT NULL,
        mark numeric(28, 6), pnl numeric(28, 6), peak numeric(28, 6) NOT NULL,
        worst numeric(28, 6) NOT NULL,
        held_min double precision NOT NULL, dte integer, eod_window text, person text,
        first_topic_id bytea)""")
    run("GRANT SELECT, INSERT ON t_exits TO tape_sink")
    for table, columns in ADDED.items():
        for column in columns:
            run(f"ALTER TABLE {table} ADD COLUMN {column}")
    run("ALTER TABLE t_executions ALTER COLUMN price DROP NOT NULL")


def downgrade() -> None:
    """The price stays nullable: adjustments without one may be stored, and nothing is ever deleted."""
    run = op.get_bind().exec_driver_sql
    run("DROP TABLE t_exits")
    for table, columns in ADDED.items():
        for column in columns:
            run(f"ALTER TABLE {table} DROP COLUMN {column.split()[0]}")
