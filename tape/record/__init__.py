"""Recording regression tapes, and the digests that every driver must leave of them."""
