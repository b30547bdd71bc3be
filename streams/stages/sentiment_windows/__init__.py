"""The mood of a symbol over the last minutes."""
