"""Recording regression tapes, and the digests that every driver must produce from them."""
