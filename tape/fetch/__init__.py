"""``tape fetch``: history of Alpaca's bars into a tape file, session by session."""
