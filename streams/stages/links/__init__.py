"""Which symbols a text names."""
