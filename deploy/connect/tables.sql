CREATE SCHEMA connect;

CREATE TABLE connect.t_bars (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    feed TEXT NOT NULL,
    symbol TEXT NOT NULL,
    t BIGINT NOT NULL,
    revision INTEGER NOT NULL,
    open DOUBLE PRECISION NOT NULL,
    high DOUBLE PRECISION NOT NULL,
    low DOUBLE PRECISION NOT NULL,
    close DOUBLE PRECISION NOT NULL,
    volume DOUBLE PRECISION NOT NULL,
    origin TEXT NOT NULL,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_bars_late (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    feed TEXT NOT NULL,
    symbol TEXT NOT NULL,
    t BIGINT NOT NULL,
    revision INTEGER NOT NULL,
    open DOUBLE PRECISION NOT NULL,
    high DOUBLE PRECISION NOT NULL,
    low DOUBLE PRECISION NOT NULL,
    close DOUBLE PRECISION NOT NULL,
    volume DOUBLE PRECISION NOT NULL,
    origin TEXT NOT NULL,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_quotes (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    instrument TEXT NOT NULL,
    underlying TEXT NOT NULL,
    feed TEXT NOT NULL,
    quote_time BIGINT NOT NULL,
    bid NUMERIC(28, 6),
    ask NUMERIC(28, 6),
    origin TEXT NOT NULL,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_news (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    source TEXT NOT NULL,
    native_id TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    title TEXT NOT NULL,
    url TEXT,
    origin TEXT NOT NULL,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_posts (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    source TEXT NOT NULL,
    native_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    subreddit TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    engagement DOUBLE PRECISION NOT NULL,
    removed BOOLEAN NOT NULL,
    origin TEXT NOT NULL,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_links (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    source TEXT NOT NULL,
    native_id TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    list_post BOOLEAN NOT NULL,
    story TEXT,
    folded BOOLEAN NOT NULL,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_post_links (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    source TEXT NOT NULL,
    native_id TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    list_post BOOLEAN NOT NULL,
    story TEXT,
    folded BOOLEAN NOT NULL,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_stories (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    source TEXT NOT NULL,
    native_id TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    event_uid TEXT NOT NULL,
    story TEXT NOT NULL,
    folded BOOLEAN NOT NULL,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_sentiment (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    symbol TEXT NOT NULL,
    source TEXT NOT NULL,
    native_id TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    scope TEXT NOT NULL,
    folded BOOLEAN NOT NULL,
    reason TEXT NOT NULL,
    score DOUBLE PRECISION,
    confidence DOUBLE PRECISION,
    label TEXT,
    engine TEXT,
    model_digest TEXT NOT NULL,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_sentiment_windows (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    symbol TEXT NOT NULL,
    t BIGINT NOT NULL,
    n_30 INTEGER NOT NULL,
    avg_30 DOUBLE PRECISION NOT NULL,
    n_60 INTEGER NOT NULL,
    avg_60 DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_mentions (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    symbol TEXT NOT NULL,
    hour BIGINT NOT NULL,
    scope TEXT NOT NULL,
    as_of BIGINT NOT NULL,
    mentions INTEGER NOT NULL,
    authors INTEGER NOT NULL,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_surges (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    symbol TEXT NOT NULL,
    hour BIGINT NOT NULL,
    mentions INTEGER NOT NULL,
    level TEXT NOT NULL,
    score DOUBLE PRECISION,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_market_events (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    feed TEXT NOT NULL,
    symbol TEXT NOT NULL,
    kind TEXT NOT NULL,
    t BIGINT,
    detail TEXT NOT NULL,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_regime (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    date DATE NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    available_at BIGINT NOT NULL,
    origin TEXT NOT NULL,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_earnings (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    symbol TEXT NOT NULL,
    report_date DATE,
    report_time TEXT NOT NULL,
    available_at BIGINT NOT NULL,
    origin TEXT NOT NULL,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_universe (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    version INTEGER NOT NULL,
    created_at BIGINT NOT NULL,
    source TEXT NOT NULL,
    validated BOOLEAN NOT NULL,
    origin TEXT NOT NULL,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_features (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    feed TEXT NOT NULL,
    symbol TEXT NOT NULL,
    t BIGINT NOT NULL,
    as_of BIGINT NOT NULL,
    revision INTEGER NOT NULL,
    bar_revision INTEGER NOT NULL,
    session_date DATE NOT NULL,
    close DOUBLE PRECISION NOT NULL,
    volume DOUBLE PRECISION NOT NULL,
    bars INTEGER NOT NULL,
    ready BOOLEAN NOT NULL,
    crosses_session BOOLEAN NOT NULL,
    suspect_split BOOLEAN NOT NULL,
    sma20 DOUBLE PRECISION,
    sma50 DOUBLE PRECISION,
    trend_state INTEGER,
    distance_sma20 DOUBLE PRECISION,
    distance_sma50 DOUBLE PRECISION,
    recent_vol DOUBLE PRECISION,
    baseline_vol DOUBLE PRECISION,
    vol_ratio DOUBLE PRECISION,
    volume_ratio DOUBLE PRECISION,
    volume_surge BOOLEAN,
    rsi14 DOUBLE PRECISION,
    macd DOUBLE PRECISION,
    macd_signal DOUBLE PRECISION,
    macd_hist DOUBLE PRECISION,
    bb_upper DOUBLE PRECISION,
    bb_lower DOUBLE PRECISION,
    bb_position DOUBLE PRECISION,
    atr14 DOUBLE PRECISION,
    vwap DOUBLE PRECISION,
    momentum_5 DOUBLE PRECISION,
    momentum_15 DOUBLE PRECISION,
    or_high DOUBLE PRECISION,
    or_low DOUBLE PRECISION,
    or_state TEXT,
    gap_pct DOUBLE PRECISION,
    prev_move DOUBLE PRECISION,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_scores (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    symbol TEXT NOT NULL,
    evaluation BIGINT NOT NULL,
    watch_score DOUBLE PRECISION,
    setup_quality DOUBLE PRECISION,
    vol_score DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_watchlist (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    evaluation BIGINT NOT NULL,
    universe_version INTEGER NOT NULL,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_memberships (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    symbol TEXT NOT NULL,
    evaluation BIGINT NOT NULL,
    on_watchlist BOOLEAN NOT NULL,
    rank INTEGER,
    score DOUBLE PRECISION,
    flag TEXT,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_decisions (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    symbol TEXT NOT NULL,
    bar_t BIGINT NOT NULL,
    bar_revision INTEGER NOT NULL,
    as_of BIGINT NOT NULL,
    rules_version TEXT NOT NULL,
    action TEXT NOT NULL,
    strategy TEXT,
    reason TEXT NOT NULL,
    confidence DOUBLE PRECISION NOT NULL,
    direction TEXT,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_signals (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    signal_id TEXT NOT NULL,
    symbol TEXT NOT NULL,
    bar_t BIGINT NOT NULL,
    bar_revision INTEGER NOT NULL,
    as_of BIGINT NOT NULL,
    action TEXT NOT NULL,
    strategy TEXT NOT NULL,
    reason TEXT NOT NULL,
    confidence DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_revision_audit (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    symbol TEXT NOT NULL,
    bar_t BIGINT NOT NULL,
    revision INTEGER NOT NULL,
    would_differ BOOLEAN NOT NULL,
    old_action TEXT NOT NULL,
    new_action TEXT NOT NULL,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_account_inbox (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    account_id TEXT NOT NULL,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_proposals (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    account_id TEXT NOT NULL,
    signal_id TEXT NOT NULL,
    symbol TEXT NOT NULL,
    action TEXT NOT NULL,
    strategy TEXT NOT NULL,
    purpose TEXT NOT NULL,
    verdict TEXT NOT NULL,
    primary_reason TEXT NOT NULL,
    instrument TEXT,
    quantity NUMERIC(28, 6) NOT NULL,
    worst_price NUMERIC(28, 6),
    equity NUMERIC(28, 6),
    bar_t BIGINT NOT NULL,
    universe_version INTEGER,
    client_order_id TEXT,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_orders (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    account_id TEXT NOT NULL,
    client_order_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    broker_order_id TEXT,
    signal_id TEXT NOT NULL,
    instrument TEXT NOT NULL,
    underlying TEXT NOT NULL,
    side TEXT NOT NULL,
    intent TEXT NOT NULL,
    purpose TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    qty NUMERIC(28, 6) NOT NULL,
    limit_price NUMERIC(28, 6),
    filled_qty NUMERIC(28, 6) NOT NULL,
    filled_avg_price NUMERIC(28, 6),
    position_id TEXT,
    exit_reason TEXT,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_executions (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    account_id TEXT NOT NULL,
    execution_id TEXT NOT NULL,
    client_order_id TEXT NOT NULL,
    instrument TEXT NOT NULL,
    underlying TEXT NOT NULL,
    side TEXT NOT NULL,
    qty NUMERIC(28, 6) NOT NULL,
    price NUMERIC(28, 6),
    multiplier INTEGER NOT NULL,
    fee NUMERIC(28, 6) NOT NULL,
    source TEXT NOT NULL,
    owner TEXT NOT NULL,
    reason TEXT,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_positions (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    account_id TEXT NOT NULL,
    position_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    instrument TEXT NOT NULL,
    underlying TEXT NOT NULL,
    kind TEXT NOT NULL,
    strategy TEXT,
    state TEXT NOT NULL,
    qty NUMERIC(28, 6) NOT NULL,
    average_cost NUMERIC(28, 6) NOT NULL,
    realised NUMERIC(28, 6) NOT NULL,
    multiplier INTEGER NOT NULL,
    opened_at BIGINT NOT NULL,
    signal_id TEXT,
    exit_reason TEXT,
    peak NUMERIC(28, 6),
    worst NUMERIC(28, 6),
    needs_review BOOLEAN NOT NULL,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_exits (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    account_id TEXT NOT NULL,
    position_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    instrument TEXT NOT NULL,
    underlying TEXT NOT NULL,
    kind TEXT NOT NULL,
    strategy TEXT,
    chosen TEXT NOT NULL,
    qty NUMERIC(28, 6) NOT NULL,
    mark NUMERIC(28, 6),
    pnl NUMERIC(28, 6),
    peak NUMERIC(28, 6) NOT NULL,
    worst NUMERIC(28, 6) NOT NULL,
    held_min DOUBLE PRECISION NOT NULL,
    dte INTEGER,
    eod_window TEXT,
    person TEXT,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_accounts (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    account_id TEXT NOT NULL,
    tier TEXT NOT NULL,
    mode TEXT NOT NULL,
    identity TEXT NOT NULL,
    kill_state TEXT NOT NULL,
    equity NUMERIC(28, 6),
    cash NUMERIC(28, 6),
    buying_power NUMERIC(28, 6),
    options_buying_power NUMERIC(28, 6),
    session_pnl NUMERIC(28, 6),
    halt_step TEXT,
    PRIMARY KEY (event_id)
);

CREATE TABLE connect.t_controls (
    event_id TEXT NOT NULL,
    first_topic TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    scope TEXT NOT NULL,
    seq BIGINT NOT NULL,
    state TEXT NOT NULL,
    person TEXT NOT NULL,
    reason TEXT NOT NULL,
    command TEXT,
    target TEXT,
    price NUMERIC(28, 6),
    PRIMARY KEY (event_id)
);
