"""features -> scores: the watch score of every symbol at every boundary."""
