"""mentions -> surges: whether a symbol is mentioned far more often than usual."""
