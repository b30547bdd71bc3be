"""The processes that write the source topics from the world outside."""
