-- Ledgers and read views of revision 0007. Nothing is stored twice but a configuration's text: the rest reads
-- the topic tables. Shares of 1 are fractions; money is USD.

-- The 0.975 quantile of Student's t with df degrees of freedom: half the width of a 95 percent interval in
-- standard errors. Hill's algorithm 396 (1970), relative error below 1e-4 from 2.2 on; 1 and 2 are exact, and
-- between them it is up to 3 percent too wide.
CREATE FUNCTION t95(df double precision) RETURNS double precision
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    p CONSTANT double precision := 0.05;
    z CONSTANT double precision := -1.959963984540054;
    a double precision; b double precision; c double precision; d double precision; y double precision;
BEGIN
    IF df < 1 THEN RETURN NULL; END IF;
    IF df <= 2 THEN
        RETURN 4.302652729749462 * power(12.706204736174698 / 4.302652729749462, 2 / df - 1);
    END IF;
    a := 1 / (df - 0.5);
    b := 48 / (a * a);
    c := ((20700 * a / b - 98) * a - 16) * a + 96.36;
    d := ((94.5 / (b + c) - 3) / b + 1) * sqrt(a * pi() / 2) * df;
    y := power(d * p, 2 / df);
    IF y > 0.05 + a THEN
        IF df < 5 THEN c := c + 0.3 * (df - 4.5) * (z + 0.6); END IF;
        c := (((0.05 * d * z - 5) * z - 7) * z - 2) * z + b + c;
        y := z * z;
        y := (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * z;
        y := a * y * y;
        y := CASE WHEN y > 0.002 THEN exp(y) - 1 ELSE 0.5 * y * y + y END;
    ELSE
        y := ((1 / (((df + 6) / (df * y) - 0.089 * d - 0.822) * (df + 2) * 3) + 0.5 / (df + 4)) * y - 1)
             * (df + 1) / (df + 2) + 1 / y;
    END IF;
    RETURN sqrt(df * y);
END $$;

-- Wilson's 95 percent interval of a rate: k of n. Null without a case.
CREATE FUNCTION wilson_low(k bigint, n bigint) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE WHEN n > 0 THEN greatest(0, (k + 1.920729410347062
        - 1.959963984540054 * sqrt(k::double precision * (n - k) / n + 0.960364705173531))
        / (n + 3.841458820694124)) END
$$;

CREATE FUNCTION wilson_high(k bigint, n bigint) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE WHEN n > 0 THEN least(1, (k + 1.920729410347062
        + 1.959963984540054 * sqrt(k::double precision * (n - k) / n + 0.960364705173531))
        / (n + 3.841458820694124)) END
$$;

CREATE VIEW exit_ledger AS
SELECT account_id, position_id, seq, event_time, instrument, underlying, kind, strategy,
       payload -> 'triggers' AS triggers, chosen, qty, mark, pnl, peak, worst, held_min, dte,
       eod_window AS "window", person, config_digest, event_id
FROM t_exits;

-- ours and broker: what was held before and after. They are null where the position's records are not stored.
CREATE VIEW recon_ledger AS
SELECT e.execution_id AS adjustment_id, e.account_id, e.instrument, e.underlying, e.event_time, e.side, e.qty,
       p.qty - CASE WHEN e.side = 'BUY' THEN e.qty ELSE -e.qty END AS ours, p.qty AS broker,
       e.reason AS cause, c.person AS resolved_by, c.reason AS resolved_why, c.price AS resolved_price,
       c.event_time AS resolved_at, e.config_digest, e.event_id
FROM t_executions e
LEFT JOIN LATERAL (
    SELECT sum(qty) AS qty FROM t_positions
    WHERE account_id = e.account_id AND instrument = e.instrument
      AND payload -> 'inputs' ->> 0 = e.event_id
) p ON true
LEFT JOIN LATERAL (
    SELECT person, reason, price, event_time FROM t_controls
    WHERE command = 'RESOLVE' AND scope = e.account_id AND target = e.execution_id
    ORDER BY seq LIMIT 1
) c ON true
WHERE e.reason = 'RECON_ADJUST';

-- A command leaves the switch as it is, so it has no state.
CREATE VIEW control_ledger AS
SELECT scope, seq, event_time,
       CASE WHEN command IS NULL
            THEN lag(state) OVER (PARTITION BY scope, command IS NULL ORDER BY seq) END AS former_state,
       CASE WHEN command IS NULL THEN state END AS state,
       command, target, price, person, reason, payload AS full_text, event_id
FROM t_controls;

CREATE VIEW config_ledger AS
SELECT config_digest AS digest, since, person, reason, change, full_text,
       (SELECT min(event_time) FROM t_decisions d WHERE d.config_digest = c.config_digest) AS first_decision,
       (SELECT max(event_time) FROM t_decisions d WHERE d.config_digest = c.config_digest) AS last_decision
FROM config_documents c;

-- One row per position that was closed. A late execution may give a position another beginning, and so another
-- id: the id before was withdrawn, and is left out. Fees are of the executions from its opening to the next
-- position's in the same instrument. needs_review: an adjustment has no price, so P&L is null.
CREATE VIEW closed_positions AS
WITH newest AS (
    SELECT DISTINCT ON (account_id, position_id) account_id, position_id, instrument, underlying, kind,
           strategy, payload ->> 'owner' AS owner, signal_id, opened_at, state, realised,
           coalesce(needs_review, false) AS needs_review, config_digest, payload -> 'inputs' ->> 0 AS cause
    FROM t_positions ORDER BY account_id, position_id, seq DESC
), steps AS (
    SELECT account_id, position_id, seq, event_time, qty, exit_reason, abs(qty) AS held,
           abs(qty) * average_cost * multiplier AS cost, payload -> 'inputs' ->> 0 AS cause,
           lag(abs(qty), 1, 0.0) OVER steps AS held_before,
           lag(abs(qty) * average_cost * multiplier, 1, 0.0) OVER steps AS cost_before
    FROM t_positions WINDOW steps AS (PARTITION BY account_id, position_id ORDER BY seq)
), lives AS (
    SELECT account_id, position_id, min(event_time) FILTER (WHERE qty = 0) AS closed_at,
           sum(cost - cost_before) FILTER (WHERE held >= held_before) AS entry_cost,
           (array_agg(exit_reason ORDER BY seq DESC) FILTER (WHERE exit_reason IS NOT NULL))[1] AS exit_reason,
           min(cause) FILTER (WHERE seq = 0) AS first_cause
    FROM steps GROUP BY account_id, position_id
), kept AS (
    SELECT n.*, l.exit_reason, l.closed_at, l.entry_cost,
           lead(n.opened_at, 1, 'infinity') OVER (
               PARTITION BY n.account_id, n.instrument ORDER BY n.opened_at, n.position_id
           ) AS next_opened_at
    FROM newest n JOIN lives l USING (account_id, position_id)
    WHERE NOT EXISTS (
        SELECT 1 FROM newest o JOIN lives k USING (account_id, position_id)
        WHERE o.account_id = n.account_id AND o.instrument = n.instrument
          AND o.position_id <> n.position_id AND o.opened_at <= n.opened_at AND k.first_cause = n.cause
    )
), paid AS (
    SELECT k.account_id, k.position_id, sum(e.fee) AS fees
    FROM kept k JOIN t_executions e
      ON e.account_id = k.account_id AND e.instrument = k.instrument
     AND e.event_time >= k.opened_at AND e.event_time < k.next_opened_at
    GROUP BY k.account_id, k.position_id
), ended AS (
    SELECT a.mode, k.account_id, k.position_id, k.instrument, k.underlying, k.kind, k.strategy, k.owner,
           k.signal_id, k.exit_reason, k.opened_at, k.closed_at,
           (k.closed_at AT TIME ZONE 'America/New_York')::date AS session_date, k.needs_review,
           CASE WHEN NOT k.needs_review THEN k.realised END AS realised, coalesce(p.fees, 0) AS fees,
           k.entry_cost, k.config_digest
    FROM kept k
    LEFT JOIN paid p USING (account_id, position_id)
    LEFT JOIN LATERAL (
        SELECT mode FROM t_accounts WHERE account_id = k.account_id
        ORDER BY event_time <= k.opened_at DESC, abs(extract(epoch FROM event_time - k.opened_at)) LIMIT 1
    ) a ON true
    WHERE k.state = 'CLOSED'
)
SELECT *, realised - fees AS net,
       round((realised - fees) / nullif(entry_cost, 0), 6) AS net_fraction
FROM ended;

-- A SHADOW account trades nothing: it is in no view of P&L. A win is over +0.005 of the cost after fees, a loss
-- under -0.005. One position under review leaves the sums and rates of its row unknown.
CREATE VIEW v_pnl AS
WITH rows AS (
    SELECT mode, account_id, session_date, strategy, exit_reason, count(*) AS n,
           count(*) FILTER (WHERE needs_review) AS needs_review,
           count(*) FILTER (WHERE net_fraction > 0.005) AS wins,
           count(*) FILTER (WHERE net_fraction < -0.005) AS losses,
           sum(realised) AS realised, sum(fees) AS fees, sum(net) AS net,
           avg(net)::double precision AS mean, stddev_samp(net)::double precision AS deviation
    FROM closed_positions WHERE mode <> 'SHADOW'
    GROUP BY mode, account_id, session_date, strategy, exit_reason
), told AS (
    SELECT *, needs_review = 0 AS known, t95(n - 1.0) * deviation / sqrt(n) AS half FROM rows
)
SELECT mode, account_id, session_date, strategy, exit_reason, n, needs_review,
       CASE WHEN known THEN realised END AS realised, fees, CASE WHEN known THEN net END AS net,
       CASE WHEN known THEN wins END AS wins, CASE WHEN known THEN losses END AS losses,
       CASE WHEN known THEN wins::double precision / n END AS win_rate,
       CASE WHEN known THEN wilson_low(wins, n) END AS win_rate_low,
       CASE WHEN known THEN wilson_high(wins, n) END AS win_rate_high,
       CASE WHEN known THEN mean END AS expectancy,
       CASE WHEN known THEN mean - half END AS expectancy_low,
       CASE WHEN known THEN mean + half END AS expectancy_high
FROM told;

-- Closed positions that a signal opened, with what the signal said; those under review are left out.
CREATE VIEW signal_outcomes AS
SELECT p.mode, p.account_id, p.position_id, p.session_date, p.strategy, p.net, p.net_fraction,
       p.net_fraction > 0.005 AS won, p.net_fraction < -0.005 AS lost, s.signal_id, s.confidence,
       (s.payload ->> 'sentiment_n')::integer AS sentiment_n,
       (s.payload ->> 'sentiment_avg')::double precision AS sentiment_avg,
       CASE WHEN s.payload ->> 'direction' = 'BEAR' THEN -1 ELSE 1 END AS side
FROM closed_positions p
JOIN LATERAL (
    SELECT signal_id, confidence, payload FROM t_signals
    WHERE signal_id = p.signal_id ORDER BY config_digest = p.config_digest DESC LIMIT 1
) s ON true
WHERE p.mode <> 'SHADOW' AND p.net_fraction IS NOT NULL;

CREATE VIEW v_confidence_calibration AS
WITH rows AS (
    SELECT mode, least(floor(confidence::numeric / 0.05) * 0.05, 0.95) AS bucket, count(*) AS n,
           count(*) FILTER (WHERE won) AS wins, count(*) FILTER (WHERE lost) AS losses,
           avg(confidence) AS mean_confidence
    FROM signal_outcomes GROUP BY 1, 2
)
SELECT mode, bucket AS confidence_from, bucket + 0.05 AS confidence_to, mean_confidence, n, wins, losses,
       n - wins - losses AS flat, wins::double precision / n AS win_rate,
       wilson_low(wins, n) AS win_rate_low, wilson_high(wins, n) AS win_rate_high
FROM rows WHERE n >= 5;

-- ALIGNED and OPPOSED: the mean sentiment of the signal's window was beyond 0.05, with or against its
-- direction; NONE: nearer to 0, or there was none. The difference is to NONE, with Welch's interval.
CREATE VIEW v_sentiment_effectiveness AS
WITH cases AS (
    SELECT *, CASE WHEN sentiment_n > 0 AND side * sentiment_avg > 0.05 THEN 'ALIGNED'
                   WHEN sentiment_n > 0 AND side * sentiment_avg < -0.05 THEN 'OPPOSED'
                   ELSE 'NONE' END AS sentiment
    FROM signal_outcomes
), rows AS (
    SELECT mode, sentiment, count(*) AS n, count(*) FILTER (WHERE won) AS wins,
           count(*) FILTER (WHERE lost) AS losses, avg(net_fraction)::double precision AS mean,
           var_samp(net_fraction)::double precision / count(*) AS squared_error
    FROM cases GROUP BY mode, sentiment
), compared AS (
    SELECT r.*, r.mean - o.mean AS difference, r.squared_error + o.squared_error AS summed,
           power(r.squared_error, 2) / nullif(r.n - 1, 0) + power(o.squared_error, 2) / nullif(o.n - 1, 0)
               AS weight
    FROM rows r LEFT JOIN rows o ON o.mode = r.mode AND o.sentiment = 'NONE' AND r.sentiment <> 'NONE'
), told AS (
    SELECT *, t95(n - 1.0) * sqrt(squared_error) AS half,
           t95(power(summed, 2) / nullif(weight, 0)) * sqrt(summed) AS half_difference
    FROM compared
)
SELECT mode, sentiment, n, wins, losses, wins::double precision / n AS win_rate,
       wilson_low(wins, n) AS win_rate_low, wilson_high(wins, n) AS win_rate_high,
       mean AS mean_pnl, mean - half AS mean_pnl_low, mean + half AS mean_pnl_high,
       difference AS difference_to_none, difference - half_difference AS difference_low,
       difference + half_difference AS difference_high
FROM told;

-- One row per session, stage, account, outcome and reason. Decisions count evaluations, signals their records,
-- proposals signals per account, orders client order ids by their newest state, executions broker executions,
-- exits positions by the rule that was last chosen.
CREATE VIEW v_funnel AS
SELECT (event_time AT TIME ZONE 'America/New_York')::date AS session_date, stage, account_id,
       outcome, reason, config_digest, count(*) AS n
FROM (
    SELECT 'decisions' AS stage, NULL AS account_id, event_time, config_digest, reason,
           CASE WHEN action = 'HOLD' THEN 'HOLD' ELSE 'OUT' END AS outcome
    FROM t_decisions
    UNION ALL
    SELECT 'signals', NULL, event_time, config_digest, action::text, 'OUT' FROM t_signals
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
    UNION ALL
    SELECT 'executions', account_id, event_time, config_digest, coalesce(reason, owner::text), 'OUT'
    FROM t_executions
    UNION ALL
    SELECT 'exits', account_id, event_time, config_digest, chosen, 'OUT'
    FROM (SELECT DISTINCT ON (account_id, position_id) account_id, event_time, config_digest, chosen
          FROM t_exits
          ORDER BY account_id, position_id, seq DESC) last
) evaluations
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
    SELECT 'news', '', max(event_time), 1800 FROM t_news
    UNION ALL
    SELECT 'sentiment', '', max(event_time), 1800 FROM t_sentiment
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
