"""The local stack: a real Kafka, a real Postgres and the worker processes, supervised from one process."""
