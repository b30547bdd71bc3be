-- The three views as revision 0001 made them: what a downgrade of 0007 leaves.

CREATE VIEW control_ledger AS
SELECT scope, seq, event_time, lag(state) OVER (PARTITION BY scope ORDER BY seq) AS former_state,
       state, person, reason, payload AS full_text, event_id
FROM t_controls;

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
    FROM (SELECT DISTINCT ON (account_id, client_order_id) account_id, event_time, config_digest, reason, state
          FROM t_orders
          ORDER BY account_id, client_order_id, seq DESC) newest
) evaluations
GROUP BY 1, 2, 3, 4, 5, 6;

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
