"""The shipped stages, a folder each, and the topology that connects them."""
