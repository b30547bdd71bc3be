"""`tape trace`: one trace from bar to order, read from the topics, shown or sent to OpenTelemetry."""
