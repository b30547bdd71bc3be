"""What a market file holds, session by session, and the same as a tape that needs no notes."""
