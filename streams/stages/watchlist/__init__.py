"""scores, universe -> watchlist, memberships: the ranked list with hysteresis."""
