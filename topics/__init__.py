"""The catalogue: every topic with its key, partitions, retention and owner. Only it names a topic."""
