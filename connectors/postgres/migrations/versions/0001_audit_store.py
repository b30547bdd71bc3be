"""The audit store: a table per topic, offsets, leases, ledgers and views, two roles."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None

ENUMS = {
    "universe_source": "DEFAULT RULES LLM MANUAL LAST_GOOD UNRECOGNISED",
    "opening_range": "ABOVE BELOW INSIDE",
    "membership_flag": "SCORED BACKFILL",
    "decision_action": "BUY_CALL BUY_PUT BUY_STOCK SELL_STOCK HOLD",
    "direction": "BULL BEAR",
    "signal_action": "BUY_CALL BUY_PUT BUY_STOCK SELL_STOCK",
    "purpose": "OPEN CLOSE",
    "verdict": "APPROVED REFUSED NOT_SIZED SHADOWED",
    "order_state": (
        "INTENT SUBMITTED ACCEPTED PARTIAL CANCEL_PENDING UNKNOWN FILLED CANCELED EXPIRED REJECTED"
        " DONE_FOR_DAY REPLACED NOT_SENT UNRECOGNISED"
    ),
    "side": "BUY SELL",
    "position_intent": "BUY_TO_OPEN SELL_TO_CLOSE BUY SELL",
    "owner": "TAPEDECK EXTERNAL",
    "position_kind": "CALL PUT STOCK",
    "position_state": "PENDING OPEN CLOSING CLOSED",
    "mode": "SHADOW PAPER LIVE",
    "identity": "VERIFIED ACCOUNT_MISMATCH ACCOUNT_UNVERIFIED",
    "kill_state": "ACTIVE REDUCING HALTED",
}

COMMON = """
    event_id text PRIMARY KEY, first_topic text NOT NULL, first_partition integer NOT NULL,
    first_offset bigint NOT NULL, event_time timestamptz NOT NULL, config_digest text, code_version text,
    body_sha text NOT NULL, payload jsonb NOT NULL"""

BAR = """
    feed text NOT NULL, symbol text NOT NULL, t timestamptz NOT NULL, revision integer NOT NULL,
    open double precision NOT NULL, high double precision NOT NULL, low double precision NOT NULL,
    close double precision NOT NULL, volume double precision NOT NULL, origin text NOT NULL"""

TABLES = {
    "t_bars": BAR,
    "t_bars_late": BAR,
    "t_quotes": """
        instrument text NOT NULL, underlying text NOT NULL, feed text NOT NULL,
        quote_time timestamptz NOT NULL, bid numeric(28, 6), ask numeric(28, 6), origin text NOT NULL""",
    "t_universe": """
        version integer NOT NULL, created_at timestamptz NOT NULL, source universe_source NOT NULL,
        validated boolean NOT NULL, origin text NOT NULL""",
    "t_features": """
        feed text NOT NULL, symbol text NOT NULL, t timestamptz NOT NULL, as_of timestamptz NOT NULL,
        revision integer NOT NULL, bar_revision integer NOT NULL, session_date date NOT NULL,
        close double precision NOT NULL, volume double precision NOT NULL, bars integer NOT NULL,
        ready boolean NOT NULL, crosses_session boolean NOT NULL, suspect_split boolean NOT NULL,
        sma20 double precision, sma50 double precision, trend_state integer,
        distance_sma20 double precision, distance_sma50 double precision,
        recent_vol double precision, baseline_vol double precision, vol_ratio double precision,
        volume_ratio double precision, volume_surge boolean, rsi14 double precision,
        macd double precision, macd_signal double precision, macd_hist double precision,
        bb_upper double precision, bb_lower double precision, bb_position double precision,
        atr14 double precision, vwap double precision, momentum_5 double precision,
        momentum_15 double precision, or_high double precision, or_low double precision,
        or_state opening_range, gap_pct double precision, prev_move double precision""",
    "t_scores": """
        symbol text NOT NULL, evaluation timestamptz NOT NULL, watch_score double precision,
        setup_quality double precision, vol_score double precision NOT NULL""",
    "t_watchlist": "evaluation timestamptz NOT NULL, universe_version integer NOT NULL",
    "t_memberships": """
        symbol text NOT NULL, evaluation timestamptz NOT NULL, on_watchlist boolean NOT NULL,
        rank integer, score double precision, flag membership_flag""",
    "t_decisions": """
        symbol text NOT NULL, bar_t timestamptz NOT NULL, bar_revision integer NOT NULL,
        as_of timestamptz NOT NULL, rules_version text NOT NULL, action decision_action NOT NULL,
        strategy text, reason text NOT NULL, confidence double precision NOT NULL, direction direction""",
    "t_signals": """
        signal_id text NOT NULL, symbol text NOT NULL, bar_t timestamptz NOT NULL,
        bar_revision integer NOT NULL, as_of timestamptz NOT NULL, action signal_action NOT NULL,
        strategy text NOT NULL, reason text NOT NULL, confidence double precision NOT NULL""",
    "t_revision_audit": """
        symbol text NOT NULL, bar_t timestamptz NOT NULL, revision integer NOT NULL,
        would_differ boolean NOT NULL, old_action text NOT NULL, new_action text NOT NULL""",
    "t_account_inbox": "account_id text NOT NULL, kind text NOT NULL",
    "t_proposals": """
        account_id text NOT NULL, signal_id text NOT NULL, symbol text NOT NULL, action text NOT NULL,
        strategy text NOT NULL, purpose purpose NOT NULL, verdict verdict NOT NULL,
        primary_reason text NOT NULL, instrument text, quantity numeric(28, 6) NOT NULL,
        worst_price numeric(28, 6), equity numeric(28, 6), bar_t timestamptz NOT NULL,
        universe_version integer, client_order_id text""",
    "t_orders": """
        account_id text NOT NULL, client_order_id text NOT NULL, seq integer NOT NULL,
        state order_state NOT NULL, reason text, broker_order_id text, signal_id text NOT NULL,
        instrument text NOT NULL, underlying text NOT NULL, side side NOT NULL,
        intent position_intent NOT NULL, purpose purpose NOT NULL, attempt integer NOT NULL,
        qty numeric(28, 6) NOT NULL, limit_price numeric(28, 6), filled_qty numeric(28, 6) NOT NULL,
        filled_avg_price numeric(28, 6)""",
    "t_executions": """
        account_id text NOT NULL, execution_id text NOT NULL, client_order_id text NOT NULL,
        instrument text NOT NULL, underlying text NOT NULL, side side NOT NULL,
        qty numeric(28, 6) NOT NULL, price numeric(28, 6) NOT NULL, multiplier integer NOT NULL,
        fee numeric(28, 6) NOT NULL, source text NOT NULL, owner owner NOT NULL""",
    "t_positions": """
        account_id text NOT NULL, position_id text NOT NULL, seq integer NOT NULL,
        instrument text NOT NULL, underlying text NOT NULL, kind position_kind NOT NULL, strategy text,
        state position_state NOT NULL, qty numeric(28, 6) NOT NULL,
        average_cost numeric(28, 6) NOT NULL, realised numeric(28, 6) NOT NULL,
        multiplier integer NOT NULL, opened_at timestamptz NOT NULL""",
    "t_accounts": """
        account_id text NOT NULL, tier text NOT NULL, mode mode NOT NULL, identity identity NOT NULL,
        kill_state text NOT NULL, equity numeric(28, 6), cash numeric(28, 6),
        buying_power numeric(28, 6), options_buying_power numeric(28, 6)""",
    "t_controls": """
        scope text NOT NULL, seq bigint NOT NULL, state kill_state NOT NULL, person text NOT NULL,
        reason text NOT NULL""",
    "t_dead_letters": """
        source_topic text NOT NULL, source_partition integer NOT NULL, source_offset bigint NOT NULL,
        stage text NOT NULL, reason text NOT NULL, message text NOT NULL, record_key bytea,
        value bytea""",
}

INDEXES = {"t_signals": "signal_id", "t_proposals": "signal_id", "t_orders": "client_order_id"}

MUTABLE = {
    "sink_offsets": """
        sink_group text, cluster_id text, topic text, partition integer, next_offset bigint NOT NULL,
        PRIMARY KEY (sink_group, cluster_id, topic, partition)""",
    "account_leases": """
        account_id text PRIMARY KEY, epoch bigint NOT NULL, holder text NOT NULL,
        expires_at timestamptz NOT NULL""",
}

VIEWS = (
    "decision_ledger",
    "hold_ledger",
    "order_ledger",
    "execution_ledger",
    "position_ledger",
    "universe_ledger",
    "control_ledger",
    "revision_audit",
    "v_watchlist",
    "v_funnel",
    "v_gate_refusals",
    "v_stale",
)

# Roles belong to the whole server: another schema or database may have made them at the same moment.
ROLE = """
DO $$ BEGIN
    CREATE ROLE {role} NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$"""

SCHEMA_GRANTS = """
DO $$ BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %%I TO tape_sink, tape_read', current_schema());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %%I TO tape_sink', current_database());
    GRANT tape_sink, tape_read TO CURRENT_USER;
