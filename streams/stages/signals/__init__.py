"""features, memberships -> decisions, signals: one decision for each bar."""
