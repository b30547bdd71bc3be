-- Ledgers and read views of revision 0001. Nothing is stored twice: each reads the topic tables.

CREATE VIEW decision_ledger AS
SELECT p.signal_id, p.account_id, p.symbol, p.event_time, p.action, p.strategy, p.purpose,
       p.verdict, p.primary_reason, p.payload -> 'gates' AS gates, p.payload AS proposal,
       p.equity, p.payload -> 'quote' AS quote, p.bar_t, s.bar_revision, p.universe_version,
       p.config_digest, p.event_id
FROM t_proposals p
LEFT JOIN LATERAL (
    SELECT bar_revision FROM t_signals
    WHERE t_signals.signal_id = p.signal_id AND t_signals.config_digest = p.config_digest
    LIMIT 1
) s ON true;

CREATE VIEW hold_ledger AS
SELECT symbol, bar_t, rules_version, event_time, reason, confidence, direction,
       payload -> 'inputs' AS inputs, config_digest, event_id
FROM t_decisions WHERE action = 'HOLD';

CREATE VIEW order_ledger AS
SELECT account_id, client_order_id, seq, event_time, state, reason, broker_order_id, signal_id,
       instrument, underlying, side, intent, purpose, qty, limit_price, attempt, filled_qty,
       filled_avg_price, config_digest, event_id
FROM t_orders;

CREATE VIEW execution_ledger AS
SELECT account_id, execution_id, event_time, client_order_id, instrument, underlying, side, qty,
       price, multiplier, fee, source, owner, config_digest, event_id
FROM t_executions;

CREATE VIEW position_ledger AS
SELECT account_id, position_id, seq, event_time, instrument, underlying, kind, strategy, qty,
       average_cost AS average, realised, state, multiplier, opened_at, config_digest, event_id
FROM t_positions;

CREATE VIEW universe_ledger AS
SELECT version, event_time, source, validated, origin, members,
       ARRAY(SELECT unnest(members) EXCEPT SELECT unnest(former) ORDER BY 1) AS added,
       ARRAY(SELECT unnest(former) EXCEPT SELECT unnest(members) ORDER BY 1) AS removed,
       payload AS full_text, event_id
FROM (
    SELECT u.*, m.members,
           lag(m.members, 1, ARRAY[]::text[]) OVER (ORDER BY u.version, u.event_time) AS former
    FROM t_universe u,
         LATERAL (SELECT array_agg(e ->> 'symbol' ORDER BY e ->> 'symbol') AS members
                  FROM jsonb_array_elements(u.payload -> 'members') e) m
) versions;

CREATE VIEW control_ledger AS
SELECT scope, seq, event_time, lag(state) OVER (PARTITION BY scope ORDER BY seq) AS former_state,
       state, person, reason, payload AS full_text, event_id
FROM t_controls;

CREATE VIEW revision_audit AS
SELECT symbol, bar_t, revision, event_time, would_differ, old_action, new_action, config_digest, event_id
FROM t_revision_audit;

CREATE VIEW v_watchlist AS
SELECT w.evaluation, w.event_time, w.universe_version, m.symbol, m.rank, m.score, m.flag, m.reason,
       w.config_digest, w.event_id
FROM t_watchlist w,
     jsonb_to_recordset(w.payload -> 'members')
         AS m(symbol text, rank integer, score double precision, flag text, reason text);

-- One row per session, stage, account, outcome and reason. Decisions count evaluations, proposals
-- signals per account, orders client order ids by their newest state.
CREATE VIEW v_funnel AS
SELECT (event_time AT TIME ZONE 'America/New_York')::date AS session_date, stage, account_id,
       outcome, reason, config_digest, count(*) AS n
FROM (
    SELECT 'decisions' AS stage, NULL AS account_id, event_time, config_digest, reason,
           CASE WHEN action = 'HOLD' THEN 'HOLD' ELSE 'OUT' END AS outcome
    FROM t_decisions
    UNION ALL
    SELECT 'proposals', account_id, event_time, config_digest, primary_reason,
           CASE WHEN verdict = 'APPROVED' THEN 'OUT' ELSE verdict::text END
    FROM t_proposals
    UNION ALL
    SELECT 'orders', account_id, event_time, config_digest, coalesce(reason, state::text),
           CASE WHEN state = 'FILLED' THEN 'OUT' ELSE state::text END
    FROM (SELECT DISTINCT ON (account_id, client_order_id) * FROM t_orders
          ORDER BY account_id, client_order_id, seq DESC) newest
) evaluations
GROUP BY 1, 2, 3, 4, 5, 6;

CREATE VIEW v_gate_refusals AS
SELECT (p.event_time AT TIME ZONE 'America/New_York')::date AS session_date, p.account_id, p.action,
       g.gate, g.reason, p.config_digest, count(*) AS refusals,
       count(*) FILTER (WHERE g.reason = p.primary_reason) AS as_primary
FROM t_proposals p,
     jsonb_to_recordset(p.payload -> 'gates') AS g(gate text, applies boolean, passed boolean, reason text)
WHERE g.applies AND NOT g.passed
GROUP BY 1, 2, 3, 4, 5, 6;

-- Ages against the wall clock and against the newest bar (a played tape lies in the past). Whether a
-- session expects data is for the exchange calendar to say, not for this view. No record at all = UNKNOWN.
CREATE VIEW v_stale AS
WITH members AS (
    SELECT e ->> 'symbol' AS symbol
    FROM (SELECT payload FROM t_universe ORDER BY version DESC, event_time DESC LIMIT 1) newest,
         jsonb_array_elements(newest.payload -> 'members') e
), seen AS (
    SELECT 'bars' AS topic, m.symbol AS key, max(b.event_time) AS newest, 180 AS limit_s
    FROM members m LEFT JOIN t_bars b USING (symbol) GROUP BY m.symbol
    UNION ALL
    SELECT 'features', m.symbol, max(f.event_time), 240
    FROM members m LEFT JOIN t_features f USING (symbol) GROUP BY m.symbol
    UNION ALL
    SELECT 'watchlist', '', max(event_time), 600 FROM t_watchlist
    UNION ALL
    SELECT 'accounts', account_id, max(event_time), 60 FROM t_accounts GROUP BY account_id
), aged AS (
    SELECT topic, key, newest, limit_s, extract(epoch FROM now() - newest) AS age_s,
           extract(epoch FROM (SELECT max(event_time) FROM t_bars) - newest) AS behind_s
    FROM seen
)
SELECT topic, key, newest, limit_s, age_s, behind_s,
       CASE WHEN newest IS NULL THEN 'UNKNOWN' WHEN age_s <= limit_s THEN 'GREEN'
            WHEN age_s <= 2 * limit_s THEN 'AMBER' ELSE 'RED' END AS status
FROM aged;
