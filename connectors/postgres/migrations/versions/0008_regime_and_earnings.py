"""Values of the volatility index, and when companies report earnings."""

from alembic import op

revision = "0008"
down_revision = "0007"

AUDIT = """
        event_id text PRIMARY KEY, first_topic text NOT NULL, first_partition integer NOT NULL,
        first_offset bigint NOT NULL, event_time timestamptz NOT NULL, config_digest text, code_version text,
        body_sha text NOT NULL, payload jsonb NOT NULL"""
TABLES = {
    "t_regime": """
        date date NOT NULL, value double precision NOT NULL, available_at timestamptz NOT NULL,
        origin text NOT NULL, first_topic_id bytea""",
    "t_earnings": """
        symbol text NOT NULL, report_date date, report_time report_time NOT NULL,
        available_at timestamptz NOT NULL, origin text NOT NULL, first_topic_id bytea""",
}
TIMES = "BEFORE_OPEN IN_SESSION AFTER_CLOSE UNKNOWN NONE UNRECOGNISED"


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run(f"CREATE TYPE report_time AS ENUM ({', '.join(repr(each) for each in TIMES.split())})")
    for table, columns in TABLES.items():
        run(f"CREATE TABLE {table} ({AUDIT},{columns})")
        run(f"GRANT SELECT, INSERT ON {table} TO tape_sink")


def downgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for table in TABLES:
        run(f"DROP TABLE {table}")
    run("DROP TYPE report_time")
