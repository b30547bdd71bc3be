"""Ledgers of exits, adjustments and configurations; views of P&L, calibration and sentiment."""

from pathlib import Path

from alembic import op

revision = "0007"
down_revision = "0006"

FOLDER = Path(__file__).parent.parent
DOCUMENTS = """
    config_digest text PRIMARY KEY, since timestamptz NOT NULL DEFAULT clock_timestamp(),
    person text NOT NULL, reason text NOT NULL, change text, full_text text NOT NULL"""
INDEXES = {
    "t_accounts": "account_id, event_time",
    "t_executions": "account_id, instrument",
    "t_positions": "account_id, position_id",
    "t_exits": "account_id, position_id",
}
CHANGED = ("control_ledger", "v_funnel", "v_stale")
ADDED = (
    "v_sentiment_effectiveness",
    "v_confidence_calibration",
    "signal_outcomes",
    "v_pnl",
    "closed_positions",
    "config_ledger",
    "recon_ledger",
    "exit_ledger",
)
"""Each before what it reads."""
FUNCTIONS = (
    "t95(double precision)",
    "wilson_low(bigint, bigint)",
    "wilson_high(bigint, bigint)",
)


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run(f"CREATE TABLE config_documents ({DOCUMENTS})")
    run("GRANT SELECT, INSERT ON config_documents TO tape_sink")
    for table, columns in INDEXES.items():
        run(f"CREATE INDEX {table}_account_id_idx ON {table} ({columns})")
    run(f"DROP VIEW {', '.join(CHANGED)}")
    run((FOLDER / "0007_views.sql").read_text())
    run(f"GRANT SELECT ON {', '.join(CHANGED + ADDED)} TO tape_read")


def downgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run(f"DROP VIEW {', '.join(CHANGED + ADDED)}")
    for function in FUNCTIONS:
        run(f"DROP FUNCTION {function}")
    run((FOLDER / "0007_before.sql").read_text())
    run(f"GRANT SELECT ON {', '.join(CHANGED)} TO tape_read")
    for table in INDEXES:
        run(f"DROP INDEX {table}_account_id_idx")
    run("DROP TABLE config_documents")
