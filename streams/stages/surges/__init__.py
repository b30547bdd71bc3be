"""Whether a symbol is mentioned far more often than usual."""
