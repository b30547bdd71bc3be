"""The contents of a market file, session by session, and a copy of it as a tape that needs no notes."""
