"""Other people's market files: one validating reader for bars and quotes, in whatever form they come."""
