"""Whole record batches read and written without a consumer group, on Kafka's own protocol."""
