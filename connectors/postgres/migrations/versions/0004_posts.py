"""Versions of posts and comments."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run("CREATE TYPE post_kind AS ENUM ('POST', 'COMMENT', 'UNRECOGNISED')")
    run("""CREATE TABLE t_posts (
        event_id text PRIMARY KEY, first_topic text NOT NULL, first_partition integer NOT NULL,
        first_offset bigint NOT NULL, event_time timestamptz NOT NULL, config_digest text, code_version text,
        body_sha text NOT NULL, payload jsonb NOT NULL, source text NOT NULL, native_id text NOT NULL,
        kind post_kind NOT NULL, subreddit text NOT NULL, thread_id text NOT NULL,
        updated_at timestamptz NOT NULL, engagement double precision NOT NULL, removed boolean NOT NULL,
        origin text NOT NULL, first_topic_id bytea)""")
    run("GRANT SELECT, INSERT ON t_posts TO tape_sink")


def downgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run("DROP TABLE t_posts")
    run("DROP TYPE post_kind")
