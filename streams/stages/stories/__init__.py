"""Which items of news tell one story."""