END $$"""


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for name, symbols in ENUMS.items():
        labels = ", ".join(f"'{symbol}'" for symbol in symbols.split())
        run(f"CREATE TYPE {name} AS ENUM ({labels})")
    for name, columns in TABLES.items():
        run(f"CREATE TABLE {name} ({COMMON}, {columns})")
    for name, column in INDEXES.items():
        run(f"CREATE INDEX {name}_{column}_idx ON {name} ({column})")
    for name, columns in MUTABLE.items():
        run(f"CREATE TABLE {name} ({columns})")
    run((Path(__file__).parent.parent / "0001_views.sql").read_text())
    for role in ("tape_sink", "tape_read"):
        run(ROLE.format(role=role))
    run(SCHEMA_GRANTS)
    run(f"GRANT SELECT, INSERT ON {', '.join(TABLES)} TO tape_sink")
    run(f"GRANT SELECT, INSERT, UPDATE ON {', '.join(MUTABLE)} TO tape_sink")
    run("GRANT SELECT ON alembic_version TO tape_sink")
    run(f"GRANT SELECT ON {', '.join(VIEWS)} TO tape_read")


def downgrade() -> None:
    """The roles stay: other schemas and databases of the server may use them."""
    run = op.get_bind().exec_driver_sql
    run(f"DROP VIEW {', '.join(VIEWS)}")
    run(f"DROP TABLE {', '.join([*TABLES, *MUTABLE])}")
    run(f"DROP TYPE {', '.join(ENUMS)}")
