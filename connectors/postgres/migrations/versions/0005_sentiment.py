"""Links, stories, sentiment and its windows, mentions and surges."""

from alembic import op

revision = "0005"
down_revision = "0004"

ENUMS = {
    "sentiment_scope": "NEWS SOCIAL",
    "sentiment_reason": "SCORED LIGHT_FALLBACK EMPTY_TEXT RETRACTED",
    "sentiment_label": "POSITIVE NEGATIVE NEUTRAL",
    "mention_scope": "NEWS SOCIAL",
    "surge_level": "NO_BASELINE LOW MEDIUM HIGH",
}
COMMON = """
    event_id text PRIMARY KEY, first_topic text NOT NULL, first_partition integer NOT NULL,
    first_offset bigint NOT NULL, event_time timestamptz NOT NULL, config_digest text, code_version text,
    body_sha text NOT NULL, payload jsonb NOT NULL"""
LINKS = """
    source text NOT NULL, native_id text NOT NULL, updated_at timestamptz NOT NULL, list_post boolean
    NOT NULL,
    story text, folded boolean NOT NULL"""
TABLES = {
    "t_links": LINKS,
    "t_post_links": LINKS,
    "t_stories": """
        source text NOT NULL, native_id text NOT NULL, updated_at timestamptz NOT NULL,
        event_uid text NOT NULL, story text NOT NULL, folded boolean NOT NULL""",
    "t_sentiment": """
        symbol text NOT NULL, source text NOT NULL, native_id text NOT NULL, updated_at timestamptz NOT NULL,
        scope sentiment_scope NOT NULL, folded boolean NOT NULL, reason sentiment_reason NOT NULL,
        score double precision, confidence double precision, label sentiment_label, engine text,
        model_digest text NOT NULL""",
    "t_sentiment_windows": """
        symbol text NOT NULL, t timestamptz NOT NULL, n_30 integer NOT NULL, avg_30 double precision NOT NULL,
        n_60 integer NOT NULL, avg_60 double precision NOT NULL""",
    "t_mentions": """
        symbol text NOT NULL, hour timestamptz NOT NULL, scope mention_scope NOT NULL,
        as_of timestamptz NOT NULL, mentions integer NOT NULL, authors integer NOT NULL""",
    "t_surges": """
        symbol text NOT NULL, hour timestamptz NOT NULL, mentions integer NOT NULL,
        level surge_level NOT NULL, score double precision""",
}


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for name, symbols in ENUMS.items():
        run(f"CREATE TYPE {name} AS ENUM ({', '.join(repr(each) for each in symbols.split())})")
    for table, columns in TABLES.items():
        run(f"CREATE TABLE {table} ({COMMON}, {columns}, first_topic_id bytea)")
        run(f"GRANT SELECT, INSERT ON {table} TO tape_sink")


def downgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run(f"DROP TABLE {', '.join(TABLES)}")
    run(f"DROP TYPE {', '.join(ENUMS)}")
