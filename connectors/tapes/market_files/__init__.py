"""Market files from other sources: one validating reader for bars and quotes in many forms."""
