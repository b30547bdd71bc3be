"""The edges: Kafka, brokers, tapes, Postgres, the schema registry, clocks, files."""
