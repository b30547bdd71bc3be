"""``tape why``: why there was no trade in a symbol: the stage that dropped it, in words, and by how much."""
