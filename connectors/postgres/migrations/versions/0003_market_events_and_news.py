"""Market events and article versions."""

from alembic import op

revision = "0003"
down_revision = "0002"

ENUM = ("market_event_kind", "HALTED RESUMED NO_TRADE GAP_FILLED COVERAGE UNRECOGNISED")
COMMON = """
    event_id text PRIMARY KEY, first_topic text NOT NULL, first_partition integer NOT NULL,
    first_offset bigint NOT NULL, event_time timestamptz NOT NULL, config_digest text, code_version text,
    body_sha text NOT NULL, payload jsonb NOT NULL"""
TABLES = {
    "t_market_events": """
        feed text NOT NULL, symbol text NOT NULL, kind market_event_kind NOT NULL, t timestamptz,
        detail text NOT NULL""",
    "t_news": """
        source text NOT NULL, native_id text NOT NULL, updated_at timestamptz NOT NULL, title text NOT NULL,
        url text, origin text NOT NULL""",
}


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    name, symbols = ENUM
    run(f"CREATE TYPE {name} AS ENUM ({', '.join(repr(each) for each in symbols.split())})")
    for table, columns in TABLES.items():
        run(f"CREATE TABLE {table} ({COMMON}, {columns}, first_topic_id bytea)")
        run(f"GRANT SELECT, INSERT ON {table} TO tape_sink")


def downgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run(f"DROP TABLE {', '.join(TABLES)}")
    run(f"DROP TYPE {ENUM[0]}")
